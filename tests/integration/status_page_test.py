"""The status page: /status.json, and what a real browser makes of the page that asks for it."""

import contextlib
import http.server
import json
import os
import re
import signal
import threading
import urllib.request

import psycopg2
import pytest
from dwspool_testing.browser import Browser
from dwspool_testing.proxy import is_sanitized, wait_until

SCRIPT = "<script>window.owned = 'script'</script>"
IMAGE = "<img src=x onerror=\"window.owned = 'image'\">"


def status(proxy):
    code, body = proxy.http("/status.json")
    assert code == 200
    return json.loads(body)


def row(rows, **wanted):
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


def tiles(browser):
    return browser.evaluate("Object.fromEntries([...document.querySelectorAll('.tile')]"
                            ".map(tile => [tile.children[1].textContent, tile.children[0].textContent]))")


@pytest.fixture
def names(pg):
    """A role with markup for a name."""
    quoted = '"' + IMAGE.replace('"', '""') + '"'
    pg.psql(f"create role {quoted} login")
    yield
    pg.psql(f"drop role {quoted}")


class Load:
    """Clients of a pool of one: a bound one, one that waits, and statements all the time."""

    def __init__(self, proxy, database="postgres"):
        self.holder = psycopg2.connect(proxy.dsn("postgres", database))
        self.holder.autocommit = True
        self.holder.cursor().execute("listen something")
        self.waiter = psycopg2.connect(proxy.dsn("postgres", database))
        self.waiter.autocommit = True
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._wait, daemon=True),
                        threading.Thread(target=self._work, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _wait(self):
        with contextlib.suppress(psycopg2.OperationalError):  # dwspool may end before
            self.waiter.cursor().execute("select 1")

    def _work(self):
        with contextlib.suppress(psycopg2.OperationalError):
            while not self.over.wait(0.01):
                self.holder.cursor().execute("select 2")

    def close(self):
        self.over.set()
        self.threads[1].join(10)
        self.holder.close()
        self.threads[0].join(10)
        self.waiter.close()


def test_the_numbers_are_those_of_the_console(trusting):
    proxy = trusting(defaults={"pool_size": 1}, console={"admin_users": ["boss"]})
    load = Load(proxy)
    try:
        wait_until(lambda: status(proxy)["pools"][0]["cl_waiting"] == 1, what="a client waits")
        with psycopg2.connect(proxy.dsn("boss", "dwspool")) as console:
            console.autocommit = True
            cursor = console.cursor()
            for key, show in (("pools", "show pools"), ("coordinators", "show coordinators"),
                              ("databases", "show databases")):
                cursor.execute(show)
                columns = [column.name for column in cursor.description]
                rows = [dict(zip(columns, values)) for values in cursor.fetchall()]
                mine = status(proxy)[key]
                assert [set(each) for each in mine] == [set(columns)] * len(rows)
                changing = {"maxwait", "maxwait_us", "cl_active"}
                assert [{name: value for name, value in each.items() if name not in changing}
                        for each in mine if each.get("database") != "pgbouncer"] == [
                            {name: value for name, value in each.items() if name not in changing}
                            for each in rows if each.get("database") != "pgbouncer"]
        now = status(proxy)
        assert now["state"] == "active" and now["silent_workers"] == []
        assert now["version"].startswith("dwspool ")
        assert row(now["stats"], database="postgres")["query_count"] <= proxy.metric(
            "dwspool_queries_total", database="postgres")
        assert now["pins"] == [{"database": "postgres", "user": "postgres", "reason": "listens",
                                "sessions": 1}]
        # Nobody has to log in for it: what only the console tells is not in it.
        assert "127.0.0.1:" not in json.dumps([now["pools"], now["pins"], now["stats"]])
        assert "application" not in json.dumps(now)
    finally:
        load.close()


def test_a_browser_shows_the_numbers(trusting, names):
    proxy = trusting(defaults={"pool_size": 1},
                     databases={"*": {"database": "postgres"}})  # whatever a client calls it
    load = Load(proxy)
    others = [psycopg2.connect(host="127.0.0.1", port=proxy.port, user=user, dbname=database)
              for user, database in (("postgres", SCRIPT), (IMAGE, IMAGE))]
    try:
        for connection in others:
            connection.autocommit = True
            connection.cursor().execute("select 1")
        with Browser(f"http://127.0.0.1:{proxy.http_port}/") as browser:
            # Refreshed by itself: rates take two looks.
            browser.wait_for("document.body?.dataset.fresh >= 2")
            assert browser.evaluate("document.getElementById('trouble').hidden")

            headings, *pools = browser.table("#pools")
            first = dict(zip(headings, pools[0]))  # who waits comes first
            assert (first["database"], first["user"], first["clients"]) == ("postgres", "postgres", "2")
            assert (first["waiting"], first["in use"]) == ("1", "1")
            assert re.fullmatch(r"[\d.]+ (ms|s)", first["longest wait"])
            tile = tiles(browser)
            assert tile["wait for a backend"] == "1" and tile["bound sessions"] == "1"
            assert float(tile["statements per second"]) > 1
            headings, *databases = browser.table("#databases")
            rate = dict(zip(headings, next(line for line in databases if line[0] == "postgres")))
            assert float(rate["statements/s"]) > 1 and rate["time each"]
            (coordinator,) = browser.table("#coordinators")[1:]
            assert "up" in coordinator
            assert ["postgres", "postgres", "listens", "1"] in browser.table("#pins")
            statements = rate["statements"]
            browser.wait_for(f"![...document.querySelectorAll('#databases td')].some(cell => "
                             f"cell.textContent === {json.dumps(statements)})")

            # What clients call themselves is text, and nothing else.
            assert [line[:2] for line in pools if line[0] == SCRIPT] == [[SCRIPT, "postgres"]]
            assert [line[:2] for line in pools if line[0] == IMAGE] == [[IMAGE, IMAGE]]
            assert browser.evaluate("document.querySelectorAll('img').length") == 0
            assert browser.evaluate("document.querySelectorAll('script').length") == 1
            assert browser.evaluate("window.owned") is None
            assert browser.evaluate("document.title") == "(1) dwspool"

            # Nothing has been loaded from anywhere else.
            origins = browser.evaluate("[...new Set(performance.getEntriesByType('resource')"
                                       ".map(entry => new URL(entry.name).pathname))]")
            assert origins == ["/status.json"]
            assert browser.complaints == []

            proxy.stop()
            browser.wait_for("!document.getElementById('trouble').hidden")
            assert "does not answer" in browser.evaluate("document.getElementById('trouble').textContent")
    finally:
        for connection in others:
            connection.close()
        load.close()


def test_the_browser_would_not_run_it_either(trusting):
    """The second lock: with markup in the page (as if the first had failed), the policy holds."""
    proxy = trusting()

    class Careless(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{proxy.http_port}{self.path}", timeout=10) as answer:
                body = answer.read().replace(b"<main>", (SCRIPT + IMAGE + "<main>").encode())
                self.send_response(200)
                for name in ("Content-Type", "Content-Security-Policy"):
                    self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        careless = type("Place", (), {"http_port": server.server_port})()
        with Browser(f"http://127.0.0.1:{server.server_port}/") as browser:
            browser.wait_for("document.body?.dataset.fresh >= 1")
            assert browser.evaluate("document.querySelectorAll('img').length") == 1
            wait_until(lambda: (browser.evaluate("1"),
                                sum("Content Security Policy" in text for text in browser.complaints)
                                >= 2)[1], what="the browser's complaints")
            assert browser.evaluate("window.owned") is None
    finally:
        server.shutdown()
        server.server_close()


def test_many_who_ask_at_once_are_one_question(trusting):
    proxy = trusting(workers=2)
    os.kill(proxy.process.pid, signal.SIGSTOP)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(status(proxy)), daemon=True)
               for _ in range(8)]
    for thread in threads:
        thread.start()
    os.kill(proxy.process.pid, signal.SIGCONT)
    for thread in threads:
        thread.join(20)
    assert len(answers) == 8
    assert len({answer["time_ms"] for answer in answers}) <= 2


def test_it_is_old_for_half_a_second_at_most(trusting):
    proxy = trusting()
    times = set()
    wait_until(lambda: (times.add(status(proxy)["time_ms"]), len(times) >= 3)[1], what="three times")
    ordered = sorted(times)
    assert min(after - before for before, after in zip(ordered, ordered[1:])) >= (
        450 if not is_sanitized() else 400)


def test_pausing_is_seen(trusting):
    proxy = trusting(console={"admin_users": ["boss"]}, users={"*": {}, "boss": {}})
    console = psycopg2.connect(proxy.dsn("boss", "dwspool"))
    console.autocommit = True
    console.cursor().execute("pause")
    wait_until(lambda: status(proxy)["state"] == "paused", what="paused")
    console.cursor().execute("resume")
    wait_until(lambda: status(proxy)["state"] == "active", what="active")
    console.close()
