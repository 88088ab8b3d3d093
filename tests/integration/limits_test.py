"""How many backends there are, who gets them, and what those are told who do not."""

import contextlib
import socket
import threading
import time

import psycopg2
import pytest
from dwspool_testing.middleman import Middleman
from dwspool_testing.observer import Observer
from dwspool_testing.ports import free_port
from dwspool_testing.postgres import Postgres
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, fields, query, startup


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def clients():
    """Opens logged-in clients of the same user."""
    opened = []

    def start(proxy, user="postgres", count=None, **options):
        started = []
        for _ in range(count or 1):
            client = Connection("127.0.0.1", proxy.port)
            opened.append(client)
            seen = client.log_in(user, **options)
            assert seen[-1][0] == b"Z", seen
            started.append(client)
        return started if count is not None else started[0]

    yield start
    for client in opened:
        client.close()


def rows(messages):
    return [body[6:].decode() for kind, body in messages if kind == b"D"]


def error(messages):
    return next((fields(body) for kind, body in messages if kind == b"E"), None)


def waiting(proxy, user, count):
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=user, state="waiting") == count,
               what=f"{count} clients wait")


class Counter(threading.Thread):
    """Watches how many backends a user has; most() ends it and says how many there were."""

    def __init__(self, pg, user):
        super().__init__(daemon=True)
        self.pg, self.user = pg, user
        self.ended = threading.Event()
        self.seen = 0
        self.samples = 0

    def run(self):
        with Observer(self.pg) as observer:
            while not self.ended.is_set():
                self.seen = max(self.seen, len(observer.pids(self.user)))
                self.samples += 1

    def most(self):
        self.ended.set()
        self.join(10)
        assert self.samples > 5
        return self.seen


# Whose sessions would be counted, too.
NO_PROBES = {"probe": {"interval": 0}}


def config_for(port, users=None, **overrides):
    """A configuration before the server on that port (or several of them)."""
    ports = port if isinstance(port, list) else [port]
    config = {
        "auth_method": "trust", "shutdown_timeout": "2s",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{p}" for p in ports],
                              **overrides.pop("cluster", {})}},
        "databases": {"*": {}}, "users": users or {"*": {}},
        "defaults": overrides.pop("defaults", {}),
    }
    config.update(overrides)
    return config


# --- pool_size -----------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("mode", ["transaction", "auto"])
def test_pool_size_is_exact(trusting, clients, observer, pg, mode, workers):
    proxy = trusting(mode, workers=workers, defaults={"pool_size": 5, "queue_timeout": "20s"})
    role = observer.role()
    counter = Counter(pg, role)
    counter.start()
    failures = []

    def work(client, number):
        try:
            for turn in range(6):
                assert rows(client.ask(f"select {number} from pg_sleep(0.004)")) == [str(number)]
                if turn % 2:
                    client.ask("begin")
                    assert rows(client.ask(f"select {turn}")) == [str(turn)]
                    client.ask("commit")
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(client, number))
               for number, client in enumerate(clients(proxy, role, 50))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures, failures
    assert counter.most() <= 5  # it looks now and then, and may miss a moment
    assert len(observer.pids(role)) == 5


def test_pool_size_in_session_mode(trusting, clients, observer):
    proxy = trusting("session", defaults={"pool_size": 3, "queue_timeout": "10s"})
    role = observer.role()
    holders = clients(proxy, role, 3)
    for client in holders:
        client.ask("select 1")
    late = clients(proxy, role, 2)
    for client in late:
        client.send(query("select 'late'"))
    waiting(proxy, role, 2)
    assert len(observer.pids(role)) == 3
    for client in holders[:2]:
        client.close()
    for client in late:
        assert rows(client.until_ready()) == ["late"]
    assert len(observer.pids(role)) == 3


def come_and_go(proxy, role, times):
    for _ in range(times):
        with Connection("127.0.0.1", proxy.port) as client:
            assert client.log_in(role)[-1][0] == b"Z"
            assert rows(client.ask("select 'served'")) == ["served"]


def test_clients_that_come_and_go(trusting, observer):
    """Connecting for every transaction does not open a backend for each."""
    proxy = trusting("auto", defaults={"pool_size": 3})
    role = observer.role()
    come_and_go(proxy, role, 100)
    assert proxy.metric("dwspool_backends_opened_total") <= 2
    assert len(observer.pids(role)) <= 2


