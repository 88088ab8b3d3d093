"""Tables change while prepared statements of them lie about on shared backends: "cached plan must not
change result type" (0A000) is for those who were told what the statement returns, and for nobody
else."""

import asyncio

import asyncpg
import psycopg
import pytest
from dwspool_testing.wire import Connection, close, describe, parse
from prepared_test import ask, run

TABLE = "drop table if exists shape; create table shape(a int); insert into shape values (1)"
CHANGE = "alter table shape alter a type text"
SELECT = "select * from shape"


@pytest.fixture
def clients(trusting, pg):
    """Opens clients of a dwspool with one backend, in mode auto; the table is as it was."""
    opened = []

    def start(count=1, **defaults):
        proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "2s", **defaults},
                         shutdown_timeout="1s")
        for _ in range(count):
            opened.append(Connection("127.0.0.1", proxy.port, timeout=5))
            opened[-1].log_in()
        opened[0].proxy = proxy
        return opened[0] if count == 1 else opened

    pg.psql(TABLE)
    yield start
    for client in opened:
        client.close()


def test_who_prepares_now_gets_what_is_now(clients, pg):
    """Under any name, in one request or in two, described before or not."""
    first, second = clients(2)
    for number, prepare in enumerate((
            [parse("n", SELECT) + run("n")], [parse("n", SELECT), run("n")],
            [parse("n", SELECT) + describe("S", "n"), run("n")],
            [parse("n", SELECT), describe("S", "n"), run("n")])):
        assert ask(first, parse(f"s{number}", SELECT), run(f"s{number}")) == ["1", "2", "1", "C", "Z"]
        pg.psql(CHANGE if number % 2 == 0 else "alter table shape alter a type int using a::int")
        answers = [answer for request in prepare for answer in ask(second, request)]
        assert [answer for answer in answers if answer != "Z"] == ["1", "2", "1", "C"]
        assert ask(second, close("S", "n")) == ["3", "Z"]


def test_in_a_transaction_as_well(clients, pg):
    first, second = clients(2)
    pg.psql("drop table if exists journal; create table journal(v int)")
    assert ask(first, parse("s", SELECT), run("s")) == ["1", "2", "1", "C", "Z"]
    second.ask("begin")
    second.ask("insert into journal values (1)")
    pg.psql(CHANGE)
    assert ask(second, parse("s", SELECT)) == ["1", "Z"]
    assert ask(second, run("s")) == ["2", "1", "C", "Z"]
    second.ask("commit")
    assert pg.psql("select count(*) from journal") == "1"
    assert first.proxy.metric("dwspool_replay_total", failure="outdated", result="masked") == 1


def test_a_change_of_the_same_transaction(clients):
    client = clients()
    assert ask(client, parse("s", SELECT), run("s")) == ["1", "2", "1", "C", "Z"]
    client.ask("begin")
    client.ask(CHANGE)
    assert ask(client, run("s")) == ["2", "1", "C", "Z"]
    client.ask("commit")
    assert ask(client, run("s")) == ["2", "1", "C", "Z"]


def test_who_was_told_hears_of_it_and_prepares_again(clients, pg):
    first, second = clients(2)
    for client in (first, second):
        assert ask(client, parse("s", SELECT), describe("S", "s"), run("s")) == \
            ["1", "2", "1", "C", "Z"]
    pg.psql(CHANGE)
    for _ in range(2):
        for client in (first, second):
            assert ask(client, run("s")) == ["0A000", "Z"]
    assert ask(first, close("S", "s"), parse("s", SELECT), describe("S", "s"), run("s")) == \
        ["3", "1", "2", "1", "C", "Z"]
    assert ask(second, run("s")) == ["0A000", "Z"]


def test_who_was_told_hears_of_it_on_a_backend_that_knows_nothing(trusting, pg):
    pg.psql(TABLE)
    proxy = trusting("auto", defaults={"pool_size": 2}, shutdown_timeout="1s")
    with Connection("127.0.0.1", proxy.port, 5) as client, \
            Connection("127.0.0.1", proxy.port, 5) as other:
        client.log_in()
        other.log_in()
        assert ask(client, parse("s", SELECT), describe("S", "s"), run("s")) == \
            ["1", "2", "1", "C", "Z"]
        pg.psql(CHANGE)
        assert ask(client, run("s")) == ["0A000", "Z"]
        other.ask("begin; select 1")  # takes the backend away
        assert ask(client, run("s")) == ["0A000", "Z"]
        assert ask(client, close("S", "s"), parse("s", SELECT), run("s")) == \
            ["3", "1", "2", "1", "C", "Z"]


def test_without_replay_the_second_time_works(clients, pg):
    client = clients(replay="off")
    assert ask(client, parse("s", SELECT), run("s")) == ["1", "2", "1", "C", "Z"]
    pg.psql(CHANGE)
    assert ask(client, run("s")) == ["0A000", "Z"]
    assert ask(client, run("s")) == ["2", "1", "C", "Z"]


def test_what_the_server_never_does_stays_an_error(clients):
    """0A000 as well, when the plan is made."""
    client = clients()
    text = "select * from (values (1)) a(x) full join (values (1)) b(y) on a.x < b.y"
    assert ask(client, parse("s", text)) == ["1", "Z"]
    for _ in range(3):
        assert ask(client, run("s")) == ["0A000", "Z"]
    assert client.proxy.metric("dwspool_replay_total") == 0


def test_psycopg3(clients, pg):
    first = clients()
    with psycopg.connect(first.proxy.dsn(), prepare_threshold=0) as old, \
            psycopg.connect(first.proxy.dsn(), prepare_threshold=0) as young:
        for connection in (old, young):
            connection.autocommit = True
        assert old.execute(SELECT).fetchall() == [(1,)]
        pg.psql("alter table shape add b int default 2")
        assert young.execute(SELECT).fetchall() == [(1, 2)]
        assert old.execute(SELECT).fetchall() == [(1, 2)]  # directly: FeatureNotSupported
        pg.psql("alter table shape add c int default 3")
        with young.transaction():
            young.execute("insert into shape values (4, 5, 6)")
            assert young.execute(SELECT).fetchall() == [(1, 2, 3), (4, 5, 6)]


def test_asyncpg(clients, pg):
    first = clients()

    async def work():
        options = {"user": "postgres", "database": "postgres", "host": "127.0.0.1",
                   "port": first.proxy.port, "timeout": 20}
        old, young = await asyncpg.connect(**options), await asyncpg.connect(**options)
        try:
            assert [tuple(row) for row in await old.fetch(SELECT)] == [(1,)]
            pg.psql("alter table shape add b int default 2")
            async with young.transaction():
                assert [tuple(row) for row in await young.fetch(SELECT)] == [(1, 2)]
            # It was told what the statement returns, and prepares it again by itself.
            assert [tuple(row) for row in await old.fetch(SELECT)] == [(1, 2)]
        finally:
            await old.close(timeout=5)
            await young.close(timeout=5)

    asyncio.run(work())
