"""The decision table (doc/replay.md), cell by cell: each script of replay_scripts.py, the backend
lost at every frame of it, or a coordinator that refuses every statement of it. The client is told
what the table says, sees the same results as without a fault, and its rows are there exactly once
or not at all.

DWSPOOL_TEST_FULL=1: every kind of loss at every frame, instead of one kind after the other.
"""

import itertools
import os
import time

import psycopg2
import pytest
from dwspool_testing.proxy import Proxy
from dwspool_testing.relay import TO_CLIENT, TO_SERVER, Relay
from dwspool_testing.wire import Connection, fields
from fake_cn import MD5, FakeCn, Role
from replay_scripts import DOUBT, MASKED, MISMATCH, SETUP, scripts

FULL = os.environ.get("DWSPOOL_TEST_FULL") == "1"
CUTS = [("reset", 0), ("fin", None), ("reset", 3), ("fin", 0), ("reset", None), ("fin", -1)]
NAMES = list(scripts(0))
numbers = itertools.count(1_000_000)  # all of the same length


class Place:
    """A dwspool with one backend, the relay before the server, and a look at the table."""

    def __init__(self, pg, port, proxy, relay=None):
        self.proxy = proxy
        self.relay = relay
        self.port = port
        self.observer = psycopg2.connect(host="127.0.0.1", port=pg.port, user="postgres")
        self.observer.autocommit = True
        self.turn = 0

    def rows(self, number):
        with self.observer.cursor() as cursor:
            cursor.execute("select count(*) from cells where id = %s", (number,))
            return cursor.fetchone()[0]

    def client(self):
        """A client; its backend is there."""
        client = Connection("127.0.0.1", self.proxy.port, timeout=15)
        client.log_in("dbadmin")
        assert client.ask("select 1")[-1] == (b"Z", b"I")
        return client