@pytest.mark.parametrize("size", [1, 2])
def test_idle_backends_serve_all_workers(trusting, observer, size):
    """One client at a time, on each worker in turn, and fewer backends than workers."""
    proxy = trusting("auto", workers=3, defaults={"pool_size": size, "queue_timeout": "1s"})
    role = observer.role()
    come_and_go(proxy, role, 60)
    assert len(observer.pids(role)) <= size


@pytest.mark.parametrize("workers", [1, 3])
def test_first_come_first_served(trusting, clients, observer, workers):
    proxy = trusting("auto", workers=workers, defaults={"pool_size": 1, "queue_timeout": "20s"})
    role = observer.role()
    table = observer.table("id serial, who int")
    queue = clients(proxy, role, 12)
    holder = clients(proxy, role)
    holder.ask("begin; select 1")
    for number, client in enumerate(queue):
        client.send(query(f"insert into {table}(who) values ({number})"))
        waiting(proxy, role, number + 1)
    holder.ask("commit")
    for client in queue:
        assert error(client.until_ready()) is None
    order = [row[0] for row in observer.rows(f"select who from {table} order by id")]
    if workers == 1:
        assert order == list(range(12))
    else:
        # Between workers a place goes to who has waited longest, give or take 10 ms; each worker's
        # own clients are in order.
        for worker in range(workers):
            own = [who for who in order if who % workers == worker]
            assert own == sorted(own)


# --- Waiting -------------------------------------------------------------------------------------

def test_queue_timeout(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "300ms",
                                       "queue_notice": "100ms"})
    role = observer.role()
    holder, client = clients(proxy, role, 2)
    holder.ask("begin; select 1")
    began = time.monotonic()
    answer = client.ask("select 1")
    assert 0.25 < time.monotonic() - began < 2
    assert [kind for kind, _ in answer] == [b"N", b"E", b"Z"]
    notice, failure = fields(answer[0][1]), fields(answer[1][1])
    assert notice["S"] == "NOTICE"
    assert (failure["S"], failure["C"]) == ("ERROR", "08006")
    assert "pool_size 1" in failure["D"]
    assert answer[2] == (b"Z", b"I")
    holder.ask("commit")
    assert rows(client.ask("select 'usable'")) == ["usable"]
    assert proxy.metric("dwspool_errors_total", **{"class": "08"}) == 1


def test_queue_timeout_in_a_transaction(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "200ms"})
    role = observer.role()
    holder, client = clients(proxy, role, 2)
    holder.ask("begin; select 1")
    client.ask("begin")
    answer = client.ask("select 1")
    assert error(answer)["C"] == "08006"
    assert answer[-1] == (b"Z", b"E")
    assert error(client.ask("select 1"))["C"] == "25P02"
    assert client.ask("rollback")[-1] == (b"Z", b"I")
    holder.ask("commit")
    assert rows(client.ask("select 'usable'")) == ["usable"]


def test_queue_timeout_as_psycopg2_sees_it(trusting, observer):
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "200ms"})
    role = observer.role()
    holder, client = (psycopg2.connect(proxy.dsn(role)) for _ in range(2))
    with holder.cursor() as cursor:
        cursor.execute("select 1")
    with client.cursor() as cursor:
        with pytest.raises(psycopg2.OperationalError) as caught:
            cursor.execute("select 1")
        assert caught.value.pgcode == "08006"
        client.rollback()
        holder.rollback()
        cursor.execute("select 1")
    client.close()
    holder.close()


def test_no_notice_before_its_time(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "10s",
                                       "queue_notice": "0"})
    role = observer.role()
    holder, client = clients(proxy, role, 2)
    holder.ask("begin; select 1")
    client.send(query("select 'x'"))
    waiting(proxy, role, 1)
    holder.ask("commit")
    assert [kind for kind, _ in client.until_ready()] == [b"T", b"D", b"C", b"Z"]


def test_waiting_clients_may_leave(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "10s"})
    role = observer.role()
    holder, *leaving, last = clients(proxy, role, 7)
    holder.ask("begin; select 1")
    for client in [*leaving, last]:
        client.send(query("select 'x'"))
    waiting(proxy, role, 6)
    for client in leaving:
        client.close()
    waiting(proxy, role, 1)
    holder.ask("commit")
    assert rows(last.until_ready()) == ["x"]


