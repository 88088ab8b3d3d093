"""What deploy/ has for monitoring, against the real tools: Prometheus fills every panel of the
dashboard, and Debian's exporter for PgBouncer works with the console."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import psycopg
import psycopg2
import psycopg2.errors
import pytest
import yaml
from dwspool_testing.certificates import Authority
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until
from fake_cn import MD5, Role

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
USER, PASSWORD = "dbadmin", "password"


class Child:
    """A tool that runs while a test does."""

    def __init__(self, command, log, **options):
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, **options)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace")[-4000:])
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def prometheus_query(port, expression):
    """The values of an instant query, without those that are no number."""
    answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?"
                            + urllib.parse.urlencode({"query": expression})))
    assert answer["status"] == "success"
    values = [float(sample["value"][1]) for sample in answer["data"]["result"]]
    return [value for value in values if value == value]


# --- The dashboard -------------------------------------------------------------------------------


def dashboard_queries():
    """[(panel, expression)], with Grafana's variables filled in."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"]
             for target in panel.get("targets", [])]
    found += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"]]
    filled = []
    for title, expression in found:
        for name, value in (("$__rate_interval", "30s"), ("$instance", ".*"), ("$database", ".*")):
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        filled.append((title, expression))
    return filled


def test_panels_do_not_cover_each_other():
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(panels) > 20


@pytest.fixture
def watched(pg, fake, proxies):
    """A coordinator, and a dwspool before it with everything that has a metric."""
    cn = fake(Role(USER, PASSWORD, MD5, pg_user="postgres"))
    ca = Authority().issue("server", days=60)
    pg.psql("create table watched (v int)")
    try:
        yield cn, proxies({
            "auth_method": "trust",
            "shutdown_timeout": "100ms",
            "tls": {"certificate": ca.cert("server"), "key": ca.key("server")},
            "console": {"admin_users": [USER]},
            "defaults": {"pool_size": 2},
            "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}"]}},
            "databases": {"*": {}},
            "users": {USER: {"password": PASSWORD}},
        })
    finally:
        shutil.rmtree(ca.dir, ignore_errors=True)
        pg.psql("drop table watched")


def some_work(proxy, cn):
    """A bit of everything that a panel shows."""
    connection = psycopg2.connect(proxy.dsn(USER))
    with connection.cursor() as cursor:
        for _ in range(1100):  # one transaction in 1024 is sampled
            cursor.execute("select 1")
            connection.commit()
        cn.switchover(seconds=0.2, doom=False)
        cursor.execute("insert into watched values (1)")  # masked
        connection.commit()
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("select 1/0")
        connection.rollback()
    connection.close()
    with psycopg.connect(proxy.dsn(USER), autocommit=True) as prepared:
        for _ in range(10):
            prepared.execute("select %s::int", [1], prepare=True)
    holders = [psycopg2.connect(proxy.dsn(USER)) for _ in range(2)]
    for holder in holders:
        holder.cursor().execute("select 1")

    def wait():
        with psycopg2.connect(proxy.dsn(USER)) as waiting:
            waiting.cursor().execute("select 1")
        waiting.close()

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.2)
    for holder in holders:
        holder.close()
    waiter.join()


def test_prometheus_fills_every_panel(watched, tmp_path):
    cn, proxy = watched
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / "dwspool-alerts.yml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{proxy.http_port}"]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
               f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with Child(command, tmp_path / "log"):
        def scraped():
            try:
                return prometheus_query(port, 'up{job="dwspool"} == 1')
            except OSError:
                return []

        wait_until(scraped, timeout=30, what="the first scrape")
        # Twice: what grows is seen between two scrapes only.
        some_work(proxy, cn)
        wait_until(lambda: prometheus_query(port, "dwspool_queries_total > 600"), what="a scrape behind it")
        some_work(proxy, cn)
        os.kill(proxy.process.pid, signal.SIGHUP)
        missing = dict.fromkeys(dashboard_queries())

        def fill():
            for query in list(missing):
                if prometheus_query(port, query[1]):
                    del missing[query]
            return not missing

        try:
            wait_until(fill, timeout=15, what="every panel")
        except AssertionError:
            pytest.fail(f"panels without data: {list(missing)}")
        # What the work was shows in the numbers, too: they are not just there.
        assert sum(prometheus_query(port, 'dwspool_replay_total{result="masked"}')) == 2
        rules = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"][0]["rules"]
        assert len(rules) > 10
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


