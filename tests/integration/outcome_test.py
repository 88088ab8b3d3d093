"""The connection between dwspool and the server breaks at every frame of a transaction, and in
every frame. What the client is told must agree with the table, and with doc/errors.md."""

import itertools
import time

import psycopg2
import pytest
from dwspool_testing.proxy import Proxy
from dwspool_testing.relay import TO_CLIENT, TO_SERVER, Relay
from dwspool_testing.wire import (Closed, Connection, bind, describe, execute, fields, parse, query,
                                  sync)

CUTS = (("reset", 0), ("reset", None), ("reset", 3), ("fin", None))
numbers = itertools.count(1)
DIRECTIONS = (TO_SERVER, TO_CLIENT)


def extended(sql, name="", described=True):
    return (parse(name, sql) + bind("", name) + (describe("P", "") if described else b"")
            + execute())


# Each step is sent at once, and answered before the next.
SCRIPTS = {
    "simple": lambda sql: [query("begin"), query(sql), query("commit")],
    "extended": lambda sql: [extended("begin") + sync(), extended(sql) + sync(),
                             extended("commit") + sync()],
    "named": lambda sql: [query("begin"), extended(sql, "named") + sync(),
                          extended("commit", "the commit") + sync()],
    "two writes": lambda sql: [query("begin"), query(sql), query("select 1"), query("end")],
    "pipelined": lambda sql: [extended("begin", described=False) + extended(sql)
                              + extended("commit", described=False) + sync()],
    "text": lambda sql: [query(f"begin; {sql}; commit")],
    "simple statement": lambda sql: [query(sql)],
    "extended statement": lambda sql: [extended(sql) + sync()],
}


@pytest.fixture(scope="module", params=["session", "transaction", "auto"])
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def place(pg, mode):
    """A dwspool with one backend, the relay between it and the server, and a look at the table."""
    pg.psql("create table if not exists outcomes(id int)")
    observer = psycopg2.connect(host="127.0.0.1", port=pg.port, user="postgres")
    observer.autocommit = True
    with Relay(pg.port) as relay, Proxy({
            "auth_method": "trust",
            "defaults": {"pool_mode": mode, "pool_size": 1},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{relay.port}"]}},
            "databases": {"*": {}},
            "users": {"*": {}}}) as proxy:
        yield Place(mode, relay, proxy, observer)
    observer.close()


class Place:
    def __init__(self, mode, relay, proxy, observer):
        self.mode = mode
        self.relay = relay
        self.proxy = proxy
        self.observer = observer

    def value(self, sql, *values):
        with self.observer.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()[0]

    def rows(self, number):
        return self.value("select count(*) from outcomes where id = %s", number)

    def wait_gone(self, pid):
        deadline = time.time() + 10
        while self.value("select count(*) from pg_stat_activity where pid = %s", pid):
            assert time.time() < deadline, "the backend does not end"

    def client(self):
        """A client, and the pid of the only backend."""
        client = Connection("127.0.0.1", self.proxy.port, timeout=10)
        client.log_in()
        return client, int(client.ask("select pg_backend_pid()")[1][1][6:])


class Fate:
    """What a client was told: `code` of the error, or None if all was acknowledged."""

    def __init__(self):
        self.code = None
        self.status = b"I"
        self.tags = []
        self.broken_step = None  # the one under way when the fault came
        self.last_step_broke = False
        self.last_step_failed = False


def run(client, steps, rule):
    """The steps, up to the first error."""
    fate = Fate()
    for number, step in enumerate(steps):
        fired = rule.fired
        client.send(step)
        for kind, body in client.until_ready():
            if kind == b"E":
                fate.code = fields(body)["C"]
                fate.last_step_failed = number == len(steps) - 1
            elif kind == b"C":
                fate.tags.append(body[:-1].decode())
            elif kind == b"Z":
                fate.status = body
        if rule.fired > fired:
            fate.broken_step = number
            fate.last_step_broke = number == len(steps) - 1
        if fate.code:
            break
        if rule.fired > fired:
            time.sleep(0.02)  # until dwspool has seen it
    return fate


