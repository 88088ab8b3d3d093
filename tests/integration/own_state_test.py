"""Many more clients than backends, each with a session state of its own that changes at random:
whatever a client asks, it finds its own state and nobody else's.

DWSPOOL_STATE_SECONDS: how long (15 by default).
"""

import os
import random
import threading
import time

import psycopg
import psycopg2
import pytest
from dwspool_testing.bouncer import PgBouncer

SECONDS = float(os.environ.get("DWSPOOL_STATE_SECONDS", "15"))
SCHEMAS = ["state_a", "state_b", "state_c", '"state D"']
ROLES = ["state_red", "state_green", "state_blue"]
ZONES = ["UTC", "Asia/Shanghai", "Europe/Rome", "America/New_York"]
START = {"path": '"$user", public', "zone": "UTC", "role": "postgres", "own": None}
PROBE = """select %s, current_setting('search_path'), current_setting('timezone'), current_user,
                  nullif(current_setting('app.own', true), ''), """


@pytest.fixture(scope="module")
def world(pg):
    """Schemas that look alike, and roles that may read them."""
    pg.psql("".join(
        f"create schema {schema}; create table {schema}.who as select '{schema}'::text as v; "
        f"grant usage on schema {schema} to public; grant select on {schema}.who to public; "
        for schema in SCHEMAS) + "".join(f"create role {role}; " for role in ROLES))
    yield
    pg.psql("".join(f"drop schema {schema} cascade; " for schema in SCHEMAS)
            + "".join(f"drop role {role}; " for role in ROLES))


class Client:
    """What it believes, and what it does to that."""

    def __init__(self, number, dsn):
        self.random = random.Random(number)
        self.name = f"client {number}"
        self.modern = number % 2 == 1  # psycopg 3: prepared statements of the protocol
        self.dsn = dsn
        self.probes = 0
        self.begin()

    def begin(self):
        self.connection = (psycopg if self.modern else psycopg2).connect(self.dsn)
        self.connection.autocommit = True
        self.state = dict(START)

    def ask(self, sql, values=None):
        if self.modern:
            cursor = self.connection.execute(sql, values, prepare=self.random.random() < 0.7)
            return cursor.fetchone() if cursor.description else None
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone() if cursor.description else None

    def probe(self):
        """The state, and a row that only the right search_path finds."""
        self.probes += 1
        mark = f"{self.name} probe {self.probes}"
        schema = self.state["path"]
        who = f"(select v from {'' if schema in SCHEMAS else SCHEMAS[0] + '.'}who)"
        found = self.ask(PROBE + who, (mark,))
        expected = (mark, schema, self.state["zone"], self.state["role"], self.state["own"],
                    schema if schema in SCHEMAS else SCHEMAS[0])
        if tuple(found) != expected:
            raise AssertionError(f"{found} instead of {expected}")

    def set(self, what, value):
        if what == "path":
            way = self.random.choice((
                f"set search_path to {value}",
                "select set_config('search_path', '" + value + "', false)"))
        elif what == "zone":
            way = self.random.choice((f"set timezone to '{value}'", f"set time zone '{value}'"))
        elif what == "role":
            way = "reset role" if value == "postgres" else f"set role {value}"
        else:
            way = f"set app.own to '{value}'"
        self.ask(way)
        self.state[what] = value

    def change(self):
        what = self.random.choice(("path", "zone", "role", "own"))
        value = self.random.choice({
            "path": SCHEMAS, "zone": ZONES, "role": ROLES + ["postgres"],
            "own": [f"{self.name} {self.random.random()}"]}[what])
        if self.random.random() < 0.3:  # in a transaction, which is taken back half of the time
            before = dict(self.state)
            self.ask("begin")
            self.set(what, value)
            self.probe()
            if self.random.random() < 0.5:
                self.ask("commit")
            else:
                self.ask("rollback")
                self.state = before
        else:
            self.set(what, value)

    def bind(self):
        """State that cannot be carried, and its end."""
        if self.random.random() < 0.5:
            self.ask("reset role")
            self.ask(f"create temp table mine as select '{self.name}'::text as v")
        else:
            self.ask(f"prepare mine as select '{self.name}'::text")
        for _ in range(3):
            try:
                found, = self.ask("select v from mine")
            except (psycopg.errors.UndefinedTable, psycopg2.errors.UndefinedTable):
                found, = self.ask("execute mine")
            assert found == self.name, f"{found} instead of {self.name}"
        if self.modern:  # it would not notice that its prepared statements are gone
            self.connection.close()
            self.begin()
        else:
            self.ask("discard all")
            self.state = dict(START)

    def live(self, until, failures):
        try:
            while time.monotonic() < until and not failures:
                lot = self.random.random()
                if lot < 0.02:
                    self.bind()
                elif lot < 0.35:
                    self.change()
                self.probe()
                time.sleep(self.random.random() * 0.02)
        except Exception as error:  # noqa: BLE001
            failures.append(f"{self.name}: {type(error).__name__} {error}")


def live(dsn, count, seconds):
    """What went wrong, and how often the state was looked at."""
    failures = []
    clients = [Client(number, dsn) for number in range(count)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client.live, args=(until, failures)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    for client in clients:
        client.connection.close()
    return failures, sum(client.probes for client in clients)


def test_every_session_its_own_state(trusting, world, capsys):
    proxy = trusting("auto", defaults={"pool_size": 4, "queue_timeout": "30s"})
    failures, probes = live(proxy.dsn(), 200, SECONDS)
    assert not failures
    given = proxy.metric("dwspool_backend_assignments_total")
    with capsys.disabled():
        print(f"\n200 clients over 4 backends, {SECONDS:g} s: {probes} probes, "
              f"{given:.0f} times a backend was given, "
              f"{proxy.metric('dwspool_session_pins_total'):.0f} pins")
    assert probes > 200 * 5 and given > probes / 2


def test_a_pooler_that_shares_without_looking_is_found_out(pg, world):
    with PgBouncer(pg, pool_mode="transaction", default_pool_size=4) as bouncer:
        failures, _ = live(bouncer.dsn(), 40, min(SECONDS, 5))
    assert failures