# --- The alerts ----------------------------------------------------------------------------------


def test_the_alert_rules_are_well_formed_and_each_is_tested():
    folder = DEPLOY / "prometheus"
    for command in (["check", "config", "prometheus.yml"], ["check", "rules", "dwspool-alerts.yml"],
                    ["test", "rules", "dwspool-alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    rules = yaml.safe_load((folder / "dwspool-alerts.yml").read_text(encoding="utf-8"))
    tests = yaml.safe_load((folder / "dwspool-alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    names = {rule["alert"] for rule in rules["groups"][0]["rules"]}
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    quiet = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case.get("exp_alerts")}
    assert names == fired == quiet


def test_alerts_and_panels_only_ask_for_what_there_is():
    page = (DEPLOY.parent / "doc" / "metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `(dwspool_\w+)` \|", page, re.M))
    asked = (DEPLOY / "prometheus" / "dwspool-alerts.yml").read_text(encoding="utf-8")
    asked += " ".join(expression for _, expression in dashboard_queries())
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"dwspool_\w+", asked)}
    assert names - known == set()


# --- Debian's exporter ---------------------------------------------------------------------------


def test_the_exporter_for_pgbouncer_works_with_the_console(trusting, tmp_path):
    proxy = trusting(console={"stats_users": ["watcher"], "old_columns": True}, users={"*": {}, "watcher": {}})
    with psycopg2.connect(proxy.dsn("postgres")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    connection.close()
    port = free_port()
    command = ["prometheus-pgbouncer-exporter", "--host", "127.0.0.1", "--port", str(port),
               "--pgbouncer-host", "127.0.0.1", "--pgbouncer-port", str(proxy.port),
               "--pgbouncer-user", "watcher"]
    with Child(command, tmp_path / "log"):
        def exposition():
            try:
                return get(f"http://127.0.0.1:{port}/metrics")
            except OSError:
                return ""

        text = wait_until(exposition, timeout=15, what="the exporter")
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            values[series] = float(value)
    assert values['pgbouncer_requests_total{database="postgres"}'] >= 2
    assert values['pgbouncer_received_bytes_total{database="postgres"}'] > 0
    assert values['pgbouncer_pool_size{database="postgres"}'] == 4
    assert values['pgbouncer_active_clients{database="postgres",user="postgres"}'] == 0
    assert values["pgbouncer_free_clients"] == 1000


def test_the_names_of_the_exporter_come_from_dwspool_itself(trusting):
    proxy = trusting(users={"*": {}})
    assert "pgbouncer_" not in proxy.http("/metrics")[1]
    proxy.destroy()
    proxy = trusting(users={"*": {}}, http={"host": "127.0.0.1", "port": free_port(), "pgbouncer_metrics": True})
    proxy.http_port = proxy.config["http"]["port"]
    with psycopg2.connect(proxy.dsn("postgres")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    connection.close()
    wait_until(lambda: proxy.metric("pgbouncer_stats_totals_sql_transactions_pooled_total", database="postgres") == 1,
               what="a transaction")
    sizes = [value for series, value in proxy.metrics().items() if series.startswith("pgbouncer_databases_pool_size{")]
    assert sizes == [4]
    assert proxy.metric("pgbouncer_pools_server_idle_connections", user="postgres") == 1
    text = proxy.http("/metrics")[1]
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in (said.stdout + said.stderr).splitlines() if "pgbouncer_" not in line]
    assert complaints == []  # for the names that are not ours, others answer
