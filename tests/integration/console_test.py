"""The console: PgBouncer's commands and columns, who may do what, and what the commands do."""

import asyncio
import os
import re
import subprocess
import threading
import time

import asyncpg
import psycopg
import psycopg2
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.ports import free_port
from dwspool_testing.postgres import as_postgres
from dwspool_testing.proxy import wait_until

SHOWS = ["POOLS", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "CLIENTS", "SERVERS",
         "SOCKETS", "ACTIVE_SOCKETS", "DATABASES", "USERS", "CONFIG", "LISTS", "VERSION", "MEM",
         "DNS_HOSTS", "DNS_ZONES"]
MORE_SHOWS = ["STATE", "PEERS", "PEER_POOLS", "COORDINATORS", "PINS", "REPLAY"]

CONSOLE = {"console": {"admin_users": ["boss"], "stats_users": ["watcher"]},
           "users": {"*": {}, "boss": {}, "watcher": {}}}


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def proxy(trusting):
    return trusting(**CONSOLE)


opened = []


@pytest.fixture(autouse=True)
def nobody_stays(proxies):
    """A client in a transaction would hold up the end of its dwspool."""
    yield
    while opened:
        opened.pop().close()


class Console:
    """An administrator by psycopg2, as most of the tools are."""

    def __init__(self, proxy, user="boss", database="dwspool"):
        self.connection = psycopg2.connect(proxy.dsn(user, database))
        self.connection.autocommit = True
        opened.append(self.connection)

    def __call__(self, command):
        """Rows as dicts; the tag if there are none."""
        with self.connection.cursor() as cursor:
            cursor.execute(command)
            if cursor.description is None:
                return cursor.statusmessage
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def columns(self, command):
        with self.connection.cursor() as cursor:
            cursor.execute(command)
            return [(column.name, column.type_code) for column in cursor.description]

    def row(self, command, **wanted):
        return next(row for row in self(command)
                    if all(row[key] == value for key, value in wanted.items()))


def client(proxy, user, database="postgres", autocommit=False, **options):
    connection = psycopg2.connect(proxy.dsn(user, database, **options))
    connection.autocommit = autocommit
    opened.append(connection)
    return connection


def ask(connection, sql="select 1"):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


class InBackground:
    def __init__(self, function, *args):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self.thread.start()

    def _run(self, function, *args):
        try:
            self.result = function(*args)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def done(self):
        return not self.thread.is_alive()

    def get(self):
        self.thread.join(10)
        assert self.done()
        if self.error is not None:
            raise self.error
        return self.result


# --- The contract with PgBouncer's tools ---------------------------------------------------------


@pytest.fixture(scope="module")
def pgbouncer(tmp_path_factory):
    """Debian's PgBouncer, for its console only. Yields its port."""
    folder = tmp_path_factory.mktemp("pgbouncer")
    os.chmod(folder, 0o777)
    port = free_port()
    ini = folder / "pgbouncer.ini"
    ini.write_text(f"""[databases]
postgres = host=127.0.0.1 port=1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = boss
""")
    for parent in [folder, *folder.parents][:3]:
        os.chmod(parent, os.stat(parent).st_mode | 0o055)
    ready = InBackground(lambda: as_postgres(["pgbouncer", "-q", str(ini)],
                                             stderr=subprocess.DEVNULL))
    connection = {"host": "127.0.0.1", "port": port, "user": "boss", "dbname": "pgbouncer"}

    def answers():
        try:
            psycopg2.connect(**connection).close()
        except psycopg2.OperationalError:
            return False
        return True

    wait_until(answers, what="PgBouncer answers")
    yield type("PgBouncer", (), {"dsn": lambda self, *_: " ".join(
        f"{key}='{value}'" for key, value in connection.items())})()
    connection = psycopg2.connect(**connection)
    connection.autocommit = True
    try:
        connection.cursor().execute("shutdown")
    except psycopg2.Error:
        pass
    ready.thread.join(10)


