"""What binds a session to its backend in `auto`, and what takes that back: seen from outside, by
whether the backend is free while the client idles."""

import psycopg2
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import wait_until

SETUP = """
    create sequence if not exists pin_sequence;
    create or replace function pin_function() returns int language sql as 'select 1';
    do $$ begin create role pin_role; exception when duplicate_object then null; end $$;
"""
# reason, what binds, what takes it back (besides DISCARD ALL and the end of the connection)
PINS = [
    ("temporary_object", "create temp table pinned(i int)", "drop table pinned"),
    ("temporary_object", "select 1 as i into temp pinned", "begin; drop table pinned; commit"),
    ("advisory_lock", "select pg_advisory_lock(4321)", "select pg_advisory_unlock_all()"),
    ("advisory_lock", "select pg_try_advisory_lock_shared(1, 2)",
     "select pg_advisory_unlock_shared(1, 2)"),
    ("held_cursor", "begin; declare c cursor with hold for select 1; commit", "close all"),
    ("held_cursor", "begin; declare c cursor with hold for select 1; commit", "close c"),
    ("listens", "listen pinned", "unlisten *"),
    ("listens", "listen pinned", "unlisten pinned"),
    ("loads_module", "load 'auto_explain'", None),
    ("prepares", "prepare pinned as select 1; select 2", "deallocate all"),
    ("prepares", "do $$ begin execute 'prepare pinned as select 1'; end $$", "deallocate pinned"),
    ("sequence_state", "select nextval('pin_sequence')", None),
    ("changes_setting", "do $$ begin perform set_config('work_mem', '5MB', false); end $$", None),
    ("configured", "select pin_function()", None),
]
FREE = [
    "set search_path to public", "set time zone 'UTC'", "set role pin_role; reset role",
    "select set_config('work_mem', '5MB', false)", "set local work_mem to '5MB'",
    "begin; select pg_advisory_xact_lock(4321); commit", "begin; declare c cursor for select 1; end",
    "create table not_pinned(i int); drop table not_pinned", "set schema 'public'",
    "select set_config('work_mem', '5MB', true)", "set session authorization pin_role",
    "prepare not_pinned as select 1", "execute not_pinned", "deallocate not_pinned",
]


@pytest.fixture(scope="module")
def world(pg):
    pg.psql(SETUP)


@pytest.fixture
def proxy(trusting, world):
    return trusting("auto", defaults={"pin_on": ["Pin_Function"]})


def connect(proxy):
    connection = psycopg2.connect(proxy.dsn())
    connection.autocommit = True
    return connection


def run(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def lent(proxy):
    return proxy.metric("dwspool_pool_backends", state="lent")


def test_pins(proxy):
    """Counted by reason, logged once for each client, gone when they are taken back."""
    counted = {}
    for number, (reason, sql, undo) in enumerate(PINS, 1):
        connection = connect(proxy)
        run(connection, sql)
        counted[reason] = counted.get(reason, 0) + 1
        assert proxy.metric("dwspool_session_pins_total", reason=reason) == counted[reason], sql
        assert lent(proxy) == 1, sql
        lines = [line for line in proxy.log().splitlines() if "client.pinned" in line]
        assert len(lines) == min(number, 10)  # in ten seconds
        assert number > 10 or f"reason={reason}" in lines[-1]
        if undo:
            run(connection, undo)
            wait_until(lambda: lent(proxy) == 0, what=f"the end of {sql}")
            run(connection, sql)
            counted[reason] += 1
        run(connection, "discard all")
        wait_until(lambda: lent(proxy) == 0, what=f"the end of {sql}")
        connection.close()
    assert proxy.metric("dwspool_session_pins_total") == sum(counted.values())


def test_the_last_one_counts(proxy):
    connection = connect(proxy)
    for sql, undo in (("select pg_advisory_lock({})", "select pg_advisory_unlock({})"),
                      ("create temp table pinned{}(i int)", "drop table pinned{}"),
                      ("listen pinned{}", "unlisten pinned{}")):
        for number in (1, 2, 3):
            run(connection, sql.format(number))
        for number in (1, 2):
            run(connection, undo.format(number))
            run(connection, "select 1")  # behind the question
            assert lent(proxy) == 1, undo
        run(connection, undo.format(3))
        wait_until(lambda: lent(proxy) == 0, what=f"the end of {sql}")
    # A table that its own transaction drops again.
    run(connection, "begin; create temp table pinned(i int) on commit drop; commit")
    wait_until(lambda: lent(proxy) == 0, what="the end of the table")
    connection.close()


def test_what_does_not_pin(proxy):
    connection = connect(proxy)
    for sql in FREE:
        run(connection, sql)
        wait_until(lambda: lent(proxy) == 0, what=f"the end of {sql}")
    connection.close()
    assert proxy.metric("dwspool_session_pins_total") == 0


def test_a_pinned_backend_is_cleaned_for_the_next(proxy, pg):
    with Observer(pg) as observer:
        for _, sql, _ in PINS:
            first = connect(proxy)
            run(first, sql)
            first.close()
            wait_until(lambda: lent(proxy) == 0, what="the end")
        assert observer.value("select count(*) from pg_locks where locktype = 'advisory'") == 0
    second = connect(proxy)
    for gone in ("select * from pinned", "execute pinned", "fetch c",
                 "select currval('pin_sequence')"):
        with pytest.raises(psycopg2.Error):
            run(second, gone)
    second.close()


def test_pool_mode_statement(trusting, pg):
    """As in PgBouncer, but on a connection that lives."""
    pg.psql("create table if not exists by_statement(v int)")
    proxy = trusting("statement")
    connection = connect(proxy)
    run(connection, "insert into by_statement values (1)")
    for text in ("begin", "begin; insert into by_statement values (2)", "start transaction"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
            run(connection, text)
        assert "transaction blocks are not allowed in pool_mode statement" in str(caught.value)
        run(connection, "insert into by_statement values (3)")
    connection.autocommit = False
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(connection, "select 1")
    connection.close()
    assert pg.psql("select string_agg(v::text, ' ') from by_statement") == "1 3 3 3"
