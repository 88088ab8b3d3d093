"""What a GaussDB server keeps of a password, and how it checks an answer.

Written from doc/gaussdb-protocol.md and independently of dwspool's own code, so that the two are
held against each other, and both against the vectors in tests/data.
"""

import dataclasses
import datetime
import hashlib
import hmac

SHA256, COMBINED, MD5, SM3, TRUST = "sha256", "combined", "md5", "sm3", "trust"
LEGACY = "md5_legacy"  # MD5, asked for as old servers do: code 10, method 1
KINDS = (SHA256, COMBINED, MD5, LEGACY, SM3, TRUST)

SUFFIX = "ecdfdcefade"


def hmac256(key, text):
    return hmac.new(key, text, "sha256").digest()


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def iteration_suffix(iterations):
    """The number as it hides at the end of rolpassword."""
    digits = f"{iterations:011d}"[::-1]
    return "".join(chr(ord(base) + int(digit)) for base, digit in zip(SUFFIX, digits))


def read_iterations(suffix):
    return int("".join(str(ord(char) - ord(base)) for char, base in zip(suffix, SUFFIX))[::-1])


@dataclasses.dataclass(frozen=True)
class Keys:
    """What the server knows; not enough to log in with."""
    salt: str
    iterations: int
    server_key: bytes
    stored_key: bytes

    def signature(self, token):
        """How a server of protocol 3.0 proves that it knows the password."""
        return hmac256(self.server_key, bytes.fromhex(token)).hex()

    def accepts(self, answer, token, digest="sha256"):
        """Whether these bytes (without their NUL) answer the token."""
        # A to F are mis-decoded by the real server, so an answer with them is a wrong one.
        if len(answer) != 64 or any(byte not in b"0123456789abcdef" for byte in answer):
            return False
        proof = bytes.fromhex(answer.decode())
        client_key = xor(hmac256(self.stored_key, bytes.fromhex(token)), proof)
        return hmac.compare_digest(hashlib.new(digest, client_key).digest(), self.stored_key)

    def stored(self, prefix="sha256", md5=""):
        return (f"{prefix}{self.salt}{self.server_key.hex()}{self.stored_key.hex()}{md5}"
                f"{iteration_suffix(self.iterations)}")


def derive(password, salt, iterations, digest="sha256"):
    base = hashlib.pbkdf2_hmac("sha1", password, bytes.fromhex(salt), iterations, 32)
    client_key = hmac256(base, b"Client Key")
    label = b"Server Key" if digest == "sm3" else b"Sever Key"
    return Keys(salt, iterations, hmac256(base, label), hashlib.new(digest, client_key).digest())


def read_stored(rolpassword):
    """(kind, Keys or None, md5 or None) of what pg_authid holds."""
    if rolpassword.startswith("md5"):
        return MD5, None, rolpassword
    prefix = "sm3" if rolpassword.startswith("sm3") else "sha256"
    rest = rolpassword[len(prefix):]
    keys = Keys(rest[:64], read_iterations(rest[-11:]), bytes.fromhex(rest[64:128]),
                bytes.fromhex(rest[128:192]))
    if prefix == "sm3":
        return SM3, keys, None
    return (COMBINED, keys, rest[192:-11]) if len(rest) > 203 else (SHA256, keys, None)


def stored_md5(password, user):
    return "md5" + hashlib.md5(password + user.encode()).hexdigest()


def md5_answer(stored, salt):
    """The right answer to code 5."""
    return ("md5" + hashlib.md5(stored[3:].encode() + salt).hexdigest()).encode()


def legacy_answer(stored, salt):
    """The right answer to code 10 with method 1."""
    return ("sha256" + hashlib.sha256(stored[3:].encode() + salt).hexdigest()).encode()


def md5_sha256_answer(keys, salt):
    """What a current server compares the answer to code 11 with. It hashes the hidden number of
    iterations, too, which no client does: nobody gets in."""
    return ("md5" + hashlib.md5(keys.stored()[6:].encode() + salt).hexdigest()).encode()


@dataclasses.dataclass
class Role:
    """A role of the fake coordinator. `pg_user` is who it is in PostgreSQL."""
    name: str
    password: str | bytes | None = None
    kind: str = SHA256
    iterations: int = 10000
    salt: str | None = None
    pg_user: str | None = None
    expired: bool = False         # 28P02 on every statement but the ALTER ROLE that mends it
    valid_begin: datetime.datetime | None = None  # VALID BEGIN and UNTIL, with their time zone
    valid_until: datetime.datetime | None = None
    login_notice: str | None = None
    keys: Keys | None = None
    md5: str | None = None
    failures: int = 0             # in a row; a success begins anew
    attempts: int = 0             # answers that were checked, ever
    wrong: int = 0                # of these, wrong ones
    locked: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: no such kind of password: {self.kind}")
        if self.kind != TRUST:
            self.set_password(self.password)

    def set_password(self, password):
        self.password = password
        self.keys = self.md5 = None
        if password is None:
            return
        raw = password.encode() if isinstance(password, str) else password
        if self.kind in (SHA256, COMBINED, SM3):
            salt = self.salt or hashlib.sha256(b"salt of " + self.name.encode() + raw).hexdigest()
            self.keys = derive(raw, salt, self.iterations, "sm3" if self.kind == SM3 else SHA256)
        if self.kind in (MD5, LEGACY, COMBINED):
            self.md5 = stored_md5(raw, self.name)

    @property
    def is_valid(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        return ((self.valid_begin is None or self.valid_begin <= now)
                and (self.valid_until is None or self.valid_until >= now))

    @property
    def rolpassword(self):
        if self.kind == TRUST:
            return None
        if self.kind == SM3:
            return self.keys.stored("sm3")
        return self.keys.stored(md5=self.md5 or "") if self.keys else self.md5


def mock_keys(name):
    """For a role that does not exist: always the same for a name, and plausible."""
    def digest(what):
        return hashlib.sha256(f"{what} of nobody called {name}".encode()).digest()

    return Keys(digest("salt").hex(), 10000, digest("server key"), digest("stored key"))
