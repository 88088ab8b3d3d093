"""The end of dwspool: nobody's transaction is cut off before its time."""

import os
import signal
import socket
import threading
import time

import psycopg2
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import (Closed, Connection, Scram, bind, cstr, execute, fields, message,
                                  parse, query, startup, sync)


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def clients():
    opened = []

    def start(proxy, user="postgres"):
        opened.append(Connection("127.0.0.1", proxy.port, timeout=10))
        assert opened[-1].log_in(user)[-1][0] == b"Z"
        return opened[-1]

    yield start
    for client in opened:
        client.close()


def terminate(proxy):
    os.kill(proxy.process.pid, signal.SIGTERM)


def ended(proxy, within):
    """Waits for the end; returns the exit status."""
    return proxy.process.wait(within)


def draining(proxy):
    wait_until(lambda: proxy.process.poll() is not None or proxy.metric("dwspool_draining") == 1,
               what="draining")


def to_the_end(client):
    """All that the client is told; then it leaves, as dwspool waits for that (2 s at most)."""
    seen = client.until_closed()
    client.close()
    return seen


def codes(messages):
    return [(fields(body)["S"], fields(body)["C"]) for kind, body in messages if kind == b"E"]


def rows(messages):
    return [body[6:].decode() for kind, body in messages if kind == b"D"]


@pytest.mark.parametrize("workers", [1, 3])
def test_idle_clients_are_told(trusting, mode, clients, observer, workers):
    proxy = trusting(mode, workers=workers)
    role = observer.role()
    fresh = clients(proxy, role)
    used = clients(proxy, role)
    used.ask("select 1")
    terminate(proxy)
    for client in (fresh, used):
        assert codes(to_the_end(client)) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0
    wait_until(lambda: observer.pids(role) == [], what="its backends gone")


def test_nobody_there(trusting):
    proxy = trusting("auto")
    terminate(proxy)
    assert ended(proxy, 2) == 0


def test_by_interrupt(trusting, clients):
    proxy = trusting("auto")
    client = clients(proxy)
    os.kill(proxy.process.pid, signal.SIGINT)
    assert codes(to_the_end(client)) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_transactions_are_finished(trusting, mode, clients, observer, workers):
    proxy = trusting(mode, workers=workers)
    table = observer.table("i int")
    busy = [clients(proxy) for _ in range(3)]
    for client in busy:
        client.ask("begin")
        client.ask(f"insert into {table} values (1)")
    idle = clients(proxy)
    terminate(proxy)
    assert codes(to_the_end(idle)) == [("FATAL", "57P01")]
    for client in busy:
        assert codes(client.ask(f"insert into {table} values (2)")) == []
    for client in busy:
        client.send(query("commit"))
        assert client.until_ready()[-1] == (b"Z", b"I")
        assert codes(to_the_end(client)) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0
    assert observer.value(f"select count(*) from {table}") == 6


def test_statement_under_way_is_finished(trusting, mode, clients, observer):
    proxy = trusting(mode)
    role = observer.role()
    simple, extended = clients(proxy, role), clients(proxy, role)
    simple.send(query("select 'slow' from pg_sleep(0.4)"))
    extended.send(parse("", "select 'slow' from pg_sleep(0.4)") + bind("", "") + execute() + sync())
    observer.wait_running("%'slow'%", 2, user=role)
    terminate(proxy)
    for client in (simple, extended):
        seen = to_the_end(client)
        assert rows(seen) == ["slow"]
        assert codes(seen) == [("FATAL", "57P01")]
        assert seen[-2] == (b"Z", b"I")
    assert ended(proxy, 5) == 0


def test_pipeline_is_finished(trusting, clients, observer):
    """All that was sent before the signal."""
    proxy = trusting("auto")
    role = observer.role()
    client = clients(proxy, role)
    client.send(query("select 'first' from pg_sleep(0.3)") + query("select 'second'") +
                parse("", "select 'third'") + bind("", "") + execute() + sync())
    observer.wait_running("%'first'%", user=role)
    terminate(proxy)
    seen = to_the_end(client)
    assert rows(seen) == ["first", "second", "third"]
    assert codes(seen) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0


def test_copy_is_finished(trusting, mode, clients, observer):
    proxy = trusting(mode)
    table = observer.table("i int")
    client = clients(proxy)
    client.send(query(f"copy {table} from stdin"))
    assert client.receive()[0] == b"G"
    client.send(message(b"d", b"1\n"))
    terminate(proxy)
    draining(proxy)
    client.send(message(b"d", b"2\n") + message(b"c"))
    seen = to_the_end(client)
    assert (b"C", b"COPY 2\0") in seen
    assert codes(seen) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0
    assert observer.value(f"select count(*) from {table}") == 2


def test_waiting_clients_are_served(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1})
    role = observer.role()
    holder, client = clients(proxy, role), clients(proxy, role)
    holder.ask("begin; select 1")
    client.send(query("select 'served'"))
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 1,
               what="a client waits")
    terminate(proxy)
    draining(proxy)
    holder.send(query("commit"))
    to_the_end(holder)
    assert rows(to_the_end(client)) == ["served"]
    assert ended(proxy, 5) == 0


def test_new_connections_are_refused(trusting, clients):
    proxy = trusting("auto")
    client = clients(proxy)
    client.ask("begin; select 1")
    terminate(proxy)
    draining(proxy)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(proxy.dsn())
    with pytest.raises(OSError):
        Connection(proxy.dir, proxy.port)
    assert proxy.http("/readyz")[0] == 503
    assert proxy.http("/healthz")[0] == 200
    client.ask("commit")
    client.close()
    assert ended(proxy, 5) == 0


