"""psycopg 3 through dwspool: the extended protocol, pipelines, prepared statements."""

import asyncio
import threading

import psycopg
import pytest
from dwspool_testing.observer import Observer


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def proxy(trusting, mode):
    return trusting(mode, shutdown_timeout="3s")


@pytest.fixture
def connection(proxy):
    with psycopg.connect(proxy.dsn()) as connection:
        yield connection


@pytest.fixture
def table(observer):
    return observer.table("id int, t text")


def one(connection, sql, values=None, **options):
    return connection.execute(sql, values, **options).fetchone()[0]


def test_binds_on_the_server(connection, table):
    assert one(connection, "select %s::int + %s", (1, 2)) == 3
    assert one(connection, "select %b::int8", (1 << 40,)) == 1 << 40
    assert connection.execute("select %s::bytea", (b"\0\1",), binary=True).fetchone() == (b"\0\1",)
    with connection.cursor() as cursor:
        cursor.executemany(f"insert into {table} values (%s, %s)", [(i, "x") for i in range(200)])
        assert cursor.rowcount == 200
    connection.commit()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        one(connection, "select %s::int", ("no number",))
    connection.rollback()
    assert one(connection, f"select count(*) from {table}") == 200


def test_transaction_blocks(connection, table):
    with connection.transaction():
        connection.execute(f"insert into {table} values (1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            with connection.transaction():
                connection.execute(f"insert into {table} values (2)")
                connection.execute("select 1/0")
        connection.execute(f"insert into {table} values (3)")
    assert [r[0] for r in connection.execute(f"select id from {table} order by 1")] == [1, 3]


def test_prepares_after_five_executions(connection, mode):
    connection.prepare_threshold = 5
    for i in range(12):
        assert one(connection, "select %s::int * 2", (i,)) == 2 * i
        connection.commit()
    assert one(connection, "select %s::text", ("named",), prepare=True) == "named"
    connection.commit()


def test_prepared_statements_of_many_clients_on_one_backend(trusting):
    """All of them call their statements _pg3_0, _pg3_1, ..., and mean something else by it."""
    for mode in ("transaction", "auto"):
        proxy = trusting(mode, defaults={"pool_size": 1})
        clients = [psycopg.connect(proxy.dsn(), autocommit=True, prepare_threshold=0)
                   for _ in range(4)]
        for turn in range(5):
            for number, client in enumerate(clients):
                for statement in range(3):
                    assert one(client, f"select %s::int + {number * 10 + statement}",
                               (turn,)) == turn + number * 10 + statement
        for client in clients:
            client.close()


def test_more_prepared_statements_than_are_kept(trusting):
    proxy = trusting("auto", defaults={"pool_size": 1, "max_prepared_statements": 5})
    with psycopg.connect(proxy.dsn(), autocommit=True, prepare_threshold=0) as connection:
        connection.prepared_max = 50
        for _ in range(3):
            for i in range(20):
                assert one(connection, f"select {i} + %s::int", (1,)) == i + 1
        assert one(connection, "select count(*) from pg_prepared_statements") <= 6


def test_statements_are_deallocated(connection):
    """Above prepared_max (100 by default) psycopg sends DEALLOCATE, by the extended protocol."""
    connection.autocommit = True
    connection.prepare_threshold = 0
    connection.prepared_max = 3
    for turn in range(3):
        for i in range(8):
            assert one(connection, f"select {i} * %s::int", (turn,)) == i * turn


def test_changed_table_does_not_break_prepared_statements(connection, table):
    connection.autocommit = True
    connection.execute(f"insert into {table} values (1, 'a')")
    for _ in range(7):
        assert connection.execute(f"select id, t from {table} where id = %s", (1,)).fetchall() == \
            [(1, "a")]
    connection.execute(f"alter table {table} add more int default 5")
    assert connection.execute(f"select id, t from {table} where id = %s", (1,)).fetchall() == \
        [(1, "a")]


def test_pipeline_mode(connection, table):
    with connection.pipeline() as pipeline:
        results = [connection.execute("select %s::int", (i,)) for i in range(300)]
        pipeline.sync()
        assert [cursor.fetchone()[0] for cursor in results] == list(range(300))
        with connection.transaction():
            for i in range(50):
                connection.execute(f"insert into {table} values (%s)", (i,))
    connection.commit()
    assert one(connection, f"select count(*) from {table}") == 50


def test_pipeline_with_an_error_in_the_middle(connection):
    connection.autocommit = True
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connection.pipeline():
            first = connection.execute("select 1")
            connection.execute("select 1/%s", (0,))
            connection.execute("select 3")
    assert first.fetchone() == (1,)
    with connection.pipeline() as pipeline:
        failing = connection.execute("select 1/%s", (0,))
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.sync()
        good = connection.execute("select 'after the sync'")
        pipeline.sync()
        assert good.fetchone() == ("after the sync",)
        del failing
    assert one(connection, "select 'alive'") == "alive"


def test_pipelines_share_a_backend(trusting):
    proxy = trusting("auto", defaults={"pool_size": 1})
    clients = [psycopg.connect(proxy.dsn(), autocommit=True) for _ in range(3)]
    for turn in range(4):
        for number, client in enumerate(clients):
            with client.pipeline():
                results = [client.execute("select %s::int", (number * 1000 + i,))
                           for i in range(60)]
            assert [cursor.fetchone()[0] for cursor in results] == [
                number * 1000 + i for i in range(60)], turn
    for client in clients:
        client.close()


def test_copy_both_ways(connection, table):
    with connection.cursor() as cursor:
        with cursor.copy(f"copy {table} from stdin") as copy:
            for i in range(5000):
                copy.write_row((i, f"text {i}"))
        with cursor.copy(f"copy {table} to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 5000
        with cursor.copy(f"copy (select id from {table} where id < %s) to stdout", (10,)) as copy:
            assert sum(1 for _ in copy.rows()) == 10
        with cursor.copy(f"copy {table} from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((-1, "binary"))
    connection.commit()
    assert one(connection, f"select t from {table} where id = -1") == "binary"


def test_copy_with_errors(connection, table):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        with connection.cursor().copy(f"copy {table} from stdin") as copy:
            for _ in range(5000):
                copy.write("no number\tx\n")
    connection.rollback()
    with pytest.raises(psycopg.errors.QueryCanceled, match="error from Python"):
        with connection.cursor().copy(f"copy {table} from stdin") as copy:
            copy.write("1\tx\n")
            raise ZeroDivisionError
    connection.rollback()
    with pytest.raises(ZeroDivisionError):  # psycopg cancels what it does not want to read
        with connection.cursor().copy("copy (select generate_series(1, 1e7)) to stdout") as copy:
            copy.read()
            raise ZeroDivisionError
    connection.rollback()
    assert one(connection, f"select count(*) from {table}") == 0


def test_cursors(connection, mode):
    with connection.cursor("named") as cursor:
        cursor.itersize = 50
        cursor.execute("select generate_series(1, %s::int)", (500,))
        assert [row[0] for row in cursor] == list(range(1, 501))
    assert [row[0] for row in connection.cursor().stream("select generate_series(1, 500)")] == \
        list(range(1, 501))
    connection.commit()
    with psycopg.ClientCursor(connection) as cursor:
        assert cursor.execute("select %s", (5,)).fetchone() == (5,)


def test_cancel(connection, observer):
    failures = []

    def sleep():
        try:
            connection.execute("select pg_sleep(%s)", (64,))
        except psycopg.Error as error:
            failures.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    observer.wait_running("%pg_sleep($1)%")
    connection.cancel()
    thread.join(10)
    assert [error.sqlstate for error in failures] == ["57014"]
    connection.rollback()
    assert one(connection, "select 'alive'") == "alive"


def test_notices_and_notifications(connection, proxy, mode):
    heard = []
    connection.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
    connection.execute("do $$ begin raise notice 'noted'; end $$")
    assert heard == ["noted"]
    connection.commit()
    if mode != "transaction":
        connection.autocommit = True
        connection.execute("listen channel3")
        with psycopg.connect(proxy.dsn(), autocommit=True) as sender:
            sender.execute("notify channel3, 'x'")
            assert next(connection.notifies()).payload == "x"


def test_asynchronous(proxy, observer):
    async def work():
        async with await psycopg.AsyncConnection.connect(proxy.dsn(), autocommit=True) as one_:
            cursor = await one_.execute("select %s::int", (1,))
            assert await cursor.fetchone() == (1,)
            task = asyncio.create_task(one_.execute("select pg_sleep(65)"))
            while not observer.running("%pg_sleep(65)%"):
                await asyncio.sleep(0.01)
            one_.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await task
            async with one_.pipeline():
                cursors = [await one_.execute("select %s::int", (i,)) for i in range(50)]
            assert [(await cursor.fetchone())[0] for cursor in cursors] == list(range(50))

    asyncio.run(work())


def test_many_asynchronous_clients(trusting):
    proxy = trusting("auto", defaults={"pool_size": 2})

    async def client(number):
        async with await psycopg.AsyncConnection.connect(proxy.dsn(), prepare_threshold=2) as own:
            for i in range(15):
                async with own.transaction():
                    cursor = await own.execute("select %s::int, %s::int", (number, i))
                    assert await cursor.fetchone() == (number, i)

    async def work():
        await asyncio.gather(*(client(number) for number in range(20)))

    asyncio.run(work())


def test_reconnects(proxy, observer):
    role = observer.role()
    with psycopg.connect(proxy.dsn(user=role)) as connection:
        assert one(connection, "select 1") == 1
    with psycopg.connect(proxy.dsn(user=role)) as connection:
        assert one(connection, "select current_user") == role
