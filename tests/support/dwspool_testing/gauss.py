"""GaussDB's log-in by hand, from the client's side."""

import hashlib
import hmac
import struct

from .wire import Connection, message, startup

V30, V350, V351 = 196608, 196658, 196659


def sha256_answer(password, salt, token, iterations, digest="sha256"):
    """The answer to code 10 (code 13: with sm3), without its NUL."""
    raw = password.encode() if isinstance(password, str) else password
    base = hashlib.pbkdf2_hmac("sha1", raw, bytes.fromhex(salt), iterations, 32)
    client_key = hmac.new(base, b"Client Key", "sha256").digest()
    stored_key = hashlib.new(digest, client_key).digest()
    signature = hmac.new(stored_key, bytes.fromhex(token), "sha256").digest()
    return bytes(a ^ b for a, b in zip(client_key, signature)).hex().encode()


class GaussConnection(Connection):
    """A client that knows GaussDB's requests. `request` is (code, payload) of what came."""

    request = None

    def knock(self, user, version=V351, database="postgres", **parameters):
        """Sends the start-up packet; the first message that comes back."""
        self.user, self.version = user, version
        self.send(startup(dict(user=user, database=database, **parameters), version))
        kind, body = self.receive()
        if kind == b"R":
            self.request = struct.unpack("!I", body[:4])[0], body[4:]
        return kind, body

    def answer_for(self, password, iterations=None):
        """The right answer to the request."""
        code, payload = self.request
        raw = password.encode() if isinstance(password, str) else password
        if code == 5:
            inner = hashlib.md5(raw + self.user.encode()).hexdigest().encode()
            return b"md5" + hashlib.md5(inner + payload).hexdigest().encode()
        if self.version == V351:
            iterations = struct.unpack("!I", payload[76:80])[0]
        return sha256_answer(password, payload[4:68].decode(), payload[68:76].decode(), iterations,
                             "sm3" if code == 13 else "sha256")

    def enter(self, user, password=None, version=V351, database="postgres", iterations=None,
              answer=None, **parameters):
        """The whole log-in; all messages behind the request. `answer` goes instead of the right
        one."""
        first = self.knock(user, version, database, **parameters)
        seen = [first]
        if self.request and self.request[0] != 0:
            self.send(message(b"p", (answer or self.answer_for(password, iterations)) + b"\0"))
            seen = []
        if first[0] == b"E":
            return seen
        while not seen or seen[-1][0] not in (b"Z", b"E"):
            seen.append(self.receive())
            kind, body = seen[-1]
            if kind == b"S":
                name, value = body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == b"K":
                self.pid, self.secret = struct.unpack("!I", body[:4])[0], body[4:]
        return seen
