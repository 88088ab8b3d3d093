"""The frontend/backend protocol by hand: for tests that must say exactly what goes over the wire,
and see exactly what comes back."""

import hashlib
import hmac
import base64
import os
import socket
import struct


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def cstr(text) -> bytes:
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup(parameters, version=196608) -> bytes:
    body = struct.pack("!I", version)
    for name, value in parameters.items():
        body += cstr(name) + cstr(value)
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def query(sql) -> bytes:
    return message(b"Q", cstr(sql))


def parse(name, sql, types=()) -> bytes:
    body = cstr(name) + cstr(sql) + struct.pack("!H", len(types))
    for oid in types:
        body += struct.pack("!I", oid)
    return message(b"P", body)


def bind(portal, statement, values=(), formats=(), result_formats=()) -> bytes:
    body = cstr(portal) + cstr(statement) + struct.pack("!H", len(formats))
    for code in formats:
        body += struct.pack("!H", code)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!I", len(value)) + value
    body += struct.pack("!H", len(result_formats))
    for code in result_formats:
        body += struct.pack("!H", code)
    return message(b"B", body)


def describe(kind, name) -> bytes:
    return message(b"D", kind.encode() + cstr(name))


def execute(portal="", limit=0) -> bytes:
    return message(b"E", cstr(portal) + struct.pack("!I", limit))


def close(kind, name) -> bytes:
    return message(b"C", kind.encode() + cstr(name))


def sync() -> bytes:
    return message(b"S")


def flush() -> bytes:
    return message(b"H")


def terminate() -> bytes:
    return message(b"X")


def cancel_request(pid, secret) -> bytes:
    return struct.pack("!II", 12 + len(secret), 80877102) + struct.pack("!I", pid) + secret


SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


def fields(body: bytes) -> dict:
    """The fields of an ErrorResponse or NoticeResponse."""
    found = {}
    for part in body.split(b"\0"):
        if part:
            found[chr(part[0])] = part[1:].decode("utf-8", "replace")
    return found


class Closed(Exception):
    """The other side has ended the connection."""


class Connection:
    """A client. Every message received is a pair (type, body)."""

    def __init__(self, host, port, timeout=20):
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.create_connection((host, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        self.buffer = b""
        self.parameters = {}
        self.pid = None
        self.secret = None

    def send(self, data: bytes):
        self.socket.sendall(data)

    def receive_bytes(self, count) -> bytes:
        while len(self.buffer) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise Closed()
            self.buffer += chunk
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self):
        kind = self.receive_bytes(1)
        length = struct.unpack("!I", self.receive_bytes(4))[0]
        return kind, self.receive_bytes(length - 4)

    def until_ready(self, answers=1):
        """All messages up to and including the n-th ReadyForQuery."""
        seen = []
        while answers:
            seen.append(self.receive())
            if seen[-1][0] == b"Z":
                answers -= 1
        return seen

    def until_closed(self):
        """All messages up to the end of the connection."""
        seen = []
        try:
            while True:
                seen.append(self.receive())
        except (Closed, ConnectionResetError):
            return seen

    def log_in(self, user="postgres", database="postgres", password=None, version=196608,
               **parameters):
        """Returns all messages of the log-in."""
        self.send(startup(dict(user=user, database=database, **parameters), version))
        seen = []
        scram = None
        while True:
            kind, body = self.receive()
            seen.append((kind, body))
            if kind == b"R":
                code = struct.unpack("!I", body[:4])[0]
                if code == 5:
                    inner = hashlib.md5((password + user).encode()).hexdigest().encode()
                    answer = b"md5" + hashlib.md5(inner + body[4:8]).hexdigest().encode()
                    self.send(message(b"p", answer + b"\0"))
                elif code == 3:
                    self.send(message(b"p", cstr(password)))
                elif code == 10:
                    scram = Scram(password)
                    first = scram.first()
                    self.send(message(b"p", cstr("SCRAM-SHA-256") +
                                      struct.pack("!I", len(first)) + first))
                elif code == 11:
                    self.send(message(b"p", scram.final(body[4:])))
                elif code == 12:
                    scram.check(body[4:])
            elif kind == b"S":
                name, value = body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == b"K":
                self.pid, self.secret = struct.unpack("!I", body[:4])[0], body[4:]
            elif kind == b"E":
                return seen
            elif kind == b"Z":
                return seen

    def ask(self, sql):
        """One simple query; all messages of its answer."""
        self.send(query(sql))
        return self.until_ready()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Scram:
    """The client's side of SCRAM-SHA-256."""

    def __init__(self, password):
        self.password = password
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self) -> bytes:
        self.first_bare = f"n=,r={self.nonce}"
        return f"n,,{self.first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        text = server_first.decode()
        values = dict(part.split("=", 1) for part in text.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(),
                                     base64.b64decode(values["s"]), int(values["i"]))
        client_key = hmac.new(salted, b"Client Key", "sha256").digest()
        stored_key = hashlib.sha256(client_key).digest()
        server_key = hmac.new(salted, b"Server Key", "sha256").digest()
        without_proof = f"c=biws,r={values['r']}"
        auth = f"{self.first_bare},{text},{without_proof}".encode()
        signature = hmac.new(stored_key, auth, "sha256").digest()
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = base64.b64encode(hmac.new(server_key, auth, "sha256").digest())
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final: bytes):
        assert server_final == b"v=" + self.expected, "the server does not know the password"
