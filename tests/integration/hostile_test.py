"""Hostile clients. Whatever they send, others notice nothing, dwspool lives, and nothing is left."""

import contextlib
import gc
import os
import random
import select
import signal
import socket
import struct
import threading
import time

import pytest
from dwspool_testing.proxy import is_sanitized, wait_until
from dwspool_testing.wire import (GSSENC_REQUEST, SSL_REQUEST, Connection, bind, cancel_request,
                                  cstr, describe, execute, fields, message, parse, query, startup,
                                  sync)

LOGIN = startup({"user": "trusted", "database": "postgres"})
SCRAM_LOGIN = startup({"user": "app", "database": "postgres"})
LENGTHS = [0, 1, 3, 4, 5, 8, 9999, 10000, 10001, 0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe,
           0xffffffff]
FRONTEND_TYPES = b"BCdcfDEHFPpQSX"
GROWTH_KIB = 6 * 1024


class Citizen(threading.Thread):
    """A client that behaves, and must not see an error while the others do not."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.ended = threading.Event()
        self.queries = 0
        self.slowest = 0.0
        self.error = None

    def run(self):
        try:
            with Connection("127.0.0.1", self.port) as client:
                assert client.log_in("trusted")[-1][0] == b"Z"
                while not self.ended.is_set():
                    began = time.monotonic()
                    text = f"citizen {self.queries}"
                    answer = client.ask(f"select '{text}'")
                    assert [kind for kind, _ in answer] == [b"T", b"D", b"C", b"Z"], answer
                    assert answer[1][1][6:].decode() == text
                    self.queries += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def finish(self):
        self.ended.set()
        self.join(10)
        assert self.error is None, self.error
        assert self.queries > 0
        assert self.slowest < 5


@pytest.fixture(scope="module")
def shared(pg):
    """One dwspool for all hostile clients: what one leaves behind, the next would find."""
    from dwspool_testing.proxy import Proxy

    proxy = Proxy({
        "auth_method": "scram-sha-256", "client_login_timeout": "5s", "shutdown_timeout": "2s",
        "log": {"level": "info"},
        "defaults": {"pool_size": 4, "queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"], "user": "postgres"}},
        "databases": {"*": {}},
        "users": {"trusted": {"auth": "trust"}, "app": {"password": "x"},
                  "md5": {"password": "x", "auth": "md5"}},
    }).start()
    yield proxy
    proxy.destroy()


def open_files(proxy):
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


@pytest.fixture
def proxy(shared):
    """Checks around each test: alive, others undisturbed, no files and no memory left behind."""
    with Connection("127.0.0.1", shared.port) as warm:
        warm.log_in("trusted")
        warm.ask("select 1")
    wait_until(lambda: shared.metric("dwspool_clients") == 0, what="no client left")
    files, memory = open_files(shared), shared.rss_kib()
    citizen = Citizen(shared.port)
    citizen.start()
    wait_until(lambda: citizen.queries or citizen.error, what="the citizen's first query")
    yield shared
    citizen.finish()
    gc.collect()
    wait_until(lambda: shared.metric("dwspool_clients") == 0, what="no client left")
    # Backends may have come (pool_size 4) or gone meanwhile.
    wait_until(lambda: open_files(shared) <= files + 4, what="files closed")
    if not is_sanitized():  # a sanitizer keeps what was freed
        assert shared.rss_kib() - memory < GROWTH_KIB
    assert shared.http("/healthz")[0] == 200


def throw(port, *packets, wait=0.0, ask_first=False):
    """Sends the packets; returns what comes back until the end, or, with `wait`, until so many
    seconds pass in silence. `ask_first`: waits for an answer to the first packet."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(5)
        with contextlib.suppress(ConnectionError):
            for number, packet in enumerate(packets):
                client.sendall(packet)
                if number == 0 and ask_first:
                    answer += client.recv(65536)
            while wait == 0 or select.select([client], [], [], wait)[0]:
                data = client.recv(65536)
                if not data:
                    break
                answer += data
    return answer