def check(place, client, pid, number, fate, script):
    """Told and true; then whether the session lives on as it should."""
    place.wait_gone(pid)
    rows = place.rows(number)
    in_doubt = "08007"
    if fate.code is None:
        assert rows == 1
    elif fate.last_step_broke:
        assert fate.code == in_doubt and rows in (0, 1) and fate.status == b"I"
    else:
        assert fate.code == ("57P01" if place.mode == "session" else "08006") and rows == 0
        # A COMMIT that was not sent any more may end the transaction, too; and a BEGIN that failed
        # has begun none.
        assert fate.status == b"E" or fate.last_step_failed or fate.broken_step == 0
    if place.mode == "session":
        client.send(query("select 1") + query("select 1"))
        seen = client.until_closed()
        assert {fields(body)["C"] for kind, body in seen if kind == b"E"} == {"57P01"}
        return
    if fate.status == b"E":
        refused = client.ask("select 1")
        assert fields(refused[0][1])["C"] == "25P02" and refused[-1] == (b"Z", b"E")
        assert client.ask("rollback") == [(b"C", b"ROLLBACK\0"), (b"Z", b"I")]
    seen = client.ask("select pg_backend_pid()")
    assert seen[-1] == (b"Z", b"I") and int(seen[1][1][6:]) != pid
    assert place.rows(number) == rows


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_lost_at_every_frame(place, script, direction):
    """Before the frame, in the middle of its header, behind it."""
    fates = {}
    frames = {}
    for action, after in CUTS if script in ("simple", "extended") else CUTS[:2]:
        for frame in itertools.count(1):
            number = next(numbers)
            client, pid = place.client()
            with client:
                rule = place.relay.rule(action, None, direction, n=frame, after=after)
                try:
                    fate = run(client, SCRIPTS[script](f"insert into outcomes values ({number})"),
                               rule)
                    if not rule.fired:
                        assert fate.code is None and place.rows(number) == 1
                        break
                    frames[frame] = rule.where[0][1]
                    fates[action, after, frame] = fate.code
                    check(place, client, pid, number, fate, script)
                except BaseException:
                    print(f"{rule}: {rule.where} {fate.__dict__}\n{fates}")
                    raise
                finally:
                    place.relay.clear()
    assert "08007" in fates.values() and frames
    assert set(frames.values()) <= set("PBEDCSQ" if direction == TO_SERVER else "123DTnCZ")


def test_a_begin_alone_is_not_in_doubt(place):
    client, _ = place.client()
    with client:
        place.relay.rule("reset", "C", TO_CLIENT, after=0)
        client.send(extended("begin") + sync())
        seen = client.until_ready()
        codes = [fields(body)["C"] for kind, body in seen if kind == b"E"]
        if place.mode == "session":
            assert codes == ["57P01"]
        else:  # begun anew, on another backend
            assert codes == [] and seen[-1] == (b"Z", b"T")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_client_is_lost_at_every_frame(place, script):
    """The backend then serves somebody else, or ends: nothing of the transaction stays open, and
    nothing is there twice."""
    with Relay(place.proxy.port) as front:
        for after in (0, None):
            for frame in itertools.count(1):
                number = next(numbers)
                with Connection("127.0.0.1", front.port, timeout=10) as client:
                    client.log_in()
                    client.ask("select 1")
                    rule = front.rule("reset", None, TO_SERVER, n=frame, after=after)
                    acknowledged = False
                    try:
                        run(client, SCRIPTS[script](f"insert into outcomes values ({number})"),
                            rule)
                        acknowledged = True
                    except (Closed, ConnectionResetError):
                        pass
                    finally:
                        front.clear()
                if not rule.fired:
                    break
                # The pool has one backend: whoever gets it now comes behind all that.
                client, _ = place.client()
                with client:
                    assert client.ask("select 1")[-1] == (b"Z", b"I")
                    rows = place.rows(number)
                    assert rows == 1 if acknowledged else rows in (0, 1)
                assert place.rows(number) == rows