def test_columns_are_those_of_pgbouncer(proxy, pgbouncer):
    """Every column of the real one, by name, order and type; newer versions have more of them,
    and have renamed one."""
    ours, theirs = Console(proxy), Console(pgbouncer)
    renamed = {"reserve_pool": "reserve_pool_size"}
    for what in SHOWS:
        expected = [(renamed.get(name, name), kind) for name, kind in theirs.columns(f"show {what}")]
        found = [column for column in ours.columns(f"show {what}") if column in expected]
        assert found == expected, what


def test_lists_states_and_errors_are_those_of_pgbouncer(proxy, pgbouncer):
    ours, theirs = Console(proxy), Console(pgbouncer)
    known = {row["list"] for row in theirs("show lists")}
    assert known <= {row["list"] for row in ours("show lists")}
    totals = {row["name"] for row in theirs("show totals")}
    ours_totals = {row["name"] for row in ours("show totals")}
    assert {name for name in totals if not re.search("client_bytes|server_bytes", name)} <= ours_totals
    config = {row["key"] for row in ours("show config")}
    # What the exporter and its friends read.
    assert {"max_client_conn", "max_user_connections", "default_pool_size", "pool_mode"} <= config
    for command in ("wat", "show wat", "pause; resume", "show", "kill", "set", "reload now"):
        for console in (ours, theirs):
            with pytest.raises(psycopg2.Error) as caught:
                console(command)
            assert str(caught.value).strip() != "", command
    for command in ("pause", "resume", "set server_lifetime=20", "enable postgres",
                    "set datestyle='x'", "reconnect", "show help"):
        assert ours(command) == theirs(command), command
    assert ours("show datestyle") == theirs("show datestyle")
    with pytest.raises(psycopg2.Error) as ours_error:
        ours("resume")
    with pytest.raises(psycopg2.Error) as theirs_error:
        theirs("resume")
    assert ours_error.value.pgerror.splitlines()[0] == theirs_error.value.pgerror.splitlines()[0]


@pytest.mark.parametrize("database", ["dwspool", "pgbouncer"])
def test_every_show_answers_by_every_protocol(proxy, database):
    simple = Console(proxy, database=database)
    with psycopg.connect(proxy.dsn("boss", database), autocommit=True) as extended:
        for what in SHOWS + MORE_SHOWS:
            names = [name for name, _ in simple.columns(f"show {what}")]
            for prepare in (False, True):
                cursor = extended.execute(f"show {what}", prepare=prepare)
                assert [column.name for column in cursor.description] == names
                cursor.fetchall()
            cursor = extended.cursor(binary=True)
            cursor.execute(f"select {what};")
            cursor.fetchall()


def test_asyncpg_reads_the_binary_format(proxy):
    busy = client(proxy, "postgres")
    ask(busy)

    async def look():
        console = await asyncpg.connect(host="127.0.0.1", port=proxy.port, user="boss",
                                        database="dwspool")
        try:
            pools = await console.fetch("SHOW POOLS")
            stats = await console.fetch("SHOW STATS")
            with pytest.raises(asyncpg.PostgresError):
                await console.fetch("wat")
            assert (await console.fetchrow("SHOW VERSION"))["version"].startswith("dwspool ")
            return pools, stats
        finally:
            await console.close()

    pools, stats = asyncio.run(look())
    pool = next(row for row in pools if row["database"] == "postgres")
    assert pool["sv_active"] == 1 and pool["cl_active"] == 1 and pool["pool_mode"] == "auto"
    assert stats[0]["total_query_count"] > 0


def test_psql_works_as_with_pgbouncer(proxy):
    result = subprocess.run(
        ["psql", "-X", "-A", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "boss", "pgbouncer",
         "-c", "show help", "-c", "show state"], capture_output=True, text=True, check=True)
    assert "KILL_CLIENT <client_id>" in result.stderr
    assert "active|yes\npaused|no\nsuspended|no" in result.stdout