def reset(client):
    """Closes a socket with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def errors_in(data):
    """The SQLSTATEs of the ErrorResponses in a stream of messages."""
    found = []
    while len(data) >= 5:
        length = struct.unpack("!I", data[1:5])[0]
        if data[:1] == b"E":
            found.append(fields(data[5:length + 1])["C"])
        data = data[length + 1:]
    return found


def test_random_bytes(proxy):
    random_ = random.Random(1)
    openings = [b"", LOGIN, SCRAM_LOGIN, SSL_REQUEST, GSSENC_REQUEST, struct.pack("!I", 100),
                struct.pack("!II", 64, 196608), LOGIN + query("select 1"),
                LOGIN + parse("", "select $1::int")]
    for _ in range(4000):
        size = random_.choice([1, 3, 4, 5, 8, 17, 64, 300, 5000])
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(random_.choice(openings) + random_.randbytes(size))
            if random_.random() < 0.2:
                reset(client)
            elif random_.random() < 0.1:
                client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    while client.recv(4096):
                        pass


def test_mutated_messages(proxy):
    """Right messages with a few bytes changed, after log-in."""
    random_ = random.Random(2)
    good = [parse("s", "select $1::int"), bind("", "s", [5]), bind("p", "", [None], [0], [1]),
            describe("S", "s"), describe("P", ""), execute(), sync(), query("select 1"),
            query("copy (select 1) to stdout"), message(b"C", b"Ss\0"), message(b"H"),
            message(b"d", b"data"), message(b"c"), message(b"f", b"no\0"),
            message(b"F", struct.pack("!IHHHi", 1598, 0, 0, 0, 0)), message(b"p", b"secret\0")]
    for _ in range(400):
        data = bytearray(b"".join(random_.choices(good, k=random_.randint(1, 6))))
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] = random_.randrange(256)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(LOGIN + bytes(data) + sync())
            if random_.random() < 0.5:
                reset(client)


OPENINGS = {"nothing": b"", "ssl": SSL_REQUEST, "scram": SCRAM_LOGIN,
            "md5": startup({"user": "md5", "database": "postgres"})}


@pytest.mark.parametrize("opening", OPENINGS)
def test_every_message_before_log_in(proxy, opening):
    for kind in range(256):
        if bytes([kind]) == b"p" and opening in ("scram", "md5"):
            continue
        packet = message(bytes([kind]), b"x" * 20)
        answer = throw(proxy.port, OPENINGS[opening], packet, ask_first=bool(OPENINGS[opening]))
        assert b"C08P01" in answer, (kind, answer)


def test_password_in_one_segment_with_the_startup_packet(proxy):
    first = b"n,,n=,r=abcdefghijklmnopqr"
    with Connection("127.0.0.1", proxy.port, timeout=1) as client:
        client.send(SCRAM_LOGIN + message(b"p", cstr("SCRAM-SHA-256") +
                                          struct.pack("!I", len(first)) + first))
        assert client.receive()[1][:4] == struct.pack("!I", 10)
        assert client.receive()[1][:4] == struct.pack("!I", 11)


@pytest.mark.parametrize("body", [b"", b"\0", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\0\0\0",
                                  b"SCRAM-SHA-256\0\xff\xff\xff\xff", b"OTHER\0\0\0\0\0",
                                  b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x",
                                  b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x",
                                  b"SCRAM-SHA-256\0\xff\xff\xff\xffn,,n=,r=xxxx",
                                  b"SCRAM-SHA-256\0\0\0\0\x0cy,,n=a,r=x\0\0", b"n" * 9000,
                                  b"SCRAM-SHA-256-PLUS\0\0\0\0\0",
                                  b"SCRAM-SHA-256\0\0\0\0\x14p=tls-unique,,n=,r=x"])
def test_bad_sasl_messages(proxy, body):
    answer = throw(proxy.port, SCRAM_LOGIN, message(b"p", body), message(b"p", body),
                   ask_first=True)
    assert errors_in(answer) in (["08P01"], ["28P01"])


def test_bad_scram_finals(proxy):
    first = b"n,,n=,r=abcdefghij"
    opening = message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first)
    for final in (b"c=biws", b"c=biws,r=wrong,p=AAAA", b"c=biws,r=,p=", b"p=", b",,,,",
                  b"\xff" * 500, b"c=biws,r=abcdefghij,p=" + b"A" * 44, b"x" * 9900):
        answer = throw(proxy.port, SCRAM_LOGIN, opening + message(b"p", final), ask_first=True)
        assert errors_in(answer) in (["08P01"], ["28P01"]), final


def test_password_before_startup(proxy):
    """CVE-2015-4054 of PgBouncer."""
    assert errors_in(throw(proxy.port, message(b"p", b"secret\0"))) == ["08P01"]
    answer = throw(proxy.port, SSL_REQUEST, message(b"p", b"secret\0"), ask_first=True)
    assert errors_in(answer[1:]) == ["08P01"]


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_before_log_in(proxy, length):
    word = struct.pack("!I", length)
    for tail in (b"", struct.pack("!I", 196608), struct.pack("!I", 196608) + b"user\0x\0\0"):
        # The packet's own length...
        answer = throw(proxy.port, word + tail, wait=0.03)
        assert len(answer) < 400
        if length < 8 or length > 10000:
            assert errors_in(answer) == ["08P01"]
    # ... and that of the password.
    answer = throw(proxy.port, SCRAM_LOGIN, b"p" + word + b"SCRAM-SHA-256\0", wait=0.03,
                   ask_first=True)
    if length < 4 or length > 10000:
        assert errors_in(answer) == ["08P01"]


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_after_log_in(proxy, length):
    word = struct.pack("!I", length)
    for kind in FRONTEND_TYPES + b"\0z":
        answer = throw(proxy.port, LOGIN + bytes([kind]) + word + b"\0" * 8, wait=0.02)
        if length < 4 or length > 0x3fffffff or bytes([kind]) in b"p\0z":
            assert errors_in(answer)[-1:] == ["08P01"] or kind == ord("X"), (kind, answer[-100:])


def test_lengths_inside_messages(proxy):
    """Counts and lengths in Parse, Bind and FunctionCall that the message does not have."""
    bad = [
        message(b"P", b"\0select 1\0" + struct.pack("!H", 0xffff)),
        message(b"P", b"name without end"), message(b"P", b""), message(b"P", b"\0\0"),
        message(b"B", b"\0\0" + struct.pack("!H", 0xffff)),
        message(b"B", b"\0\0" + struct.pack("!HHI", 0, 1, 0xffffffff)),
        message(b"B", b"\0\0" + struct.pack("!HHI", 0, 1, 0x7fffffff)),
        message(b"B", b"p"), message(b"B", b""), message(b"B", b"p\0s"),
        message(b"D", b""), message(b"D", b"S"), message(b"D", b"Sno end"), message(b"D", b"Xx\0"),
        message(b"C", b""), message(b"C", b"Xx\0"), message(b"E", b""), message(b"E", b"p\0"),
        message(b"Q", b""), message(b"Q", b"select 1"), message(b"Q", b"select 1\0select 2\0"),
        message(b"F", b""), message(b"F", struct.pack("!IHHI", 1598, 0xffff, 0xffff, 0xffffffff)),
        message(b"S", b"body"), message(b"H", b"body"), message(b"f", b"no end"),
    ]
    for packet in bad:
        throw(proxy.port, LOGIN + packet + sync() + message(b"X"))
        # The same to a client that stays.
        with Connection("127.0.0.1", proxy.port, timeout=5) as client:
            client.log_in("trusted")
            client.send(packet + sync())
            seen = client.receive()
            assert seen[0] in b"EZ123nt", (packet, seen)


def test_ten_kilobytes_at_most_before_log_in(proxy):
    fits = {"user": "trusted", "database": "postgres", "application_name": "x" * 9900}
    assert errors_in(throw(proxy.port, startup(fits), wait=0.2)) == []
    for name in ("user", "database", "application_name", "x" * 65536):
        answer = throw(proxy.port, startup({"user": "trusted", "database": "postgres",
                                            name: "y" * 65536}))
        assert errors_in(answer) == ["08P01"] or answer == b""
    for parameters in ({"user": "trusted", **{f"p{i}": "" for i in range(2000)}},
                       {"user": "trusted", "options": "-c x=" + "\\" * 65536}):
        assert errors_in(throw(proxy.port, startup(parameters))) in (["08P01"], [])


def test_bad_startup_packets(proxy):
    for body in (b"", b"\0", b"user", b"user\0", b"user\0trusted", b"user\0trusted\0",
                 b"user\0trusted\0\0\0", b"\0\0\0\0", b"user\0trusted\0database\0\0",
                 b"user\0trusted\0options\0-c =\0\0", b"user\0trusted\0options\0-c\0\0",
                 b"user\0trusted\0options\0--\0\0", b"user\0trusted\0options\0" + b"-c " * 3000 +
                 b"\0\0", b"user\0trusted\0user\0app\0\0", b"\xff" * 200 + b"\0",
                 b"user\0trusted\0;drop\0x\0\0", b"user\0tru\x01sted\n\0database\0\x7f\0\0"):
        packet = struct.pack("!II", len(body) + 8, 196608) + body
        answer = throw(proxy.port, packet, wait=0.05)
        assert answer[:1] in (b"E", b"R"), (body, answer)


def test_bytes_behind_an_encryption_request(proxy):
    """CVE-2021-3935 of PgBouncer: they would be taken for part of the encrypted session."""
    for request in (SSL_REQUEST, GSSENC_REQUEST):
        for tail in (LOGIN, b"\0", query("select 1"), request):
            answer = throw(proxy.port, request + tail)
            assert errors_in(answer) == ["08P01"], answer
        answer = throw(proxy.port, request, wait=0.05)
        assert answer == b"N"
    for request in (SSL_REQUEST, GSSENC_REQUEST):
        with Connection("127.0.0.1", proxy.port) as client:  # and each only once
            client.send(request)
            assert client.receive_bytes(1) == b"N"
            client.send(request)
            assert [fields(body)["C"] for _, body in client.until_closed()] == ["08P01"]


def test_garbage_cancel_requests(proxy):
    random_ = random.Random(3)
    for _ in range(500):
        secret = random_.randbytes(random_.choice([0, 1, 4, 4, 4, 32, 256, 257, 1000]))
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(cancel_request(random_.getrandbits(32), secret))
    answer = throw(proxy.port, cancel_request(1, b"abcd"))
    assert answer == b""


def test_slow_clients(proxies, pg):
    """A byte every so often: the log-in as a whole has its time."""
    proxy = proxies({
        "auth_method": "trust", "client_login_timeout": "400ms",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"], "user": "postgres"}},
        "databases": {"*": {}}, "users": {"*": {}},
    })
    citizen = Citizen(proxy.port)
    citizen.start()
    wait_until(lambda: citizen.queries, what="the citizen's first query")
    files = open_files(proxy)
    slow = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(50)]
    began, sent = time.monotonic(), 0
    alive = set(slow)
    while alive:
        assert time.monotonic() - began < 5
        for client in list(alive):
            try:
                client.send(LOGIN[sent % 8:sent % 8 + 1])
            except ConnectionError:
                alive.discard(client)
        ended = select.select(list(alive), [], [], 0.05)[0]
        for client in ended:
            with contextlib.suppress(ConnectionError):
                assert client.recv(1000) in (b"",) or True
            alive.discard(client)
        sent += 1
        if sent >= 8:
            sent = 4  # never a whole packet
    for client in slow:
        client.close()
    wait_until(lambda: open_files(proxy) <= files, what="files closed")
    citizen.finish()


def test_half_closed_and_silent_clients(proxy):
    kept = []
    for opening in (b"", LOGIN[:5], LOGIN, SCRAM_LOGIN, LOGIN + query("select 1"),
                    LOGIN + query("select pg_sleep(0.1)"), LOGIN + query("begin; select 1"),
                    LOGIN + query("copy (select generate_series(1, 1000000)) to stdout"),
                    LOGIN + b"Q\0\0\1"):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(opening)
        client.shutdown(socket.SHUT_WR)
        kept.append(client)
    for client in kept:
        client.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while client.recv(1 << 20):
                pass
        client.close()


PHASES = {
    "startup": LOGIN[:20],
    "scram": SCRAM_LOGIN,
    "scram half": SCRAM_LOGIN + b"p\0\0\1\0half",
    "query half": LOGIN + b"Q\0\0\1\0select",
    "large query half": LOGIN + b"Q\0\x30\0\0select '" + b"x" * 200000,
    "parse half": LOGIN + b"P\0\0\1\0",
    "large bind half": LOGIN + parse("", "select $1::text") + b"B\0\x30\0\0\0\0\0\0\0\1\0\x2f\0\0" +
    b"x" * 200000,
    "no sync": LOGIN + parse("", "select 1") + bind("", "") + execute(),
    "in a query": LOGIN + query("select pg_sleep(0.2)"),
    "in a result": LOGIN + query("select repeat('x', 1000) from generate_series(1, 20000)"),
    "in a transaction": LOGIN + query("begin; create temp table t(i int)"),
    "in copy": LOGIN + query("copy pg_temp.x from stdin"),
    "in copy data": LOGIN + query("create temp table c(t text)") + query("copy c from stdin") +
    b"d\0\x30\0\0" + b"x" * 100000,
    "in pipeline": LOGIN + (parse("", "select 1") + bind("", "") + execute() + sync()) * 200,
}


@pytest.mark.parametrize("phase", PHASES)
def test_reset_in_every_phase(proxy, phase):
    for turn in range(12):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(PHASES[phase])
        if turn % 3 == 1:
            with contextlib.suppress(ConnectionError, TimeoutError):
                client.settimeout(0.05)
                client.recv(100)
        if turn % 3 == 2:
            client.close()
        else:
            reset(client)


def test_does_not_read_its_answers(proxy):
    """Clients that ask for much and take nothing: their backends wait, dwspool keeps little."""
    greedy = []
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(LOGIN + query("select repeat('x', 10000) from generate_series(1, 100000)"))
        greedy.append(client)
    before = proxy.metric("dwspool_backend_received_bytes_total")
    wait_until(lambda: proxy.metric("dwspool_backend_received_bytes_total") > before,
               what="rows from the server")
    # One backend is left for the citizen. Some of the answer is on its way, most is not.
    time.sleep(0.2)
    assert proxy.metric("dwspool_backend_received_bytes_total") < 100 << 20
    for client in greedy:
        reset(client)


def test_many_requests_and_no_reading(proxy):
    """A pipeline without end from a client that reads nothing: it is stopped, not stored."""
    client = socket.create_connection(("127.0.0.1", proxy.port))
    client.sendall(LOGIN)
    client.setblocking(False)
    data = (parse("", "select repeat('x', 1000)") + bind("", "") + execute() + sync()) * 500
    sent, stalled = 0, 0
    while stalled < 20 and sent < 256 << 20:
        try:
            sent += client.send(data[sent % len(data):])
            stalled = 0
        except BlockingIOError:
            stalled += not select.select([], [client], [], 0.02)[1]
    assert sent < 64 << 20
    reset(client)


def test_connections_without_end(proxy):
    """A thousand connections that come and go at once."""
    for _ in range(10):
        clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(100)]
        for number, client in enumerate(clients):
            if number % 2:
                client.sendall(LOGIN)
            if number % 3:
                reset(client)
            else:
                client.close()


@contextlib.contextmanager
def stopped(proxy):
    """dwspool does not run meanwhile: what happens is there all at once when it does again."""
    os.kill(proxy.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(proxy.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("front", [
    query("select '" + "x" * 2000000 + "'")[:-100],
    parse("", "select $1::text") + bind("", "", ["x" * 1000])[:-100],
    query("create table if not exists half(t text)") + query("copy half from stdin") +
    message(b"d", b"x" * 30000)[:-100],
], ids=["query", "bind", "copy"])
def test_client_gone_in_the_middle_of_a_message(trusting, front):
    proxy = trusting("transaction", defaults={"pool_size": 1, "queue_timeout": "2s"})
    with Connection("127.0.0.1", proxy.port) as client:
        client.log_in()
        client.send(front)
        wait_until(lambda: proxy.metric("dwspool_backend_sent_bytes_total") >= len(front) * 0.9,
                   what="passed on")
    with Connection("127.0.0.1", proxy.port) as client:
        client.log_in()
        assert [kind for kind, _ in client.ask("select 1")] == [b"T", b"D", b"C", b"Z"]


def test_copy_that_fails_in_the_middle_of_a_message(trusting):
    """The error comes while the client still sends: the backend is free once all of it is here."""
    proxy = trusting("transaction", defaults={"pool_size": 1, "queue_timeout": "2s"})
    with Connection("127.0.0.1", proxy.port, 5) as client, \
            Connection("127.0.0.1", proxy.port, 5) as other:
        client.log_in()
        other.log_in()
        client.ask("create table if not exists numbers(i int)")
        client.send(query("copy numbers from stdin"))
        client.receive()
        data = message(b"d", b"no number\n" + b"1\n" * 30000)
        client.send(data[:1000])
        # The server sees a whole line only with the rest of the message, or more of it.
        client.send(data[1000:] + data[:20000])
        answer = client.until_ready()
        assert fields(answer[0][1])["C"] == "22P02"
        client.send(data[20000:] + message(b"c"))
        assert [kind for kind, _ in other.ask("select 1")] == [b"T", b"D", b"C", b"Z"]
        assert [kind for kind, _ in client.ask("select 1")] == [b"T", b"D", b"C", b"Z"]


def test_bytes_and_reset_at_once_from_a_client(trusting):
    proxy = trusting("auto", shutdown_timeout="1s")
    client = Connection("127.0.0.1", proxy.port)
    client.log_in()
    with stopped(proxy):
        client.send(query("select 1")[:-3])
        reset(client.socket)
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, timeout=3, what="no client left")


def test_bytes_and_reset_at_once_from_a_server(proxies):
    """A server that is killed in the middle of an answer: its client would wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = proxies({
            "auth_method": "trust", "shutdown_timeout": "1s", "defaults": {"queue_timeout": "2s"},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{listener.getsockname()[1]}"],
                                  "tls": {"mode": "disable"}}},
            "databases": {"*": {}}, "users": {"*": {}},
        })
        client = Connection("127.0.0.1", proxy.port, timeout=4)
        client.send(startup({"user": "u", "database": "d"}))
        server, _ = listener.accept()
        server.recv(1000)
        server.sendall(message(b"R", b"\0" * 4) + message(b"K", b"\0\0\0\1abcd") +
                       message(b"Z", b"I"))
        client.until_ready()
        client.send(query("select 1"))
        server.recv(1000)
        with stopped(proxy):
            server.sendall(message(b"D", b"\0\0")[:-1])
            reset(server)
        answer = client.until_ready()
        assert [kind for kind, _ in answer] == [b"E", b"Z"]
        client.close()
