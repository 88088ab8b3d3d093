"""CancelRequest: it ends the statement that it means, or nothing."""

import random
import socket
import struct
import threading
import time

import pytest
from dwspool_testing.middleman import Middleman
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import (Connection, bind, cancel_request, execute, fields, message, parse,
                                  query, sync)


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def clients():
    """Opens logged-in clients."""
    opened = []

    def start(proxy, user="postgres"):
        opened.append(Connection("127.0.0.1", proxy.port))
        assert opened[-1].log_in(user)[-1][0] == b"Z"
        return opened[-1]

    yield start
    for client in opened:
        client.close()


def send_cancel(port, pid, secret, wait=True):
    """As libpq does it: the connection ends when the request has been seen to."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(cancel_request(pid, secret))
        connection.settimeout(10)
        return connection.recv(100) if wait else b""


def outcome(messages):
    """The SQLSTATE of the error among the messages, or the first row's first column."""
    for kind, body in messages:
        if kind == b"E":
            return fields(body)["C"]
        if kind == b"D":
            size = struct.unpack("!i", body[2:6])[0]
            return body[6:6 + size].decode() if size >= 0 else None
    return None


def test_own_statement(trusting, mode, clients, observer):
    proxy = trusting(mode)
    role = observer.role()
    client = clients(proxy, role)
    for _ in range(3):
        for messages in (query("select pg_sleep(71)"),
                         parse("", "select pg_sleep(71)") + bind("", "") + execute() + sync()):
            client.send(messages)
            observer.wait_running("%pg_sleep(71)%", user=role)
            assert send_cancel(proxy.port, client.pid, client.secret) == b""
            assert outcome(client.until_ready()) == "57014"
            assert outcome(client.ask("select 'alive'")) == "alive"


def test_before_its_sync(trusting, mode, clients, observer):
    """As a driver in pipeline mode sends it: the server works although nothing ends the request."""
    proxy = trusting(mode)
    role = observer.role()
    client = clients(proxy, role)
    client.send(parse("", "select pg_sleep(71)") + bind("", "") + execute() + message(b"H"))
    observer.wait_running("%pg_sleep(71)%", user=role)
    send_cancel(proxy.port, client.pid, client.secret)
    client.send(sync())
    assert outcome(client.until_ready()) == "57014"
    assert outcome(client.ask("select 'alive'")) == "alive"


def test_in_a_transaction(trusting, mode, clients, observer):
    proxy = trusting(mode)
    role = observer.role()
    client = clients(proxy, role)
    client.ask("begin")
    client.send(query("select pg_sleep(71)"))
    observer.wait_running("%pg_sleep(71)%", user=role)
    send_cancel(proxy.port, client.pid, client.secret)
    answer = client.until_ready()
    assert outcome(answer) == "57014"
    assert answer[-1] == (b"Z", b"E")
    assert outcome(client.ask("select 1")) == "25P02"
    client.ask("rollback")
    assert outcome(client.ask("select 'alive'")) == "alive"


def test_during_copy(trusting, mode, clients, observer):
    proxy = trusting(mode)
    role = observer.role()
    table = observer.table("i int")
    client = clients(proxy, role)
    client.send(query(f"copy {table} from stdin"))
    assert client.receive()[0] == b"G"
    send_cancel(proxy.port, client.pid, client.secret)
    client.send(message(b"d", b"1\n") * 3)  # the server looks at the cancel between lines
    assert outcome(client.until_ready()) == "57014"
    client.send(message(b"d", b"1\n") + message(b"c"))  # the client has not seen the error yet
    assert outcome(client.ask("select 'alive'")) == "alive"
    client.send(query("copy (select repeat('x', 9000), pg_sleep(0.01) "
                      "from generate_series(1, 100000)) to stdout"))
    assert client.receive()[0] == b"H"
    send_cancel(proxy.port, client.pid, client.secret)
    assert outcome([m for m in client.until_ready() if m[0] == b"E"]) == "57014"
    assert outcome(client.ask("select 'alive'")) == "alive"


