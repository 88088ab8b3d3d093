"""SQL's own PREPARE in `auto`: carried from backend to backend, seen by nobody else, and as it would
be on a direct connection."""

import threading

import psycopg
import psycopg2
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, bind, execute, parse
from prepared_test import ask, digest


@pytest.fixture
def proxy(trusting):
    return trusting("auto", defaults={"pool_size": 2, "queue_timeout": "5s"}, shutdown_timeout="1s")


def connect(proxy, **options):
    connection = psycopg2.connect(proxy.dsn(), **options)
    connection.autocommit = True
    return connection


def value(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def lent(proxy):
    return proxy.metric("dwspool_pool_backends", state="lent")


def busy_with(proxy, count):
    """Takes so many backends away until it is closed."""
    holders = [connect(proxy) for _ in range(count)]
    for holder in holders:
        holder.autocommit = False
        value(holder, "select 1")
    return holders


def test_it_follows_its_client(proxy):
    client = connect(proxy)
    value(client, "prepare p(int) as select pg_backend_pid() * 0 + $1")
    wait_until(lambda: lent(proxy) == 0, what="the end of PREPARE")
    first = value(client, "select pg_backend_pid()")
    holder = connect(proxy)
    holder.autocommit = False
    assert value(holder, "select pg_backend_pid()") == first  # the one that was used last
    assert value(client, "execute p(42)") == 42
    assert value(client, "select pg_backend_pid()") != first
    assert value(client, "select count(*) from pg_prepared_statements where from_sql") == 1
    holder.close()
    assert proxy.metric("dwspool_session_pins_total") == 0


def test_names_do_not_mix(proxy):
    clients = [connect(proxy) for _ in range(4)]
    for number, client in enumerate(clients):
        value(client, f"prepare p as select {number}")
    for _ in range(3):
        for number, client in enumerate(clients):
            assert value(client, "execute p") == number
    for client in clients[1:]:
        value(client, "deallocate p")
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            value(client, "execute p")
        assert value(client, "select count(*) from pg_prepared_statements") == 0
    assert value(clients[0], "execute p") == 0


def test_errors_are_the_server_s(proxy):
    client = connect(proxy)
    value(client, "prepare p as select 1")
    with pytest.raises(psycopg2.errors.DuplicatePreparedStatement):
        value(client, "prepare p as select 2")
    with pytest.raises(psycopg2.errors.SyntaxError):
        value(client, "prepare q as selec")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        value(client, "prepare q as select * from nowhere")
    assert value(client, "execute p") == 1
    wait_until(lambda: lent(proxy) == 0, what="the end of EXECUTE")


def test_no_transaction_takes_it_back(proxy):
    client = connect(proxy)
    client.autocommit = False
    value(client, "prepare kept as select 'kept'")
    client.rollback()
    holders = busy_with(proxy, 1)
    assert value(client, "execute kept") == "kept"
    value(client, "deallocate kept")
    client.rollback()
    with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
        value(client, "execute kept")
    client.rollback()
    for holder in holders:
        holder.close()


@pytest.mark.parametrize("end", ["deallocate all", "discard all"])
def test_the_end_of_all(proxy, end):
    client = connect(proxy)
    value(client, "prepare p as select 1")
    value(client, "prepare q as select 2")
    value(client, end)
    holders = busy_with(proxy, 1)
    for name in "pq":
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            value(client, f"execute {name}")
    for holder in holders:
        holder.close()


def test_what_uses_it_in_other_words(proxy):
    """EXPLAIN, CREATE TABLE AS and dynamic SQL find it as well."""
    client = connect(proxy)
    value(client, "prepare p as select 7 as v")
    for _ in range(2):
        holders = busy_with(proxy, 1)
        assert "Result" in value(client, "explain execute p")
        value(client, "create temp table from_prepared as execute p")
        assert value(client, "select v from from_prepared") == 7
        value(client, "drop table from_prepared")
        value(client, "do $$ begin execute 'execute p'; end $$")
        for holder in holders:
            holder.close()
        value(client, "discard all")
        value(client, "prepare p as select 7 as v")


def test_it_is_prepared_for_the_settings_of_its_session(proxy, pg):
    pg.psql("create schema if not exists sp_one; create schema if not exists sp_two;"
            "create table if not exists sp_one.who as select 'one' v;"
            "create table if not exists sp_two.who as select 'two' v")
    clients = {name: connect(proxy, options=f"-c search_path=sp_{name}") for name in ("one", "two")}
    for client in clients.values():
        value(client, "prepare who as select v from who")
    for _ in range(3):
        for name, client in clients.items():
            assert value(client, "execute who") == name
    value(clients["one"], "set search_path to sp_two")
    assert value(clients["one"], "execute who") == "two"  # as directly: replanned


def test_a_table_that_has_gone(proxy, pg):
    pg.psql("drop table if exists passing; create table passing as select 1 v")
    client = connect(proxy)
    value(client, "prepare p as select v from passing")
    value(client, "prepare q as select 'still there'")
    pg.psql("drop table passing")
    holders = busy_with(proxy, 1)
    assert value(client, "execute q") == "still there"
    with pytest.raises((psycopg2.errors.InvalidSqlStatementName, psycopg2.errors.UndefinedTable)):
        value(client, "execute p")
    pg.psql("create table passing as select 2 v")
    assert value(client, "execute p") == 2
    for holder in holders:
        holder.close()


def test_beside_statements_of_the_protocol(trusting):
    """Both kinds share their names on the server."""
    proxy = trusting("auto", defaults={"pool_size": 1}, shutdown_timeout="1s")
    with Connection("127.0.0.1", proxy.port, 5) as one, \
            Connection("127.0.0.1", proxy.port, 5) as other:
        one.log_in()
        other.log_in()
        assert ask(one, parse("p", "select 'protocol'")) == ["1", "Z"]
        assert digest(other.ask("prepare p as select 'sql'")) == ["C", "Z"]
        for _ in range(2):
            assert ask(one, bind("", "p") + execute()) == ["2", "protocol", "C", "Z"]
            assert digest(other.ask("execute p")) == ["sql", "C", "Z"]
        assert ask(other, parse("p", "select 1")) == ["42P05", "Z"]


def test_by_the_extended_protocol(proxy):
    with Connection("127.0.0.1", proxy.port, 5) as client:
        client.log_in()

        def say(sql):
            return ask(client, parse("", sql) + bind("", "") + execute())

        assert say("prepare p(text) as select $1 || '!'") == ["1", "2", "C", "Z"]
        for _ in range(2):
            holders = busy_with(proxy, 1)
            assert say("execute p('x')") == ["1", "2", "x!", "C", "Z"]
            for holder in holders:
                holder.close()
        assert say("deallocate p") == ["1", "2", "C", "Z"]
        assert say("execute p('x')") == ["1", "2", "26000", "Z"]
        assert digest(client.ask("select count(*) from pg_prepared_statements")) == ["0", "C", "Z"]


def test_psycopg3(proxy):
    with psycopg.connect(proxy.dsn(), autocommit=True, prepare_threshold=0) as client:
        client.execute("prepare p(int) as select $1 + 1")
        for number in range(3):
            with client.transaction():
                assert client.execute(f"execute p({number})").fetchone() == (number + 1,)
        client.execute("deallocate p")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            client.execute("execute p(1)")


def test_many_clients_on_few_backends(trusting):
    """Each has its own under names that all of them use."""
    proxy = trusting("auto", defaults={"pool_size": 3}, shutdown_timeout="1s")
    failures = []

    def live(number):
        try:
            client = connect(proxy)
            for name in "abc":
                value(client, f"prepare {name} as select '{name} of {number}'")
            for turn in range(60):
                name = "abc"[turn % 3]
                found = value(client, f"execute {name}")
                if found != f"{name} of {number}":
                    failures.append(f"{number} found {found}")
                if turn % 20 == 19:
                    value(client, f"deallocate {name}")
                    value(client, f"prepare {name} as select '{name} of {number}'")
            client.close()
        except Exception as error:  # noqa: BLE001
            failures.append(f"{number}: {error}")

    threads = [threading.Thread(target=live, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert proxy.metric("dwspool_session_pins_total") == 0
    wait_until(lambda: lent(proxy) == 0, what="the end of all")
    with_none = connect(proxy)
    assert value(with_none, "select count(*) from pg_prepared_statements") == 0
    with_none.close()


def test_a_lost_backend_is_made_good(proxy, pg):
    pg.psql("drop table if exists made_good; create table made_good(v int)")
    client = connect(proxy)
    client.autocommit = False
    value(client, "prepare add(int) as insert into made_good values ($1)")
    client.commit()
    value(client, "prepare read as select sum(v) from made_good")
    value(client, "execute add(1)")
    assert value(client, "execute read") == 1
    pg.psql("select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'")
    value(client, "execute add(2)")
    assert value(client, "execute read") == 3
    client.commit()
    assert pg.psql("select string_agg(v::text, ' ' order by v) from made_good") == "1 2"
    assert value(client, "execute read") == 3
    client.commit()