# --- Who may do what -----------------------------------------------------------------------------


def test_authorization(proxy, observer):
    victim = client(proxy, observer.role())
    ask(victim)
    number = Console(proxy).row("show clients", database="postgres")["id"]
    actions = ["reload", "pause", "resume", "pause postgres", "resume postgres", "reconnect",
               "disable postgres", "enable postgres", "kill postgres", f"kill_client {number}",
               "suspend", "wait_close", "set max_client_conn = 5", "shutdown",
               "shutdown wait_for_clients", "show fds"]
    watcher = Console(proxy, "watcher")
    for command in actions:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            watcher(command)
    with psycopg.connect(proxy.dsn("watcher", "dwspool"), autocommit=True) as extended:
        for command in actions:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                extended.execute(command, prepare=True)
        assert extended.execute("show state").fetchone() == ("active", "yes")
    for what in SHOWS + MORE_SHOWS:
        watcher(f"show {what}")
    for user in ("postgres", "nobody"):
        with pytest.raises(psycopg2.OperationalError) as caught:
            Console(proxy, user)
        assert "may not use the console" in str(caught.value)
    assert ask(victim) == 1
    assert "[console.refused]" in proxy.log()


def test_the_password_is_asked_for(pg, proxies):
    proxy = proxies({
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"boss": {"password": "planted secret"},
                  "app": {"password": "app secret", "backend_password": "app secret"}},
        "console": {"admin_users": ["boss"]},
    })
    with pytest.raises(psycopg2.OperationalError):
        client(proxy, "boss", "dwspool", password="wrong")
    console = Console.__new__(Console)
    console.connection = client(proxy, "boss", "dwspool", autocommit=True,
                                password="planted secret")
    ask(client(proxy, "app", password="app secret"))
    for what in SHOWS + MORE_SHOWS:
        assert "secret" not in str(console(f"show {what}")), what
    with pytest.raises(psycopg2.Error):
        console("show fds")
    assert "secret" not in proxy.http("/metrics")[1]
    assert "secret" not in proxy.log()


def test_administrators_come_in_when_it_is_full(trusting):
    proxy = trusting(max_client_conn=1, **CONSOLE)
    first = client(proxy, "postgres")
    ask(first)
    with pytest.raises(psycopg2.OperationalError):
        client(proxy, "postgres")
    assert Console(proxy).row("show lists", list="used_clients")["items"] == 1


# --- What is shown -------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_shown_is_so(trusting, observer, workers):
    proxy = trusting(workers=workers, **CONSOLE)
    role = observer.role()
    busy = [client(proxy, role, application_name="till 7") for _ in range(2)]
    idle = client(proxy, role, autocommit=True)
    pinned = client(proxy, role, autocommit=True)
    for each in busy:
        ask(each)
    ask(idle)
    ask(pinned, "create temp table t(i int); select 1")
    console = Console(proxy)
    pool = console.row("show pools", user=role)
    assert (pool["cl_active"], pool["sv_active"], pool["cl_waiting"]) == (4, 3, 0)
    clients = [row for row in console("show clients") if row["user"] == role]
    assert sorted(row["state"] for row in clients) == ["active", "active", "active", "idle"]
    assert [row["application_name"] for row in clients].count("till 7") == 2
    assert len({row["id"] for row in clients}) == 4
    servers = {row["ptr"]: row for row in console("show servers")}
    for row in clients:
        assert (row["link"] != "") == (row["state"] == "active")
        if row["link"]:
            assert servers[row["link"]]["link"] == row["ptr"]
    assert {row["remote_pid"] for row in servers.values() if row["user"] == role} == \
        set(observer.pids(role))
    pins = console("show pins")
    assert [(row["user"], row["reasons"]) for row in pins] == [(role, "temporary_object")]
    database = console.row("show databases", name="postgres")
    assert database["current_client_connections"] == 4
    assert database["pool_size"] == 4 and database["port"] == observer.pg.port
    stats = console.row("show stats_totals", database="postgres")
    assert stats["client_login_count"] == 4 and stats["query_count"] >= 4
    assert stats["server_assignment_count"] >= 4
    coordinator = console("show coordinators")[0]
    assert coordinator["state"] == "up" and coordinator["connections"] >= 3
    assert console.row("show users", name="boss")["pool_mode"] is None


