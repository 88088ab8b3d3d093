"""The log-in from the server's side: start-up packets, TLS, and who has to answer what."""

import asyncio
import dataclasses
import hmac
import os
import socket
import struct
import subprocess
import tempfile

from . import verifiers
from .frames import Frames, error, message
from .verifiers import COMBINED, LEGACY, MD5, SHA256, SM3, TRUST, Role

PROTOCOLS = (196608, 196658, 196659)
CANCEL, SSL, STOP = 80877102, 80877103, 80877105
MAINTENANCE_NAMES = {"gs_ctl", "cm_agent", "gs_clean", "OM", "gs_roach", "gs_redis", "WDRXdb",
                     "gs_rewind", "remote_read", "autonomoustransaction", "local_hadr_walrcv"}


class Refused(Exception):
    """Ends the connection with this error."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code
        self.text = text


class Cancelled(Exception):
    """The connection was a CancelRequest, and has been served."""


def certificate():
    """(certificate, key): self-signed and for no host name, as DWS's are; made anew each time."""
    folder = tempfile.mkdtemp(prefix="fake-cn-tls-")
    cert, key = os.path.join(folder, "server.crt"), os.path.join(folder, "server.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=fake coordinator", "-keyout", key, "-out", cert],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


@dataclasses.dataclass
class Challenge:
    """An authentication request, and which answers are right."""
    code: int
    payload: bytes = b""
    check: object = lambda answer: False

    def request(self):
        return message(b"R", struct.pack("!I", self.code) + self.payload)


def sha256_payload(keys, token, minor, method=2):
    """Code 10 and 13: what comes after the token depends on the protocol."""
    payload = struct.pack("!I", method) + keys.salt.encode() + token.encode()
    if minor < 50:
        return payload + keys.signature(token).encode()
    return payload if minor == 50 else payload + struct.pack("!I", keys.iterations)


def challenge_for(role, name, hba, minor, token, salt):
    """What this server asks of the role (None: there is no such role)."""
    kind = role.kind if role else None
    keys = role.keys if role else None
    mock = verifiers.mock_keys(name)

    def md5():
        return Challenge(5, salt, lambda answer: bool(role) and hmac.compare_digest(
            answer, verifiers.md5_answer(role.md5, salt)))

    def sha256(known=True):
        use = keys if known else mock
        return Challenge(10, sha256_payload(use, token, minor),
                         lambda answer: known and use.accepts(answer, token))

    if hba == TRUST or kind == TRUST:
        return Challenge(0)
    if (hba == SM3) != (kind == SM3) or hba == SM3:
        if hba == SM3 and kind == SM3:
            return Challenge(13, sha256_payload(keys, token, minor, 3),
                             lambda answer: keys.accepts(answer, token, "sm3"))
        return Challenge(13, sha256_payload(mock, token, minor, 3))
    if kind == MD5 or (kind == COMBINED and (hba == MD5 or minor < 50)):
        return md5()
    if kind == LEGACY:
        return Challenge(10, struct.pack("!I", 1) + salt, lambda answer: hmac.compare_digest(
            answer, verifiers.legacy_answer(role.md5, salt)))
    if hba == MD5:
        if kind == SHA256:
            return Challenge(11, keys.salt.encode() + salt, lambda answer: hmac.compare_digest(
                answer, verifiers.md5_sha256_answer(keys, salt)))
        return md5() if minor < 50 else Challenge(11, mock.salt.encode() + salt)
    if kind in (SHA256, COMBINED):
        return sha256()
    return md5() if minor < 50 else sha256(known=False)