def test_connections_before_their_log_in(trusting, clients):
    """Accepted before the signal, and only now they say who they are."""
    proxy = trusting("auto")
    early = Connection("127.0.0.1", proxy.port)
    holder = clients(proxy)
    holder.ask("begin; select 1")
    terminate(proxy)
    draining(proxy)
    assert codes(early.log_in()) == [("FATAL", "57P03")]
    early.close()
    holder.ask("commit")
    holder.close()
    assert ended(proxy, 5) == 0


def test_silent_connections_do_not_hold_it_up(trusting):
    """A health check, or a hostile client: it has a second."""
    proxy = trusting("auto", shutdown_timeout="4s")
    with Connection("127.0.0.1", proxy.port):
        wait_until(lambda: proxy.metric("dwspool_clients") == 1, what="one client")
        terminate(proxy)
        assert ended(proxy, 1.5) == 0


def test_log_in_under_way_is_refused(proxies, pg):
    proxy = proxies({
        "shutdown_timeout": "2s",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"], "user": "postgres"}},
        "databases": {"*": {}}, "users": {"app": {"password": "x"}},
    })
    with Connection("127.0.0.1", proxy.port, timeout=5) as client:
        scram = Scram("x")
        client.send(startup({"user": "app", "database": "postgres"}))
        client.receive()
        terminate(proxy)
        draining(proxy)
        first = scram.first()
        client.send(message(b"p", cstr("SCRAM-SHA-256") + len(first).to_bytes(4, "big") + first))
        client.send(message(b"p", scram.final(client.receive()[1][4:])))
        began = time.monotonic()
        seen = client.until_closed()
        assert codes(seen) and codes(seen)[0][0] == "FATAL"
        assert time.monotonic() - began < 1


def test_deferred_begin(trusting, clients):
    """A BEGIN that no server has seen: nothing is lost, but the client believes in it."""
    proxy = trusting("auto")
    client = clients(proxy)
    assert client.ask("begin")[-1] == (b"Z", b"T")
    terminate(proxy)
    assert codes(to_the_end(client)) == [("FATAL", "57P01")]
    assert ended(proxy, 5) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_shutdown_timeout(trusting, clients, observer, workers):
    proxy = trusting("auto", shutdown_timeout="500ms", workers=workers)
    role = observer.role()
    table = observer.table("i int")
    inside, running = clients(proxy, role), clients(proxy, role)
    inside.ask("begin")
    inside.ask(f"insert into {table} values (1)")
    running.send(query("select pg_sleep(76)"))
    observer.wait_running("%pg_sleep(76)%", user=role)
    began = time.monotonic()
    terminate(proxy)
    assert ended(proxy, 5) == 0
    assert 0.4 < time.monotonic() - began < 2
    for client in (inside, running):
        with pytest.raises((Closed, ConnectionError)):
            while True:
                client.receive()
    assert observer.value(f"select count(*) from {table}") == 0
    observer.terminate(role)  # what still sleeps


def test_second_signal_ends_at_once(trusting, clients):
    proxy = trusting("auto", shutdown_timeout="30s")
    client = clients(proxy)
    client.ask("begin; select 1")
    terminate(proxy)
    draining(proxy)
    assert proxy.process.poll() is None
    began = time.monotonic()
    terminate(proxy)
    assert ended(proxy, 5) == 0
    assert time.monotonic() - began < 1


def test_many_signals(trusting, clients):
    """Service managers and impatient people repeat themselves."""
    for _ in range(10):
        proxy = trusting("auto")
        clients(proxy).ask("select 1")
        while proxy.process.poll() is None:
            terminate(proxy)
            time.sleep(0.0003)
        assert proxy.process.returncode == 0


def test_clients_that_do_not_read_their_last_word(trusting, clients):
    proxy = trusting("auto")
    client = clients(proxy)
    began = time.monotonic()
    terminate(proxy)
    assert ended(proxy, 5) == 0  # does not wait for the client to close for long
    assert time.monotonic() - began < 3
    assert codes(client.until_closed()) == [("FATAL", "57P01")]


def test_psycopg2(trusting):
    """An application in a transaction ends it undisturbed; its next one finds the door closed.
    Why, libpq 15 does not say: a FATAL with the end right behind it loses its text there."""
    proxy = trusting("auto")
    connection = psycopg2.connect(proxy.dsn())
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        terminate(proxy)
        draining(proxy)
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,)
        connection.commit()
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("select 3")
    assert connection.closed
    connection.close()
    assert ended(proxy, 5) == 0


def test_under_load(trusting, observer):
    """Every transaction whose commit was acknowledged is there, exactly once; no client sees
    anything but a refusal between its transactions."""
    proxy = trusting("auto", workers=2, defaults={"pool_size": 3})
    table = observer.table("who int, turn int")
    acknowledged, problems = set(), []
    stop = threading.Event()

    def work(number):
        connection = psycopg2.connect(proxy.dsn())
        turn, inside = 0, False
        try:
            while not stop.is_set():
                turn += 1
                with connection.cursor() as cursor:
                    cursor.execute(f"insert into {table} values ({number}, {turn})")
                    inside = True
                    cursor.execute("select 1")
                connection.commit()
                inside = False
                acknowledged.add((number, turn))
        except psycopg2.OperationalError as error:
            if inside:
                problems.append(error)
        except Exception as error:  # noqa: BLE001
            problems.append(error)
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 200, what="some transactions")
    terminate(proxy)
    assert ended(proxy, 10) == 0
    stop.set()
    for thread in threads:
        thread.join(5)
    assert set(observer.rows(f"select who, turn from {table}")) == acknowledged
    assert not problems, problems