def test_waiting_clients_pipeline(trusting, clients, observer):
    """What a waiting client sends meanwhile is kept, and neither lost nor mixed up."""
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "10s"})
    role = observer.role()
    holder, client = clients(proxy, role, 2)
    holder.ask("begin; select 1")
    client.send(query("select 'x0'"))
    waiting(proxy, role, 1)
    for number in range(1, 2000):
        client.send(query(f"select 'x{number}'"))
    holder.ask("commit")
    assert rows(client.until_ready(2000)) == [f"x{number}" for number in range(2000)]


def test_reserve_pool(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 2, "reserve_pool": 1, "queue_timeout": "5s",
                                       "reserve_pool_timeout": "200ms"})
    role = observer.role()
    holders = clients(proxy, role, 2)
    for client in holders:
        client.ask("begin; select 1")
    first, second = clients(proxy, role, 2)
    began = time.monotonic()
    first.ask("begin")
    first.socket.settimeout(2)
    try:
        assert rows(first.ask("select 'reserve'")) == ["reserve"]
    except TimeoutError:
        proxy.process.kill()  # it would not end by itself
        raise
    assert 0.15 < time.monotonic() - began < 2
    assert len(observer.pids(role)) == 3
    second.send(query("select 'waits'"))
    waiting(proxy, role, 1)
    assert len(observer.pids(role)) == 3
    holders[0].ask("commit")
    assert rows(second.until_ready()) == ["waits"]
    assert len(observer.pids(role)) <= 3


@pytest.mark.parametrize("workers", [1, 2])
def test_min_pool_size(trusting, clients, observer, workers):
    proxy = trusting("auto", workers=workers, defaults={"pool_size": 5, "min_pool_size": 4})
    role = observer.role()
    for client in clients(proxy, role, workers):  # one on each worker
        client.ask("select 1")
    # A backend that changes workers on the way is replaced on the one that it leaves.
    wanted = (4,) if workers == 1 else (4, 5)
    wait_until(lambda: len(observer.pids(role)) in wanted, what="four backends")
    observer.terminate(role)
    wait_until(lambda: len(observer.pids(role)) in wanted, what="four backends again")
    assert proxy.metric("dwspool_backends_opened_total") <= 10


def test_min_pool_size_is_not_idled_out(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 4, "min_pool_size": 1,
                                       "server_idle_timeout": "200ms"})
    role = observer.role()
    started = clients(proxy, role, 3)
    for client in started:
        client.ask("begin; select 1")
    assert len(observer.pids(role)) == 3
    for client in started:
        client.ask("commit")
    wait_until(lambda: len(observer.pids(role)) == 1, what="one backend")
    opened = proxy.metric("dwspool_backends_opened_total")
    time.sleep(0.5)
    assert proxy.metric("dwspool_backends_opened_total") == opened


def test_server_idle_timeout(trusting, clients, observer):
    proxy = trusting("auto", defaults={"server_idle_timeout": "200ms"})
    role = observer.role()
    client = clients(proxy, role)
    client.ask("set work_mem to '7MB'")
    first, = observer.pids(role)
    wait_until(lambda: observer.pids(role) == [], what="no backend")
    assert rows(client.ask("show work_mem")) == ["7MB"]
    assert observer.pids(role) != [first]
    # A backend that is used is not idle, however long its transaction takes.
    client.ask("begin; select 1")
    pid, = observer.pids(role)
    time.sleep(0.6)
    assert rows(client.ask("select pg_backend_pid()")) == [str(pid)]


def test_server_lifetime(trusting, clients, observer, pg):
    proxy = trusting("auto", defaults={"server_lifetime": "300ms", "pool_size": 2})
    role = observer.role()
    client = clients(proxy, role)
    pids = set()
    began = time.monotonic()
    while len(pids) < 4:
        assert time.monotonic() - began < 5
        pids.update(rows(client.ask("select pg_backend_pid()")))
    assert time.monotonic() - began > 0.5
    # Not in the middle of a transaction.
    client.ask("begin")
    pid = rows(client.ask("select pg_backend_pid()"))
    time.sleep(0.5)
    assert rows(client.ask("select pg_backend_pid()")) == pid
    client.ask("commit")
    wait_until(lambda: len(observer.pids(role)) <= 1, what="the old one gone")