class Login:
    """One connection up to the point where PostgreSQL is asked."""

    def __init__(self, cn, reader, writer):
        self.cn = cn
        self.frames = Frames(reader)
        self.writer = writer
        self.encrypted = False
        self.version = None
        self.parameters = {}
        self.role = None

    def error(self, code, text):
        """Where threads are pooled, nothing of the start-up is FATAL."""
        return error(self.cn.startup_severity, code, text)

    async def run(self):
        self.parameters = await self.startup_packet()
        self.role = await self.authenticate(self.parameters["user"])

    async def startup_packet(self):
        while True:
            packet = await self.frames.first()
            code = struct.unpack("!I", packet[:4])[0]
            if code == CANCEL and len(packet) == 12:
                await self.cn.cancel(*struct.unpack("!II", packet[4:]))
                raise Cancelled
            if code == SSL and not self.encrypted:
                if self.frames.buffer:
                    raise Refused("08P01", "received unencrypted data after SSL request")
                await self.answer_ssl()
                continue
            if code not in PROTOCOLS:
                raise Refused("0A000",
                              f"unsupported frontend protocol {code >> 16}.{code & 0xffff}: "
                              "server supports 1.0 to 3.51")
            self.version = code
            return self.read_parameters(packet[4:])

    async def answer_ssl(self):
        if self.cn.tls is None:
            self.writer.write(b"N")
            await self.writer.drain()
            return
        self.writer.write(b"S")
        await self.writer.drain()
        await self.writer.start_tls(self.cn.tls, ssl_handshake_timeout=10)
        self.encrypted = True
        self.cn.counts["tls"] += 1

    @staticmethod
    def read_parameters(body):
        if not body.endswith(b"\0\0") and body != b"\0":
            raise Refused("08P01", "invalid startup packet layout: expected terminator as last byte")
        parts = [part.decode("utf-8", "replace") for part in body[:-2].split(b"\0")]
        found = dict(zip(parts[::2], parts[1::2]))
        if not found.get("user"):
            raise Refused("28000", "no PostgreSQL user name specified in startup packet")
        found.setdefault("database", found["user"])
        if any(name.startswith("_pq_.") for name in found):
            raise Refused("42704", "unrecognized configuration parameter \"_pq_.\"")
        if found.get("application_name") in MAINTENANCE_NAMES:
            raise Refused("28000", "Forbid remote connection via internal maintenance tools.")
        if "default_transaction_read_only" in found or \
                "default_transaction_read_only" in found.get("options", ""):
            raise Refused("0A000", "default_transaction_read_only cannot be set in a session.")
        return found

    async def authenticate(self, name):
        cn = self.cn
        if cn.refusing:
            raise Refused(*cn.refusing)
        if cn.require_ssl and not self.encrypted:
            raise Refused("57P03", "SSL connection is required by the database system")
        role = cn.roles.get(name)
        if role is None and cn.hba == TRUST:
            return Role(name, kind=TRUST)
        if role and role.locked:
            cn.counts["locked"] += 1
            raise Refused("28000", "The account has been locked.")
        if role and role.kind != TRUST and not (role.keys or role.md5):
            raise Refused("28000", "Invalid username/password,login denied.")
        challenge = challenge_for(role, name, cn.hba, self.version & 0xffff, cn.new_token().hex(),
                                  cn.new_token())
        if challenge.code == 0:
            return role or Role(name, kind=TRUST)
        cn.counts[f"challenge {challenge.code}"] += 1
        self.writer.write(challenge.request())
        await self.writer.drain()
        # Whoever leaves here has not been wrong: only an answer counts.
        kind, body = await asyncio.wait_for(self.frames.one(), cn.authentication_timeout)
        if kind != b"p" or len(body) > 16384:
            raise Refused("08P01", f"expected password response, got message type {kind[0]}")
        right = body.endswith(b"\0") and bool(challenge.check(body[:-1]))
        if role:
            role.attempts += 1
            role.failures = 0 if right else role.failures + 1
            role.wrong += not right
            limit = cn.failed_login_attempts
            role.locked = bool(limit) and role.failures >= limit
        cn.counts["logins" if right else "wrong passwords"] += 1
        if not right:
            raise Refused("28P01", "Invalid username/password,login denied.")
        if not role.is_valid:
            raise Refused("28000", "The account is not within the period of validity.")
        return role


def no_delay(writer):
    """Nagle's algorithm would make a lock-step protocol take 40 ms a turn."""
    end = writer.get_extra_info("socket")
    if end is not None and end.family in (socket.AF_INET, socket.AF_INET6):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