@pytest.mark.parametrize("workers", [1, 2])
def test_wrong_secret_does_nothing(trusting, clients, observer, workers):
    proxy = trusting("auto", workers=workers)
    role = observer.role()
    victim, other = clients(proxy, role), clients(proxy, role)
    assert (victim.pid, victim.secret) != (other.pid, other.secret)
    victim.send(query("select pg_sleep(0.5), 'done'"))
    observer.wait_running("%pg_sleep(0.5)%", user=role)
    wrong = bytes(byte ^ 1 for byte in victim.secret)
    for pid, secret in ((victim.pid, wrong), (victim.pid, other.secret),
                        (victim.pid, victim.secret + b"\0"), (victim.pid, victim.secret[:-1]),
                        (victim.pid ^ 1, victim.secret), (victim.pid | 1 << 31, victim.secret),
                        (0, victim.secret), (0, b"\0" * 4), (other.pid, other.secret)):
        assert send_cancel(proxy.port, pid, secret) == b""
    answer = victim.until_ready()
    assert not [kind for kind, _ in answer if kind == b"E"], answer


def test_keys_differ_and_are_forgotten(trusting, clients, observer):
    proxy = trusting("auto")
    role = observer.role()
    keys = set()
    for _ in range(50):
        client = clients(proxy, role)
        assert 0 < client.pid < 1 << 31
        keys.add((client.pid, client.secret))
        client.close()
    assert len(keys) == 50
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, what="no client left")
    client = clients(proxy, role)
    client.send(query("select pg_sleep(0.2), 'done'"))
    observer.wait_running("%pg_sleep(0.2)%", user=role)
    for pid, secret in keys:
        send_cancel(proxy.port, pid, secret)
    assert not [kind for kind, _ in client.until_ready() if kind == b"E"]
    assert proxy.metric("dwspool_cancel_requests_forwarded_total") == 0


def test_after_the_end_nobody_is_hit(trusting, clients, observer):
    """The key of a client that is idle: its last backend works for another."""
    proxy = trusting("transaction", defaults={"pool_size": 1})
    role = observer.role()
    idle, busy = clients(proxy, role), clients(proxy, role)
    assert outcome(idle.ask("select 1")) == "1"
    busy.send(query("select pg_sleep(0.3), 'done'"))
    observer.wait_running("%pg_sleep(0.3)%", user=role)
    for _ in range(20):
        send_cancel(proxy.port, idle.pid, idle.secret)
    assert not [kind for kind, _ in busy.until_ready() if kind == b"E"]
    assert proxy.metric("dwspool_cancel_requests_forwarded_total") == 0
    assert proxy.metric("dwspool_cancel_requests_total") == 20


@pytest.mark.parametrize("mode", ["transaction", "auto"])
def test_late_cancel_does_not_hit_the_next_client(pg, proxies, clients, observer, mode):
    """The statement ends while the cancel is on its way to the server: the backend is lent to
    nobody before the cancel has arrived."""
    hold = threading.Event()

    def on_first(packet):
        if packet[4:8] == struct.pack("!I", 80877102):
            hold.wait(10)

    with Middleman(("127.0.0.1", pg.port), on_first) as between:
        proxy = proxies({
            "auth_method": "trust", "defaults": {"pool_mode": mode, "pool_size": 1},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{between.port}"]}},
            "databases": {"*": {}}, "users": {"*": {}},
        })
        role = observer.role()
        first, second = clients(proxy, role), clients(proxy, role)
        first.send(query("select pg_sleep(0.2), 'first'"))
        observer.wait_running("%pg_sleep(0.2)%", user=role)
        send_cancel(proxy.port, first.pid, first.secret, wait=False)
        wait_until(lambda: between.cancels == 1, what="the cancel on its way")
        assert outcome(first.until_ready()) is not None
        second.send(query("select pg_sleep(0.1), 'second'"))
        # Nothing can be seen until the cancel is let go; that it waits is what is tested.
        assert observer.running("%'second'%", user=role) == 0
        hold.set()
        answer = second.until_ready()
        assert not [kind for kind, _ in answer if kind == b"E"], answer


def test_next_statement_can_be_cancelled_too(pg, proxies, clients, observer):
    with Middleman(("127.0.0.1", pg.port), hold_cancel_close=1.0) as between:
        proxy = proxies({
            "auth_method": "trust", "defaults": {"pool_mode": "session"},
            "shutdown_timeout": "1s",
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{between.port}"]}},
            "databases": {"*": {}}, "users": {"*": {}},
        })
        role = observer.role()
        client = clients(proxy, role)
        for number in (1, 2):
            client.send(query(f"select pg_sleep(2.5), {number}"))
            observer.wait_running(f"%pg_sleep(2.5), {number}%", user=role)
            send_cancel(proxy.port, client.pid, client.secret, wait=False)
            assert outcome(client.until_ready()) == "57014"
            time.sleep(0.2)  # PostgreSQL signals twice, and has closed its side only after that


