"""Cancel requests that land on another dwspool, as behind a load balancer that knows nothing."""

import contextlib
import itertools
import multiprocessing
import socket
import threading
import time

import psycopg2
import psycopg2.errors
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, cancel_request, fields, query

MARK = b"dwspool:passed on"
CANCELED = "57014"


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def pair(trusting):
    """Two instances that know each other, with one file, and its own id for each."""

    def start(workers=1, **more):
        ports = [free_port(), free_port()]
        peers = [{"id": name, "address": f"127.0.0.1:{port}"} for name, port in zip("ab", ports)]
        found = []
        for name, port in zip("ab", ports):
            found.append(trusting(workers=workers, instance_id=name, peers=peers,
                                  listen=[{"host": "127.0.0.1", "port": port}], **more))
            found[-1].port = port
        return found

    return start


def send(port, pid, secret):
    """As libpq does it: the connection ends when the request has been seen to."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(cancel_request(pid, secret))
        connection.settimeout(10)
        assert connection.recv(100) == b""


@contextlib.contextmanager
def sleeping(port, observer, seconds):
    """A client whose statement runs for so long."""
    with Connection("127.0.0.1", port) as client:
        client.log_in(observer.role())
        sleep(client, observer, seconds)
        yield client


def sleep(client, observer, seconds):
    client.send(query(f"select pg_sleep({seconds})"))
    observer.wait_running(f"%pg_sleep({seconds})%")


def state_of(messages):
    return next((fields(body)["C"] for kind, body in messages if kind == b"E"), None)


class Balancer:
    """Each new connection goes to the next instance: the worst that a balancer can do. A process of
    its own, since psycopg2's cancel() lets no other thread run."""

    def __init__(self, ports):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process = multiprocessing.get_context("fork").Process(target=self.accept, args=(ports,), daemon=True)
        self.process.start()

    def accept(self, ports):
        for port in itertools.cycle(ports):
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    @staticmethod
    def pump(one, other):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        self.process.terminate()
        self.process.join(5)


@pytest.fixture
def balancer():
    opened = []

    def start(*proxies):
        opened.append(Balancer([proxy.port for proxy in proxies]))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_lands_on_the_other_one(pair, observer, workers):
    first, second = pair(workers)
    role = observer.role()
    for home, away in ((first, second), (second, first)) * workers:
        with Connection("127.0.0.1", home.port) as client:
            client.log_in(role)
            sleep(client, observer, 71)
            send(away.port, client.pid, client.secret)
            assert state_of(client.until_ready()) == CANCELED
            assert state_of(client.ask("select 1")) is None
    for proxy in (first, second):
        assert proxy.metric("dwspool_peer_cancel_requests_sent_total") == workers
        assert proxy.metric("dwspool_peer_cancel_requests_received_total") == workers
        assert proxy.metric("dwspool_peer_cancel_requests_dropped_total") == 0


def test_psycopg2_behind_a_balancer(pair, balancer, observer):
    """psycopg2's cancel() goes where the balancer wants it."""
    between = balancer(*pair())
    role = observer.role()
    for _ in range(3):
        with psycopg2.connect(host="127.0.0.1", port=between.port, user=role,
                              dbname="postgres") as connection:
            connection.autocommit = True
            told = []

            def sleep(cursor=connection.cursor()):
                try:
                    cursor.execute("select pg_sleep(72)")
                except psycopg2.errors.QueryCanceled as error:
                    told.append(error.pgcode)

            sleeper = threading.Thread(target=sleep)
            sleeper.start()
            observer.wait_running("%pg_sleep(72)%", user=role)
            connection.cancel()
            sleeper.join(10)
            assert told == [CANCELED]
        connection.close()


def test_without_peers_it_does_nothing(trusting, observer):
    """So that the tests above mean something."""
    home, away = trusting(), trusting()
    with sleeping(home.port, observer, 0.7) as client:
        send(away.port, client.pid, client.secret)
        assert state_of(client.until_ready()) is None


def test_the_owner_looks_at_the_whole_key(pair, observer):
    first, second = pair()
    with sleeping(first.port, observer, 0.7) as client:
        wrong = bytes(byte ^ 1 for byte in client.secret)
        for pid, secret in ((client.pid, wrong), (client.pid ^ 1, client.secret),
                            (client.pid, wrong + MARK), (client.pid, client.secret + b"\0"),
                            (client.pid, client.secret[:3]), (0, client.secret),
                            (client.pid, MARK), (client.pid, b"\0" * 4)):
            send(second.port, pid, secret)
        assert state_of(client.until_ready()) is None