# --- max_client_conn -----------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
def test_max_client_conn(trusting, clients, workers):
    proxy = trusting("auto", workers=workers, max_client_conn=5)
    started = clients(proxy, "postgres", 5)
    for _ in range(4):
        with Connection("127.0.0.1", proxy.port) as refused:
            seen = refused.log_in()
            assert [kind for kind, _ in seen] == [b"E"]
            assert (error(seen)["S"], error(seen)["C"]) == ("FATAL", "53300")
    assert proxy.metric("dwspool_client_refusals_total", reason="too_many_clients") == 4
    started[0].ask("select 1")
    started[1].close()
    wait_until(lambda: proxy.metric("dwspool_clients") == 4, what="four clients")
    clients(proxy, "postgres")
    with Connection("127.0.0.1", proxy.port) as refused:
        assert error(refused.log_in())["C"] == "53300"


def test_max_client_conn_counts_log_ins_under_way_once(proxies, pg):
    """Wrong passwords and half log-ins give their place back."""
    config = config_for(pg.port, {"app": {"password": "app secret"}}, max_client_conn=3)
    proxy = proxies(dict(config, auth_method="scram-sha-256"))
    for _ in range(10):
        with Connection("127.0.0.1", proxy.port) as client:
            assert error(client.log_in("app", password="wrong"))["C"] == "28P01"
        with Connection("127.0.0.1", proxy.port) as client:
            client.send(startup({"user": "app", "database": "postgres"}))
            client.receive()
        wait_until(lambda: proxy.metric("dwspool_clients") == 0, what="no client left")
    psycopg2.connect(proxy.dsn("app", password="app secret")).close()


def test_cancel_requests_come_in_over_the_limit(trusting, clients, observer):
    proxy = trusting("auto", max_client_conn=1)
    role = observer.role()
    client = clients(proxy, role)
    client.send(query("select pg_sleep(75)"))
    observer.wait_running("%pg_sleep(75)%", user=role)
    from dwspool_testing.wire import cancel_request
    with socket.create_connection(("127.0.0.1", proxy.port)) as canceller:
        canceller.sendall(cancel_request(client.pid, client.secret))
        canceller.recv(1)
    assert error(client.until_ready())["C"] == "57014"


# --- Servers that are not there ------------------------------------------------------------------

def test_server_that_starts_late(proxies, clients):
    """Clients are held, and see no error."""
    server = Postgres(name="late").init()
    try:
        proxy = proxies(config_for(server.port, defaults={"queue_timeout": "30s"}))
        results = []

        def connect():
            with contextlib.closing(psycopg2.connect(proxy.dsn())) as connection, \
                    connection.cursor() as cursor:
                cursor.execute("select 1")
                results.append(cursor.fetchone())

        threads = [threading.Thread(target=connect) for _ in range(8)]
        for thread in threads:
            thread.start()
        waiting(proxy, "postgres", 8)
        assert not results
        server.start()
        for thread in threads:
            thread.join(15)
        assert results == [(1,)] * 8
    finally:
        server.destroy()


def test_server_that_restarts(proxies, clients):
    """An idle session survives; so does one that comes while the server is down."""
    server = Postgres(name="restarts").init().start()
    try:
        proxy = proxies(config_for(server.port, defaults={"queue_timeout": "30s"}))
        client = clients(proxy)
        client.ask("set work_mem to '7MB'")
        server.stop()
        client.send(query("show work_mem"))
        waiting(proxy, "postgres", 1)
        server.start()
        began = time.monotonic()
        assert rows(client.until_ready()) == ["7MB"]
        assert time.monotonic() - began < 2  # recovery is quick
        assert rows(client.ask("select 1")) == ["1"]
    finally:
        server.destroy()


def test_dead_coordinator_is_skipped(proxies, clients, pg, observer):
    role = observer.role()
    proxy = proxies(config_for([free_port(), pg.port, free_port()], cluster=NO_PROBES,
                               defaults={"pool_size": 6}))
    started = clients(proxy, role, 6)
    began = time.monotonic()
    for client in started:
        assert error(client.ask("begin; select 1")) is None
    assert time.monotonic() - began < 2
    assert len(observer.pids(role)) == 6
    down = [value for series, value in proxy.metrics().items()
            if series.startswith("dwspool_coordinator_up{")]
    assert sorted(down) == [0, 0, 1] or sorted(down) == [0, 1]