@pytest.mark.parametrize("mode, workers, size, turns", [
    ("transaction", 1, 6, 34), ("auto", 1, 6, 34), ("auto", 2, 12, 84)])
def test_storm(trusting, clients, observer, mode, workers, size, turns):
    """Many clients on two backends, all of them cancelling themselves all the time, the last time
    a thousand times; bystanders that never cancel are never cancelled."""
    proxy = trusting(mode, workers=workers, defaults={"pool_size": 2, "queue_timeout": "20s"})
    role = observer.role()
    failures, cancelled, cancels = [], [0], [0]
    lock = threading.Lock()
    finished = threading.Event()

    def bystander(client, number):
        turn = 0
        try:
            while not finished.is_set():
                turn += 1
                text = f"bystander {number} {turn}"
                assert outcome(client.ask(f"select '{text}' from pg_sleep(0.002)")) == text
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    def suicidal(client, number):
        random_ = random.Random(number)
        try:
            for turn in range(turns):
                text = f"client {number} {turn}"
                client.send(query(f"select '{text}' from pg_sleep(0.03)"))
                if random_.random() < 0.8:
                    time.sleep(random_.random() * 0.04)
                # Sometimes it comes too late, or while the statement waits for a backend.
                send_cancel(proxy.port, client.pid, client.secret, wait=random_.random() < 0.7)
                got = outcome(client.until_ready())
                assert got in (text, "57014"), got
                with lock:
                    cancels[0] += 1
                    cancelled[0] += got == "57014"
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    bystanders = [threading.Thread(target=bystander, args=(clients(proxy, role), n))
                  for n in range(2)]
    suicidals = [threading.Thread(target=suicidal, args=(clients(proxy, role), n))
                 for n in range(size)]
    for thread in bystanders + suicidals:
        thread.start()
    for thread in suicidals:
        thread.join(60)
    finished.set()
    for thread in bystanders:
        thread.join(10)
    assert not failures, failures
    assert cancels[0] == size * turns
    assert cancelled[0] > size * turns / 10
    assert len(observer.pids(role)) <= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_while_waiting_for_a_backend(trusting, clients, observer, workers):
    proxy = trusting("auto", workers=workers, defaults={"pool_size": 1})
    role = observer.role()
    holder, waiting, after = (clients(proxy, role) for _ in range(3))
    holder.ask("begin; select 1")
    for client in (waiting, after):
        client.send(query("select 'waited'"))
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 2,
               what="two clients wait")
    send_cancel(proxy.port, waiting.pid, waiting.secret)
    answer = waiting.until_ready()
    assert outcome(answer) == "57014"
    assert answer[-1] == (b"Z", b"I")
    assert len(answer) == 2
    holder.ask("commit")
    assert outcome(after.until_ready()) == "waited"
    assert outcome(waiting.ask("select 'alive'")) == "alive"


def test_while_waiting_in_a_transaction(trusting, clients, observer):
    """The BEGIN was answered, its first statement waits: the client is in a failed transaction."""
    proxy = trusting("auto", defaults={"pool_size": 1})
    role = observer.role()
    holder, waiting = clients(proxy, role), clients(proxy, role)
    holder.ask("begin; select 1")
    assert waiting.ask("begin")[-1] == (b"Z", b"T")
    waiting.send(query("select 'waited'"))
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 1,
               what="a client waits")
    send_cancel(proxy.port, waiting.pid, waiting.secret)
    answer = waiting.until_ready()
    assert outcome(answer) == "57014"
    assert answer[-1] == (b"Z", b"E")
    assert outcome(waiting.ask("select 1")) == "25P02"
    assert waiting.ask("rollback")[-1] == (b"Z", b"I")
    holder.ask("commit")
    assert outcome(waiting.ask("select 'alive'")) == "alive"