def test_goes_no_further_than_one_peer(pair, observer):
    """What looks as if a peer had passed it on is for the instance that it came to, or for nobody."""
    first, second = pair()
    with sleeping(first.port, observer, 0.7) as client:
        send(second.port, client.pid, client.secret + MARK)
        assert state_of(client.until_ready()) is None
        assert second.metric("dwspool_peer_cancel_requests_sent_total") == 0
        sleep(client, observer, 71)
        send(first.port, client.pid, client.secret + MARK)
        assert state_of(client.until_ready()) == CANCELED
    send(first.port, 7, b"abcd")  # nobody's
    time.sleep(0.5)
    assert [proxy.metric("dwspool_peer_cancel_requests_sent_total") for proxy in (first, second)] == [1, 0]
    assert second.metric("dwspool_peer_cancel_requests_received_total") == 2


def test_a_name_that_is_the_instance_itself_too(trusting, observer):
    """As that of a headless Service. Here one name has two addresses of one instance."""
    port = free_port()
    proxy = trusting(listen=[{"host": "127.0.0.1", "port": port}], peers=[f"localhost:{port}"])
    started = time.monotonic()
    send(port, 7, b"abcd")
    assert time.monotonic() - started < 2
    wait_until(lambda: proxy.metric("dwspool_peer_cancel_requests_received_total") >= 1, what="from itself")
    assert proxy.metric("dwspool_peer_cancel_requests_sent_total") >= 1
    assert proxy.metric("dwspool_cancel_requests_total") == 1


def test_a_peer_that_is_gone_or_says_nothing(trusting, observer):
    """Holds up nobody but itself, and nobody for long."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        ports = [free_port(), free_port()]
        peers = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{silent.getsockname()[1]}", "no.such.name.invalid:1"]
        first, second = (trusting(listen=[{"host": "127.0.0.1", "port": port}],
                                  peers=[*peers, f"127.0.0.1:{other}"])
                         for port, other in (ports, ports[::-1]))
        with sleeping(ports[0], observer, 71) as client:
            requester = threading.Thread(target=send, args=(ports[1], client.pid, client.secret))
            started = time.monotonic()
            requester.start()
            assert state_of(client.until_ready()) == CANCELED
            assert time.monotonic() - started < 2
            requester.join(10)
            assert 2 < time.monotonic() - started < 6
        assert "cancel.peer_unknown" in second.log()
        assert first.metric("dwspool_peer_cancel_requests_received_total") == 1


def test_a_flood_is_bounded(pair, observer):
    """Thousands of requests that mean nobody: few are on their way at a time, the rest is forgotten,
    and who means somebody still gets through afterwards."""
    first, second = pair()
    second.process.send_signal(19)  # SIGSTOP: whatever goes there takes its time
    flood = []
    try:
        for number in range(900):
            flood.append(socket.create_connection(("127.0.0.1", first.port)))
            flood[-1].sendall(cancel_request(number + 1, b"abcd"))
        wait_until(lambda: first.metric("dwspool_cancel_requests_total") == 900, what="all came")
        dropped = first.metric("dwspool_peer_cancel_requests_dropped_total")
        assert dropped >= 900 - 16 - 256
        wait_until(lambda: first.metric("dwspool_clients") == 0, timeout=15, what="all are answered")
    finally:
        second.process.send_signal(18)
        for connection in flood:
            connection.close()
    assert "cancel.peers_overloaded" in first.log()
    with sleeping(second.port, observer, 71) as client:
        send(first.port, client.pid, client.secret)
        assert state_of(client.until_ready()) == CANCELED


def test_peers_change_on_reload(trusting, observer):
    home, away = trusting(), trusting()
    away.config["peers"] = [f"127.0.0.1:{home.port}"]
    away.write_config()
    away.process.send_signal(1)
    wait_until(lambda: "config.reloaded" in away.log(), what="reloaded")
    with sleeping(home.port, observer, 71) as client:
        send(away.port, client.pid, client.secret)
        assert state_of(client.until_ready()) == CANCELED


def test_the_console_lists_them(trusting):
    proxy = trusting(instance_id="a", console={"admin_users": ["boss"]}, users={"*": {}, "boss": {}},
                     peers=[{"id": "a", "address": "h:1"}, {"id": 7, "address": "h:2"}, "h:3"])
    connection = psycopg2.connect(proxy.dsn("boss", "dwspool"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("show peers")
        assert cursor.fetchall() == [(7, "h", 2, 0), (2, "h", 3, 0)]
    connection.close()
