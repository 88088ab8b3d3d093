"""Proxies that do what a proxy must never do. They exist to see that the checker notices."""

import socket
import struct
import threading
import time

READY = b"Z"
WRITES = (b"insert", b"update")


def _exactly(end, count):
    data = b""
    while len(data) < count:
        part = end.recv(count - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


def frame(end):
    head = _exactly(end, 5)
    return head + _exactly(end, struct.unpack("!I", head[1:])[0] - 4)


def until_ready(end):
    answer = []
    while not answer or answer[-1][:1] != READY:
        answer.append(frame(end))
    return answer


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def done(tag, status):
    return [message(b"C", tag + b"\0"), message(READY, status)]


def error(state, text, status):
    return [message(b"E", b"SERROR\0C" + state + b"\0M" + text + b"\0\0"), message(READY, status)]


class Link:
    """One client and its server connection. Simple queries only, one after the other."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        head = _exactly(client, 4)
        self.startup = head + _exactly(client, struct.unpack("!I", head)[0] - 4)
        self.server = None
        self.status = b"I"
        self.said = self.connect()

    def connect(self):
        """A new server connection; returns what the server said at log-in."""
        if self.server is not None:
            self.server.close()
        self.server = socket.create_connection(("127.0.0.1", self.proxy.target), timeout=20)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.sendall(self.startup)
        return until_ready(self.server)

    def ask(self, query):
        self.server.sendall(query)
        return until_ready(self.server)

    def run(self):
        self.client.sendall(b"".join(self.said))
        while True:
            query = frame(self.client)
            if query[:1] == b"X":
                return
            answer = self.proxy.handle(self, query, query[5:-1].strip().lower())
            self.status = answer[-1][5:6]
            self.client.sendall(b"".join(answer))

    def close(self):
        self.client.close()
        if self.server is not None:
            self.server.close()


class Unsafe:
    """Before the server at `target`. Every `every`-th chance is taken."""

    def __init__(self, target, every=10):
        self.target = target
        self.every = every
        self.chances = 0
        self.taken = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        link = None
        try:
            link = Link(self, client)
            link.run()
        except OSError:
            pass
        finally:
            if link is not None:
                link.close()
            client.close()

    def take(self):
        with self.lock:
            self.chances += 1
            taken = self.chances % self.every == 0
            self.taken += taken
            return taken

    def handle(self, link, query, sql):
        """The answer to a query; the safe one here."""
        return link.ask(query)


class SendsTwice(Unsafe):
    """The connection breaks before the answer has come, and the statement is sent again."""

    def handle(self, link, query, sql):
        answer = link.ask(query)
        if link.status == b"I" and sql.startswith(WRITES) and self.take():
            link.connect()
            answer = link.ask(query)
        return answer


class SendsCommitAgain(Unsafe):
    """COMMIT is sent again on a new connection, where there is nothing to commit."""

    def handle(self, link, query, sql):
        if sql == b"commit" and self.take():
            link.connect()
        return link.ask(query)


class AcknowledgesEarly(Unsafe):
    """Says that it is committed, then asks the server, and loses the connection."""

    def handle(self, link, query, sql):
        if sql == b"commit" and link.status == b"T" and self.take():
            link.connect()
            return done(b"COMMIT", b"I")
        return link.ask(query)


class AcknowledgesTheTag(Unsafe):
    """Takes CommandComplete for the acknowledgement: what is refused at COMMIT counts as done."""

    def handle(self, link, query, sql):
        answer = link.ask(query)
        if sql == b"commit" and answer[0][:1] == b"E" and self.take():
            return done(b"COMMIT", b"I")
        return answer


class Swallows(Unsafe):
    """A write in a transaction never reaches the server."""

    def handle(self, link, query, sql):
        if link.status == b"T" and sql.startswith(b"insert") and self.take():
            return done(b"INSERT 0 1", b"T")
        return link.ask(query)


class DeniesACommit(Unsafe):
    """Committed, but the client is told that it is not."""

    def handle(self, link, query, sql):
        answer = link.ask(query)
        if sql == b"commit" and answer[0][:1] == b"C" and self.take():
            return error(b"08006", b"the transaction was lost", b"I")
        return answer


class LosesTheTransaction(Unsafe):
    """The connection breaks in a transaction, and the rest of it goes on on another: outside of
    any."""

    def handle(self, link, query, sql):
        if link.status == b"T" and sql.startswith(WRITES) and self.take():
            link.connect()
            answer = link.ask(query)
            return [*answer[:-1], message(READY, b"T")]
        return link.ask(query)


class Swaps(Unsafe):
    """Two clients read at the same time, and each gets the answer of the other."""

    def __init__(self, target, every=2):
        super().__init__(target, every)
        self.waiting = None

    def handle(self, link, query, sql):
        answer = link.ask(query)
        if not sql.startswith(b"select") or b"application_name" not in sql:
            return answer
        with self.lock:
            other, self.waiting = self.waiting, None
            if other is None:
                mine = self.waiting = [answer, threading.Event(), None]
            else:
                other[2] = answer
                other[1].set()
                self.taken += 1
                return [*other[0][:-1], answer[-1]]
        if mine[1].wait(0.3):
            return [*mine[2][:-1], answer[-1]]
        with self.lock:
            if self.waiting is mine:
                self.waiting = None
        return [*mine[2][:-1], answer[-1]] if mine[2] else answer


class ReadsThePast(Unsafe):
    """Sends reads to a place that is behind: here the answer of a second ago, with its own rows."""

    def __init__(self, target, every=3):
        super().__init__(target, every)
        self.answers = {}

    def handle(self, link, query, sql):
        if not sql.startswith(b"select value from ledger_counters"):
            return link.ask(query)
        moment, answer = self.answers.get(sql, (None, None))
        now = time.monotonic()
        if moment is not None and now - moment > 1 and self.take():
            del self.answers[sql]
            return [*answer[:-1], message(READY, link.status)]
        answer = link.ask(query)
        if answer[0][:1] != b"E":
            self.answers.setdefault(sql, (now, answer))
        return answer


class SharesATransaction(Unsafe):
    """A client that has one open finds itself on the connection of another."""

    def __init__(self, target, every=10):
        super().__init__(target, every)
        self.open = []

    def handle(self, link, query, sql):
        if link.status == b"I" and sql.startswith(b"insert") and self.take():
            link.ask(message(b"Q", b"begin\0"))  # somebody else's, who then rolls back
            answer = link.ask(query)
            link.ask(message(b"Q", b"rollback\0"))
            return [*answer[:-1], message(READY, b"I")]
        return link.ask(query)


# What each is caught by, one of these kinds at least.
VARIANTS = {
    SendsTwice: {"duplicate"},
    SendsCommitAgain: {"lost"},
    AcknowledgesEarly: {"lost"},
    AcknowledgesTheTag: {"lost"},
    Swallows: {"lost"},
    DeniesACommit: {"undead"},
    LosesTheTransaction: {"undead", "torn", "lost", "balance", "sum"},
    Swaps: {"foreign"},
    ReadsThePast: {"stale"},
    SharesATransaction: {"lost"},
}
