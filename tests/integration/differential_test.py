"""The same conversation, straight to PostgreSQL and through dwspool, must give the same messages,
byte for byte. Only process ids and keys are set aside (and the OIDs of tables that a script makes
itself)."""

import struct

import pytest
from differential_corpus import MASK_OIDS, PREFIX, SETUP, scripts
from dwspool_testing.wire import Connection

SCRIPTS = scripts()
FIRST_USER_OID = 16384


def mask_row_description(body):
    """Zeroes the OIDs of tables that users made."""
    count = struct.unpack("!H", body[:2])[0]
    out, at = body[:2], 2
    for _ in range(count):
        end = body.index(b"\0", at) + 1
        oid = struct.unpack("!I", body[end:end + 4])[0]
        shown = b"\0\0\0\0" if oid >= FIRST_USER_OID else body[end:end + 4]
        out += body[at:end] + shown + body[end + 4:end + 18]
        at = end + 18
    return out


def normalise(messages, mask):
    shown = []
    for kind, body in messages:
        if kind == b"K":
            continue
        if kind == b"A":  # NotificationResponse begins with a process id
            body = body[4:]
        if kind == b"T" and mask:
            body = mask_row_description(body)
        shown.append((kind, body))
    return shown


def play(host, port, steps, mask):
    """Everything that the server side says, step by step."""
    with Connection(host, port) as connection:
        heard = [normalise(connection.log_in(application_name="differ"), mask)]
        connection.send(PREFIX)
        connection.until_ready()
        for data, ready in steps:
            connection.send(data)
            heard.append(normalise(connection.until_ready(ready), mask) if ready else [])
        return heard


@pytest.fixture(scope="module")
def reference(pg):
    """What PostgreSQL itself answers, once per script. Scripts leave the tables as they were."""
    pg.psql(SETUP)
    known = {}

    def ask(name):
        if name not in known:
            known[name] = play("127.0.0.1", pg.port, SCRIPTS[name], name in MASK_OIDS)
        return known[name]

    return ask


@pytest.fixture(scope="module")
def through(pg):
    """One dwspool per pool mode, for the whole module."""
    from dwspool_testing.proxy import Proxy

    running = {}

    def get(mode):
        if mode not in running:
            running[mode] = Proxy({
                "auth_method": "trust",
                "defaults": {"pool_mode": mode, "pool_size": 3},
                "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
                "databases": {"*": {}}, "users": {"*": {}},
            }).start()
        return running[mode]

    yield get
    for proxy in running.values():
        proxy.destroy()


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_messages(name, mode, reference, through):
    expected = reference(name)
    actual = play("127.0.0.1", through(mode).port, SCRIPTS[name], name in MASK_OIDS)
    for step, (want, got) in enumerate(zip(expected, actual)):
        sent = b"the log-in" if step == 0 else SCRIPTS[name][step - 1][0]
        assert got == want, f"after {sent[:200]!r}"


def test_the_corpus_is_not_trivial(reference):
    """Several hundred statements, and every kind of message a server has for a client."""
    kinds = set()
    messages = 0
    for name in SCRIPTS:
        for step in reference(name):
            messages += len(step)
            kinds |= {kind for kind, _ in step}
    statements = sum(data.count(b"Q\0") + data.count(b"P\0") for s in SCRIPTS.values() for data, _ in s)
    assert statements > 400, statements
    assert messages > 1500
    assert kinds >= {b"R", b"S", b"Z", b"T", b"D", b"C", b"E", b"N", b"I", b"G", b"H", b"d", b"c",
                     b"1", b"2", b"3", b"t", b"n", b"s", b"V", b"A"}
