"""The failure that psycopg2 applications have on DWS: a datanode changes over, the coordinator
says 08006 on a connection that lives, and its own statement retry does not help, since the driver
has begun a transaction. Through dwspool it costs time and nothing else.

DWSPOOL_TEST_OUTAGE: how long the datanode is away, in seconds (2).
"""

import os
import threading
import time

import psycopg2
import psycopg2.errors
import pytest
from cancel_test import send_cancel
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, fields, query
from fake_cn import MD5, Role
from replay_programs import PASSWORD, PROGRAMS, USER, Runner

OUTAGE = float(os.environ.get("DWSPOOL_TEST_OUTAGE", "2"))
POOLER = "pooler: failed to create 1 connections"


@pytest.fixture
def cn(fake):
    """A coordinator that stock psycopg2 can log in to."""
    return fake(Role(USER, PASSWORD, MD5, pg_user="postgres"))


@pytest.fixture
def before(cn, proxies):
    """A dwspool before it."""

    def start(console=None, **defaults):
        return proxies({
            "console": console or {},
            "auth_method": "trust",
            "shutdown_timeout": "100ms",
            "defaults": {"pool_size": 20, **defaults},
            "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}"]}},
            "databases": {"*": {}},
            "users": {USER: {"password": PASSWORD}},
        })

    return start


@pytest.fixture
def table(pg):
    pg.psql("drop table if exists seed; create table seed(v int)")
    return "seed"


def connect(port, autocommit=False, database="postgres"):
    connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD,
                                  dbname=database)
    connection.autocommit = autocommit
    return connection


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def numbers(pg, table):
    text = pg.psql(f"select v from {table} order by v")
    return [int(line) for line in text.split()]


# --- Programs in a loop --------------------------------------------------------------------------


def storm(pg, cn, port, prefix):
    """All programs at once, and the datanode away in the middle of it."""
    tables = {program: f"{prefix}_{program.__name__.lower()}" for program in PROGRAMS}
    for name in tables.values():
        pg.psql(f"drop table if exists {name}; create table {name}(v int)")
    runners = [Runner(program, port, tables[program]) for program in PROGRAMS]
    wait_until(lambda: all(runner.rounds > 2 or runner.error for runner in runners), 20)
    cn.switchover(seconds=OUTAGE, doom=False, commit="pass")
    time.sleep(OUTAGE)
    rounds = {runner: runner.rounds for runner in runners}
    wait_until(lambda: all(runner.rounds > rounds[runner] + 1 or runner.error
                           for runner in runners), OUTAGE + 15)
    for runner in runners:
        runner.stop(20)
        print(f"{prefix} {runner.name}: {runner.rounds} rounds, the longest {runner.longest:.2f} s"
              f"; {runner.error!r}")
    return runners, tables


def test_directly_every_program_has_the_error(pg, cn):
    runners, _ = storm(pg, cn, cn.port, "directly")
    for runner in runners:
        # psycopg 3 has no class of that name's meaning in psycopg2; the code is the same.
        code = getattr(runner.error, "pgcode", None) or getattr(runner.error, "sqlstate", None)
        assert code == "08006" or isinstance(runner.error, psycopg2.errors.ConnectionFailure), \
            f"{runner.name}: {runner.error!r}"
        assert POOLER in str(runner.error)


def test_through_dwspool_no_program_notices(pg, cn, before):
    proxy = before()
    runners, tables = storm(pg, cn, proxy.port, "pooled")
    for runner in runners:
        assert runner.error is None, f"{runner.name}: {runner.error!r}"
        assert numbers(pg, tables[type(runner.program)]) == runner.program.rows(runner.rounds)
        # The pause before the last attempt is the only time that is lost besides.
        assert OUTAGE / 2 < runner.longest < OUTAGE * 1.5 + 3, runner.name
        runner.program.close()
    assert cn.counts["refused 08006"] >= len(runners)


# --- One transaction, and a failure in a place of its own -----------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("statement", range(4))
def test_a_transaction_that_is_lost_at_any_statement(pg, cn, before, table, statement, lang):
    """The coordinator's session has lost its datanode, with what it had written there: whichever
    statement comes next is refused, and all is run again."""
    connection = connect(before().port)
    for number in range(4):
        if number == statement:
            cn.switchover(seconds=0.15, lang=lang)
        if number == 2:
            assert run(connection, "select sum(v) from seed") == [(1,)]
        else:
            assert run(connection, "insert into seed values (%s) returning v", (number,)) == [
                (number,)]
    connection.commit()
    assert numbers(pg, table) == [0, 1, 3]
    assert cn.counts["refused 08006"] >= 1
    assert cn.said("select sum") and len(cn.said("insert into seed values .3.")) >= 1