def test_who_waits_is_shown(trusting, observer):
    proxy = trusting(defaults={"pool_size": 1}, **CONSOLE)
    role = observer.role()
    first, second = client(proxy, role), client(proxy, role)
    ask(first)
    waiting = InBackground(ask, second)
    console = Console(proxy)
    wait_until(lambda: console.row("show pools", user=role)["cl_waiting"] == 1, what="a wait")
    row = wait_until(lambda: next((row for row in console("show clients")
                                   if row["state"] == "waiting" and row["wait_us"] > 0), None))
    assert row["user"] == role
    first.commit()
    assert waiting.get() == 1


# --- What is done --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("what", ["", " postgres"])
def test_pause_waits_for_transactions_and_holds_the_next(trusting, observer, workers, what):
    proxy = trusting(workers=workers, **CONSOLE)
    role = observer.role()
    busy, other = client(proxy, role), client(proxy, role)
    ask(busy)
    console, second = Console(proxy), Console(proxy)
    pause = InBackground(console, "pause" + what)
    wait_until(lambda: "paused" in str(second("show state")) and
               second.row("show databases", name="postgres")["paused"] == 1, what="a pause")
    held = InBackground(ask, other)
    assert ask(busy) == 1  # its transaction goes on
    assert not pause.done()
    busy.commit()
    assert pause.get() == "PAUSE"
    wait_until(lambda: observer.pids(role) == [], what="its backends are gone")
    assert not held.done()
    late = InBackground(lambda: ask(client(proxy, observer.role())))
    assert second("resume" + what) == "RESUME"
    assert held.get() == 1
    assert late.get() == 1
    assert second.row("show databases", name="postgres")["paused"] == 0


def test_a_pause_that_is_cancelled_is_none(proxy, observer):
    busy = client(proxy, observer.role())
    ask(busy)
    console = Console(proxy)
    pause = InBackground(console, "pause")
    wait_until(lambda: Console(proxy).row("show state", key="paused")["value"] == "yes")
    console.connection.cancel()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        pause.get()
    assert console.row("show state", key="paused")["value"] == "no"
    assert ask(client(proxy, observer.role())) == 1


def test_reconnect_and_wait_close(proxy, observer):
    role = observer.role()
    busy, idle = client(proxy, role), client(proxy, role, autocommit=True)
    ask(busy)
    ask(idle)
    before = observer.pids(role)
    console = Console(proxy)
    assert console("reconnect postgres") == "RECONNECT"
    wait = InBackground(console, "wait_close postgres")
    wait_until(lambda: len(observer.pids(role)) == 1, what="the idle one is closed")
    assert not wait.done()
    assert ask(busy) == 1
    busy.commit()
    assert wait.get() == "WAIT_CLOSE"
    assert ask(busy) == 1 and ask(idle) == 1
    assert not set(before) & set(observer.pids(role))


def test_disable_and_enable(proxy, observer):
    role = observer.role()
    inside = client(proxy, role, autocommit=True)
    console = Console(proxy)
    assert console("disable postgres") == "DISABLE"
    with pytest.raises(psycopg2.OperationalError) as caught:
        client(proxy, role)
    assert 'database "postgres" is disabled' in str(caught.value)
    assert ask(inside) == 1
    assert console("enable postgres") == "ENABLE"
    assert ask(client(proxy, role)) == 1