def proxy_before(port):
    return Proxy({
        "auth_method": "trust",
        "shutdown_timeout": "100ms",
        # One backend: what a lost one has left behind would show.
        "defaults": {"pool_size": 1, "replay_deadline": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{port}"]}},
        "databases": {"*": {}},
        "users": {"dbadmin": {"backend_password": "Gauss@123"}}})


@pytest.fixture(scope="module")
def server(pg):
    pg.psql(SETUP)
    pg.psql("drop role if exists dbadmin; create role dbadmin superuser login")
    return pg


@pytest.fixture(scope="module")
def lossy(server):
    with Relay(server.port) as relay, proxy_before(relay.port) as proxy:
        yield Place(server, relay.port, proxy, relay)


@pytest.fixture(scope="module")
def refusing(server):
    cn = FakeCn(("127.0.0.1", server.port), [Role("dbadmin", "Gauss@123", MD5)])
    try:
        with proxy_before(cn.port) as proxy:
            place = Place(server, cn.port, proxy)
            place.cn = cn
            yield place
    finally:
        cn.close()


class Fate:
    """What a client was told: `code` of the error that ended it, and `seen`, by steps."""

    def __init__(self):
        self.code = None
        self.status = b"I"
        self.seen = []
        self.broken = None  # the step that was under way when the fault came


def same(kind, body, number):
    """A message, as it is to be the same in every run."""
    if kind == b"E":
        body = fields(body)["C"].encode()
    return kind, body.replace(str(number).encode(), b"number")


def play(client, script, number, rule=None, reference=None):
    """The steps, up to an error that the script does not have by itself."""
    fate = Fate()
    for place, step in enumerate(script.steps):
        fired = rule.fired if rule else 0
        client.send(step.data)
        answer = client.until_ready()
        fate.seen.append([same(kind, body, number) for kind, body in answer if kind != b"N"])
        fate.status = answer[-1][1]
        if rule and rule.fired > fired:
            fate.broken = place
        errors = [fields(body)["C"] for kind, body in answer if kind == b"E"]
        if errors and (reference is None or fate.seen[place] != reference[place]):
            fate.code = errors[0]
            if reference is not None:
                break
        if rule and rule.fired > fired:
            time.sleep(0.01)  # until dwspool has seen it
    return fate


def volatile(script):
    """Steps that never answer the same."""
    return {place for place, step in enumerate(script.steps)
            if b"nextval" in step.data or b"clock_timestamp()\0" in step.data}


def differences(script, fate, reference):
    return [(place, seen, reference[place]) for place, seen in enumerate(fate.seen)
            if place not in volatile(script) and seen != reference[place]]


def end(client, script, fate):
    """The session goes on, whatever it was told."""
    if script.bound:
        return
    if fate.status == b"E":
        refused = client.ask("select 1")
        assert fields(refused[0][1])["C"] == "25P02"
        assert client.ask("rollback")[-1] == (b"Z", b"I")
    elif fate.status == b"T":
        client.ask("rollback")
    assert client.ask("select 2")[1] == (b"D", b"\0\1\0\0\0\1" + b"2")


def check(place, number, script, fate, allowed, reference):
    """What was told is one of what is allowed, and true; returns the rows there may be."""
    assert fate.code in allowed, f"{fate.code}, not {allowed}"
    if fate.code is MASKED:
        assert differences(script, fate, reference) == []
        assert place.rows(number) == script.rows
        return {script.rows}
    assert not differences(script, Told(fate), reference)
    if fate.code == DOUBT:
        return {0, script.rows}
    return {0}


class Told:
    """Without the last step, which is the one with the error."""

    def __init__(self, fate):
        self.seen = fate.seen[:-1]


def reference_of(place, name):
    number = next(numbers)
    script = scripts(number)[name]
    with place.client() as client:
        fate = play(client, script, number)
        assert fate.status == b"I"
    assert place.rows(number) == script.rows
    return fate.seen


def allowed_when_lost(script, broken, rule):
    """The table's cell, for a loss while this step was under way."""
    lost = script.steps[broken].lost
    allowed = {lost}
    kind, after = rule.where[0][1], rule.after
    if rule.direction == TO_CLIENT and kind == "Z" and after is None:
        # All of the answer came through: what counts is the next step, if there is one. A COMMIT
        # may be on its way before dwspool knows of the loss.
        following = script.steps[broken + 1].lost if broken + 1 < len(script.steps) else MASKED
        return {MASKED, following} | ({MISMATCH} if volatile(script) else set())
    if broken in volatile(script) and rule.direction == TO_CLIENT and lost is MASKED:
        allowed.add(MISMATCH)  # a part of it was seen
    if lost == DOUBT and rule.direction == TO_CLIENT and kind == "C":
        allowed.add(MASKED)  # CommandComplete came through, in a protocol in which that says it
    return allowed


def frames():
    """All of them, but of many rows only some."""
    number = 1
    while True:
        yield number
        number += 1 if FULL or number < 15 else number // 2


@pytest.mark.parametrize("name", NAMES)
def test_lost_at_every_frame(lossy, name):
    place = lossy
    reference = reference_of(place, name)
    possible = {}
    outcomes = {}
    for direction in (TO_SERVER, TO_CLIENT):
        for frame in frames():
            place.turn += 1
            cuts = CUTS if FULL else [CUTS[place.turn % len(CUTS)]]
            fired = 0
            for action, after in cuts:
                number = next(numbers)
                script = scripts(number)[name]
                with place.client() as client:
                    rule = place.relay.rule(action, None, direction, n=frame, after=after)
                    fate = None
                    try:
                        fate = play(client, script, number, rule, reference)
                        place.relay.clear()
                        fired += rule.fired
                        if not rule.fired or fate.broken is None:
                            allowed = {MASKED}
                        else:
                            allowed = allowed_when_lost(script, fate.broken, rule)
                        possible[number] = check(place, number, script, fate, allowed, reference)
                        end(client, script, fate)
                    except BaseException:
                        print(f"{name}: {rule} {rule.where} {fate and fate.__dict__}")
                        print(f"before that: {outcomes}")
                        raise
                    finally:
                        place.relay.clear()
                outcomes[direction, frame, action, after] = fate.code
            if not fired:
                break
    assert len(outcomes) > 3
    for number, counts in possible.items():
        assert place.rows(number) in counts, number  # later is as good as never


@pytest.mark.parametrize("name", NAMES)
def test_refused_at_every_statement(refusing, name):
    """As a coordinator does it when it gets no connection to a datanode."""
    place = refusing
    reference = reference_of(place, name)
    possible = {}
    for skip in itertools.count():
        number = next(numbers)
        script = scripts(number)[name]
        with place.client() as client:
            fault = place.cn.fail_next(match=r"\A(?!\s*(begin|start)\b)", skip=skip)
            try:
                fate = play(client, script, number, None, reference)
                place.cn.heal()
                if not fault.hits:
                    break
                allowed = {script.refused.get(skip, MASKED)}
                possible[number] = check(place, number, script, fate, allowed, reference)
                end(client, script, fate)
            except BaseException:
                print(f"{name}: statement {skip}: {fate.__dict__}")
                raise
            finally:
                place.cn.heal()
    assert possible
    for number, counts in possible.items():
        assert place.rows(number) in counts, number