def test_other_results_than_before_are_a_serialization_failure(pg, cn, before, table):
    """The application has seen a row that is gone when its transaction is run again."""
    pg.psql("insert into seed values (7)")
    connection = connect(before().port)
    assert run(connection, "select v from seed") == [(7,)]
    pg.psql("update seed set v = 8")
    cn.switchover(seconds=0.15)
    with pytest.raises(psycopg2.errors.SerializationFailure):
        run(connection, "insert into seed values (1)")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(connection, "select 1")
    connection.rollback()
    assert run(connection, "select v from seed") == [(8,)]


@pytest.mark.parametrize("fate", ["lost", "done"])
@pytest.mark.parametrize("autocommit", [False, True])
def test_a_commit_that_is_refused_is_unknown(pg, cn, before, table, autocommit, fate):
    """Lost, or done and reported as an error all the same: nobody can tell these apart."""
    connection = connect(before().port, autocommit)
    if autocommit:
        cn.fail_next(match="insert into seed", code="08000", commit=fate,
                     text="Failed to COMMIT the transaction on nodes: dn_6003_6004.")
    else:
        run(connection, "insert into seed values (1)")
        cn.switchover(seconds=0.3, doom=False, commit=fate)
    with pytest.raises(psycopg2.OperationalError) as caught:
        if autocommit:
            run(connection, "insert into seed values (1)")
        else:
            connection.commit()
    assert caught.value.pgcode == "08007"
    assert "COMMIT" in caught.value.diag.message_detail
    assert connection.closed == 0
    connection.rollback()
    assert numbers(pg, table) == ([1] if fate == "done" else [])
    time.sleep(0.3)
    run(connection, "insert into seed values (2)")
    connection.commit()
    assert numbers(pg, table) == ([1, 2] if fate == "done" else [2])


# --- Where it is not wanted ----------------------------------------------------------------------


OFF = {
    "configured": ({"replay": "off"}, None, "insert into seed values (1)"),
    "in the session": ({}, "set dwspool.replay = off", "insert into seed values (1)"),
    "in the statement": ({}, None, "insert /*+ noreplay */ into seed values (1)"),
}


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("way", OFF)
def test_off(pg, cn, before, table, way, autocommit):
    defaults, first, insert = OFF[way]
    connection = connect(before(**defaults).port, autocommit)
    if first:
        run(connection, first)
        if not autocommit:
            connection.commit()
    cn.switchover()
    began = time.monotonic()
    with pytest.raises(psycopg2.errors.ConnectionFailure, match=POOLER):
        run(connection, insert)
    assert time.monotonic() - began < 1
    assert cn.counts["refused 08006"] == 1
    connection.rollback()
    cn.heal()
    run(connection, insert)
    connection.commit()
    assert numbers(pg, table) == [1]


def test_level_statement_replays_no_transaction(cn, before, table):
    connection = connect(before(replay="statement").port)
    run(connection, "insert into seed values (1)")
    cn.switchover(seconds=0.2)
    with pytest.raises(psycopg2.errors.ConnectionFailure):
        run(connection, "insert into seed values (2)")
    connection.rollback()
    run(connection, "insert into seed values (3)")  # the first statement of one is replayed
    connection.commit()
    assert run(connection, "select v from seed") == [(3,)]


# --- When it takes too long ----------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [False, True])
def test_deadline(pg, cn, before, table, autocommit):
    """One error, by the time that was set, and the session goes on."""
    connection = connect(before(replay_deadline="700ms").port, autocommit)
    cn.switchover()
    began = time.monotonic()
    with pytest.raises(psycopg2.errors.ConnectionFailure) as caught:
        run(connection, "insert into seed values (1)")
    assert 0.5 < time.monotonic() - began < 2.5
    assert POOLER in caught.value.diag.message_detail
    assert cn.counts["refused 08006"] >= 2
    if not autocommit:
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            run(connection, "select 1")
    connection.rollback()
    cn.heal()
    run(connection, "insert into seed values (2)")
    connection.commit()
    assert numbers(pg, table) == [2]


@pytest.mark.parametrize("begin", [False, True])
def test_cancel_while_it_waits(pg, cn, before, table, begin):
    proxy = before()
    with Connection("127.0.0.1", proxy.port) as client:
        client.log_in(USER, password=PASSWORD)
        if begin:
            client.ask("begin")
            client.ask("insert into seed values (1)")
        cn.switchover()
        client.send(query("insert into seed values (2)"))
        wait_until(lambda: cn.counts["refused 08006"] >= 2)
        threading.Thread(target=send_cancel,
                         args=(proxy.port, client.pid, client.secret)).start()
        seen = client.until_ready()
        assert [kind for kind, _ in seen] == [b"E", b"Z"]
        assert fields(seen[0][1])["C"] == "57014"
        assert seen[1][1] == (b"E" if begin else b"I")
        client.ask("rollback")
        cn.heal()
        assert client.ask("insert into seed values (3)")[-1] == (b"Z", b"I")
    assert numbers(pg, table) == [3]