def test_kill_and_kill_client(trusting, observer):
    proxy = trusting(workers=2, **CONSOLE)
    role = observer.role()
    victim, other = client(proxy, role), client(proxy, role)
    pid = ask(victim, "select pg_backend_pid()")
    ask(other)
    console = Console(proxy)
    link = next(row["ptr"] for row in console("show servers") if row["remote_pid"] == pid)
    number = console.row("show clients", link=link)["id"]
    assert console(f"kill_client {number}") == "KILL_CLIENT"
    with pytest.raises(psycopg2.Error):
        ask(victim)
    assert ask(other) == 1
    wait_until(lambda: pid not in observer.pids(role), what="its backend is gone")
    for wrong in ("kill_client 12345678", "kill_client x", "kill_client -1"):
        with pytest.raises(psycopg2.errors.InvalidParameterValue):
            console(wrong)
    assert console("kill postgres") == "KILL"
    with pytest.raises(psycopg2.Error):
        ask(other)
    wait_until(lambda: observer.pids(role) == [], what="its backend is gone, too")
    assert console("resume postgres") == "RESUME"
    assert ask(client(proxy, role)) == 1


def test_unknown_databases_and_the_console_itself(pg, trusting):
    proxy = trusting(**CONSOLE, databases={"app": {"database": "postgres"}})
    console = Console(proxy)
    for command in ("pause", "resume", "disable", "enable", "kill", "reconnect", "wait_close"):
        with pytest.raises(psycopg2.errors.InvalidCatalogName):
            console(f"{command} missing")
        with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
            console(f"{command} pgbouncer")
    assert console('disable "app"') == "DISABLE"


def test_suspend(proxy, observer):
    one = client(proxy, observer.role(), autocommit=True)
    ask(one)
    console = Console(proxy)
    assert console("suspend") == "SUSPEND"
    held = InBackground(ask, one)
    time.sleep(0.1)
    assert not held.done()
    assert console.row("show state", key="suspended")["value"] == "yes"
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        console("pause")
    assert console("resume") == "RESUME"
    assert held.get() == 1


def test_set_and_reload(proxy):
    console = Console(proxy)
    assert console("set max_client_conn = 7") == "SET max_client_conn=7"
    assert console("set query_wait_timeout = 3") == "SET query_wait_timeout=3"
    assert console("SET log_level TO 'warning'") == "SET log_level=warning"
    config = {row["key"]: row["value"] for row in console("show config")}
    assert (config["max_client_conn"], config["query_wait_timeout"], config["log_level"]) == \
        ("7", "3", "warning")
    assert proxy.metric("dwspool_max_clients") == 7
    for wrong in ("set max_client_conn = 0", "set max_client_conn = many", "set workers = 2",
                  "set pool_mode = 'x, y'", "set wat = 1"):
        with pytest.raises(psycopg2.errors.InvalidParameterValue):
            console(wrong)
    assert console("reload") == "RELOAD"
    assert console.row("show config", key="max_client_conn")["value"] == "1000"
    proxy.config["max_client_conn"] = -1
    proxy.write_config()
    with pytest.raises(psycopg2.Error) as caught:
        console("reload")
    assert caught.value.pgcode == "F0000" and "max_client_conn" in str(caught.value)


@pytest.mark.parametrize("how", ["", " wait_for_clients", " wait_for_servers"])
def test_shutdown(proxy, observer, how):
    role = observer.role()
    busy, idle = client(proxy, role), client(proxy, role, autocommit=True)
    ask(busy)
    ask(idle)
    console = Console(proxy)
    try:
        assert console("shutdown" + how) == "SHUTDOWN"
    except psycopg2.OperationalError:
        assert how == ""
    if how:
        assert ask(busy) == 1
        assert proxy.process.poll() is None
        busy.commit()
    for each in (busy, idle, console.connection):
        each.close()
    assert proxy.process.wait(10) == 0
    wait_until(lambda: observer.pids(role) == [], what="its backends are gone")