def test_coordinator_that_does_not_answer_is_skipped(proxies, clients, pg, observer):
    """It accepts, and then says nothing: connect_timeout."""
    role = observer.role()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = proxies(config_for([silent.getsockname()[1], pg.port],
                                   cluster={"connect_timeout": "300ms"}))
        began = time.monotonic()
        for client in clients(proxy, role, 3):
            assert error(client.ask("begin; select 1")) is None
        assert time.monotonic() - began < 3


def test_coordinators_share_the_load(proxies, clients, pg, observer):
    with Middleman(("127.0.0.1", pg.port)) as first, Middleman(("127.0.0.1", pg.port)) as second:
        role = observer.role()
        proxy = proxies(config_for([first.port, second.port], cluster=NO_PROBES,
                                   defaults={"pool_size": 8}))
        for client in clients(proxy, role, 8):
            client.ask("begin; select 1")
        assert (first.connections, second.connections) == (4, 4)


def test_all_dead_at_log_in(proxies):
    ports = [free_port(), free_port()]
    proxy = proxies(config_for(ports, defaults={"queue_timeout": "400ms"}))
    for _ in range(2):
        with Connection("127.0.0.1", proxy.port) as client:
            began = time.monotonic()
            seen = client.log_in()
            assert 0.3 < time.monotonic() - began < 3
            failure = error(seen)
            assert (failure["S"], failure["C"]) == ("FATAL", "57P03")
            assert any(str(port) in failure["D"] for port in ports)
            assert client.until_closed() == []
    with pytest.raises(psycopg2.OperationalError, match="database server"):
        psycopg2.connect(proxy.dsn())
    assert proxy.http("/readyz")[0] == 503
    assert proxy.http("/healthz")[0] == 200
    # Not a storm of attempts: a round over both every 100 ms or so.
    assert proxy.metric("dwspool_backend_open_failures_total") < 60


def test_all_dead_in_a_session(proxies, clients, observer):
    server = Postgres(name="dies").init().start()
    try:
        proxy = proxies(config_for(server.port, defaults={"queue_timeout": "300ms"}))
        client = clients(proxy)
        assert rows(client.ask("select 1")) == ["1"]
        server.stop("immediate")
        answer = client.ask("select 1")
        assert error(answer)["C"] == "08006"
        assert error(answer)["S"] == "ERROR"
        assert answer[-1] == (b"Z", b"I")
        server.start()
        began = time.monotonic()
        while error(client.ask("select 1")):
            assert time.monotonic() - began < 3
        assert time.monotonic() - began < 1.5
    finally:
        server.destroy()


def test_too_many_connections_on_the_server(proxies, clients):
    """53300 from the server: those who have a backend work on, the others wait."""
    server = Postgres({"max_connections": 6, "superuser_reserved_connections": 0,
                       "max_wal_senders": 0}, name="small").init().start()
    try:
        proxy = proxies(config_for(server.port, defaults={"pool_size": 20,
                                                          "queue_timeout": "20s"}))
        failures = []

        def work(client):
            try:
                for _ in range(10):
                    assert rows(client.ask("select 1 from pg_sleep(0.005)")) == ["1"]
            except Exception as failure:  # noqa: BLE001
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(client,))
                   for client in clients(proxy, "postgres", 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not failures, failures
    finally:
        server.destroy()


def test_pool_is_not_blocked_by_failing_log_ins(proxies, clients, pg, observer):
    """One user's wrong password says nothing to another's pool."""
    role = observer.role()
    proxy = proxies(config_for(pg.port, {"app": {"backend_password": "wrong"}, "*": {}}))
    with Connection("127.0.0.1", proxy.port) as client:
        assert error(client.log_in("app"))["C"] == "28P01"
    began = time.monotonic()
    assert rows(clients(proxy, role).ask("select 1")) == ["1"]
    assert time.monotonic() - began < 1


def test_limits_of_databases_and_users(proxies, clients, pg, observer):
    roles = [observer.role() for _ in range(3)]
    config = config_for(pg.port, {"*": {}, roles[1]: {"pool_size": 1}}, defaults={"pool_size": 3})
    config["databases"] = {"*": {}, "template1": {"pool_size": 2}}
    proxy = proxies(config)
    for user, database, size in ((roles[0], "postgres", 3), (roles[1], "postgres", 1),
                                 (roles[2], "template1", 2)):
        started = clients(proxy, user, 4, database=database)
        for client in started:
            client.send(query("begin; select 1"))
        waiting(proxy, user, 4 - size)
        assert len(observer.pids(user)) == size