def test_extended_request_while_waiting(trusting, clients, observer):
    proxy = trusting("auto", defaults={"pool_size": 1})
    role = observer.role()
    holder, waiting = clients(proxy, role), clients(proxy, role)
    holder.ask("begin; select 1")
    waiting.send(parse("s", "select 'x'") + bind("", "s") + execute() + sync() + query("select 2"))
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 1,
               what="a client waits")
    send_cancel(proxy.port, waiting.pid, waiting.secret)
    answer = waiting.until_ready()
    assert (outcome(answer), len(answer)) == ("57014", 2)
    holder.ask("commit")
    assert outcome(waiting.until_ready()) == "2"
    waiting.send(bind("", "s") + sync())
    assert outcome(waiting.until_ready()) == "26000"  # its Parse was never run


@pytest.mark.parametrize("first", [0, 1])
def test_key_of_another_worker(trusting, clients, observer, first):
    """Connections go to the workers in turn: the request and the client are on different ones."""
    proxy = trusting("auto", workers=2)
    role = observer.role()
    for _ in range(first):
        clients(proxy, role)
    client = clients(proxy, role)
    for _ in range(4):
        client.send(query("select pg_sleep(72)"))
        observer.wait_running("%pg_sleep(72)%", user=role)
        send_cancel(proxy.port, client.pid, client.secret)
        assert outcome(client.until_ready()) == "57014"
        # The next request comes in on the other worker.
        send_cancel(proxy.port, 1, b"none")
    assert outcome(client.ask("select 'alive'")) == "alive"


def test_client_that_ends_after_its_cancel(trusting, clients, observer):
    proxy = trusting("transaction", defaults={"pool_size": 1})
    role = observer.role()
    for _ in range(10):
        client = clients(proxy, role)
        client.send(query("select pg_sleep(73)"))
        observer.wait_running("%pg_sleep(73)%", user=role)
        send_cancel(proxy.port, client.pid, client.secret)
        client.close()
    client = clients(proxy, role)
    assert outcome(client.ask("select 'alive'")) == "alive"


@pytest.mark.parametrize("count", [1, 2])
def test_statements_of_a_client_that_has_gone(trusting, clients, observer, count):
    """They have a second each to end by themselves; then they are cancelled."""
    proxy = trusting("transaction", defaults={"pool_size": 1, "queue_timeout": "5s"})
    role = observer.role()
    client = clients(proxy, role)
    client.send(query("select pg_sleep(74)") * count)
    observer.wait_running("%pg_sleep(74)%", user=role)
    client.close()
    assert outcome(clients(proxy, role).ask("select 'alive'")) == "alive"
    assert proxy.metric("dwspool_cancel_requests_forwarded_total") == 0  # no client's


def test_short_statement_of_a_client_that_has_gone(trusting, clients, observer):
    proxy = trusting("transaction", defaults={"pool_size": 1})
    role, table = observer.role(), observer.table("i int")
    client = clients(proxy, role)
    client.send(query(f"insert into {table} select 1 from pg_sleep(0.3)"))
    observer.wait_running("%pg_sleep(0.3)%", user=role)
    client.close()
    wait_until(lambda: observer.value(f"select count(*) from {table}") == 1, what="the row")


@pytest.mark.parametrize("mode", ["transaction", "auto", "session"])
def test_what_comes_before_a_goodbye_is_done(trusting, clients, observer, mode):
    """As on a direct connection: sent, closed, and not waited for, in whatever state that hits."""
    proxy = trusting(mode, defaults={"pool_size": 2})
    role, table = observer.role(), observer.table("who text")
    holder, waiting, running, inside = (clients(proxy, role) for _ in range(4))
    holder.ask("begin; select 1")
    inside.ask("begin")
    inside.ask(f"insert into {table} values ('inside')")
    waiting.send(query(f"insert into {table} values ('waiting')") + message(b"X"))
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 1,
               what="a client waits")
    waiting.close()
    inside.send(query("commit") + message(b"X"))
    inside.close()
    wait_until(lambda: observer.value(f"select count(*) from {table}") == 2, what="two rows")
    running.send(query(f"insert into {table} select 'running' from pg_sleep(2.5)") + message(b"X"))
    observer.wait_running("%pg_sleep(2.5)%", user=role)
    running.close()
    wait_until(lambda: observer.value(f"select count(*) from {table}") == 3, what="three rows")
    wait_until(lambda: proxy.metric("dwspool_clients") == 1, what="only the holder is left")
