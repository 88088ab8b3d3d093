"""Messages of protocol 3 as GaussDB writes them."""

import struct
import zlib

# The module that an error names; only tests of what dwspool does not look at care.
MODULES = {"08": "POOLER", "57": "POSTMASTER", "28": "SECURITY", "YY": "COMM"}


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def query(sql):
    return message(b"Q", cstr(sql))


def error_body(severity, code, text, detail=None, hint=None, severity_text=None):
    """Order and letters are GaussDB's: an internal number in c, a module in d, no V."""
    body = b"S" + cstr(severity_text or severity)
    body += b"c" + cstr(str(zlib.crc32(code.encode()) % 9000 + 1000))
    body += b"M" + cstr(text) + b"C" + cstr(code)
    body += b"d" + cstr(MODULES.get(code[:2], "EXECUTOR"))
    if detail:
        body += b"D" + cstr(detail)
    if hint:
        body += b"H" + cstr(hint)
    return body + b"\0"


def error(severity, code, text, **more):
    return message(b"E", error_body(severity, code, text, **more))


def notice(severity, code, text, **more):
    return message(b"N", error_body(severity, code, text, **more))


def fields(body):
    """{letter: bytes} of an ErrorResponse or NoticeResponse."""
    return {chr(part[0]): part[1:] for part in body.split(b"\0") if part}


def as_gauss(body):
    """PostgreSQL's error or notice with the fields that GaussDB would send."""
    found = fields(body)
    code = found.get("C", b"XX000").decode()
    out = b"S" + found.get("S", b"ERROR") + b"\0"
    out += b"c" + cstr(str(zlib.crc32(code.encode()) % 9000 + 1000))
    out += b"M" + found.get("M", b"") + b"\0C" + code.encode() + b"\0"
    out += b"d" + cstr(MODULES.get(code[:2], "EXECUTOR"))
    for letter in "DHWPpq":
        if letter in found:
            out += letter.encode() + found[letter] + b"\0"
    return out + b"\0"


class Frames:
    """Messages off a stream: all complete ones of each read."""

    def __init__(self, reader):
        self.reader = reader
        self.buffer = b""

    async def first(self, limit=10000):
        """The body of a packet without a type, as all are before the log-in."""
        while len(self.buffer) < 4:
            await self._more()
        length = struct.unpack("!I", self.buffer[:4])[0]
        if not 8 <= length <= limit + 4:
            raise ValueError("invalid length of startup packet")
        while len(self.buffer) < length:
            await self._more()
        packet, self.buffer = self.buffer[4:length], self.buffer[length:]
        return packet

    async def one(self):
        """(type, body)"""
        while True:
            if len(self.buffer) >= 5:
                end = struct.unpack("!I", self.buffer[1:5])[0] + 1
                if len(self.buffer) >= end:
                    found = self.buffer[:1], self.buffer[5:end]
                    self.buffer = self.buffer[end:]
                    return found
            await self._more()

    async def some(self):
        """At least one message: [(type, start, end)] and the bytes that these are places in."""
        while True:
            found = []
            data, at = self.buffer, 0
            while len(data) - at >= 5:
                end = at + 1 + struct.unpack_from("!I", data, at + 1)[0]
                if end > len(data):
                    break
                found.append((data[at:at + 1], at, end))
                at = end
            if found:
                self.buffer = data[at:]
                return found, data
            await self._more()

    async def _more(self):
        chunk = await self.reader.read(262144)
        if not chunk:
            raise EOFError
        self.buffer += chunk
