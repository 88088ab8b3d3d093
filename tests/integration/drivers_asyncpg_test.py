"""asyncpg through dwspool: prepared statements for everything, binary formats, own pool."""

import asyncio
import io

import asyncpg
import pytest
from dwspool_testing.observer import Observer


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def proxy(trusting, mode):
    return trusting(mode, shutdown_timeout="3s")


def connect(proxy, **options):
    options = {"user": "postgres", "database": "postgres", "host": "127.0.0.1",
               "port": proxy.port, "timeout": 20, **options}
    return asyncpg.connect(**options)


def with_connection(proxy, work, **options):
    """Runs work(connection) in a loop of its own."""
    async def run():
        connection = await connect(proxy, **options)
        try:
            return await asyncio.wait_for(work(connection), 30)
        finally:
            await connection.close(timeout=5)

    return asyncio.run(run())


def test_queries_and_transactions(proxy):
    async def work(connection):
        assert await connection.fetchval("select $1::int + 1", 41) == 42
        assert await connection.fetchval("select $1::text", "süß") == "süß"
        async with connection.transaction():
            await connection.execute("create table asyncpg_t(id int)")
            await connection.executemany("insert into asyncpg_t values ($1)",
                                         [(i,) for i in range(500)])
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with connection.transaction():  # a savepoint
                    await connection.fetchval("select 1/$1::int", 0)
        assert await connection.fetchval("select count(*) from asyncpg_t") == 500
        await connection.execute("drop table asyncpg_t")
        async with connection.transaction(isolation="serializable", readonly=True):
            assert await connection.fetchval("show transaction_isolation") == "serializable"
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("select * from asyncpg_t")
        assert await connection.fetchval("select 1") == 1

    with_connection(proxy, work)


def test_prepared_statements(proxy):
    async def work(connection):
        statement = await connection.prepare("select $1::int * 2 as twice")
        assert [a.name for a in statement.get_attributes()] == ["twice"]
        for i in range(20):
            assert await statement.fetchval(i) == 2 * i
        for i in range(150):  # more than its cache holds
            assert await connection.fetchval(f"select {i} + $1::int", 1) == i + 1

    with_connection(proxy, work, statement_cache_size=30)


def test_cursors(proxy):
    async def work(connection):
        async with connection.transaction():
            rows = [row[0] async for row in
                    connection.cursor("select generate_series(1, $1::int)", 300, prefetch=40)]
            assert rows == list(range(1, 301))
            cursor = await connection.cursor("select generate_series(1, 100)")
            assert [row[0] for row in await cursor.fetch(5)] == [1, 2, 3, 4, 5]
            await cursor.forward(10)
            assert (await cursor.fetchrow())[0] == 16

    with_connection(proxy, work)


def test_copy_both_ways(proxy):
    async def work(connection):
        await connection.execute("create table asyncpg_copy(id int, t text)")
        try:
            await connection.copy_records_to_table(
                "asyncpg_copy", records=[(i, f"text {i}") for i in range(5000)])
            await connection.copy_to_table("asyncpg_copy", source=io.BytesIO(b"-1\tx\n"))
            out = io.BytesIO()
            await connection.copy_from_table("asyncpg_copy", output=out)
            assert out.getvalue().count(b"\n") == 5001
            out = io.BytesIO()
            await connection.copy_from_query("select id from asyncpg_copy where id < $1", 5,
                                             output=out)
            assert out.getvalue().count(b"\n") == 6
            with pytest.raises(asyncpg.InvalidTextRepresentationError):
                await connection.copy_to_table(
                    "asyncpg_copy", source=io.BytesIO(b"no number\tx\n" * 20000))
            assert await connection.fetchval("select count(*) from asyncpg_copy") == 5001
        finally:
            await connection.execute("drop table asyncpg_copy")

    with_connection(proxy, work)


def test_cancel_by_timeout(proxy, observer):
    async def work(connection):
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetchval("select pg_sleep(66)", timeout=0.1)
            assert await connection.fetchval("select 'alive'") == "alive"
        task = asyncio.create_task(connection.fetchval("select pg_sleep(66)"))
        await asyncio.sleep(0)
        while not observer.running("%pg_sleep(66)%"):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await connection.fetchval("select 'alive'") == "alive"

    with_connection(proxy, work)
    assert observer.running("%pg_sleep(66)%") == 0


def test_types_that_need_a_look_at_the_catalogue(proxy, observer):
    observer.rows("drop type if exists colour; create type colour as enum ('red', 'blue')")

    async def work(connection):
        # These make asyncpg ask the server, with set_config('jit', ...) around it.
        assert await connection.fetchval("select array['red', 'blue']::colour[]") == ["red", "blue"]
        assert await connection.fetchval("select $1::colour", "red") == "red"
        assert list(await connection.fetchval("select row(1, 'x'::text)")) == [1, "x"]

    with_connection(proxy, work)


def test_several_clients_on_one_backend(trusting):
    """Statements, cursors and transactions of five clients, all with the same names."""
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "5s"})

    async def client(number):
        connection = await connect(proxy)
        for i in range(10):
            assert await connection.fetchval(f"select $1::int + {number}", i) == i + number
            assert await connection.fetchval("select $1::text", f"{number}.{i}") == f"{number}.{i}"
            async with connection.transaction():
                rows = [row[0] async for row in
                        connection.cursor(f"select generate_series({number}, $1::int)",
                                          number + 20, prefetch=5)]
                assert rows == list(range(number, number + 21))
        await connection.executemany("select $1::int", [(i,) for i in range(10)])
        await connection.close()

    async def run():
        await asyncio.wait_for(asyncio.gather(*(client(n) for n in range(5))), 30)

    asyncio.run(run())
    assert proxy.metric("dwspool_session_pins_total") == 0


def pool_work(proxy, size):
    async def run():
        pool = await asyncpg.create_pool(user="postgres", database="postgres", host="127.0.0.1",
                                         port=proxy.port, min_size=size, max_size=size,
                                         command_timeout=10, timeout=10)

        async def work(number):
            for i in range(8):
                async with pool.acquire() as connection, connection.transaction():
                    assert await connection.fetchval("select $1::int", number * 10 + i) == \
                        number * 10 + i

        await asyncio.wait_for(asyncio.gather(*(work(n) for n in range(12))), 30)
        await asyncio.wait_for(pool.close(), 10)

    asyncio.run(run())


def test_its_own_pool(proxy):
    pool_work(proxy, 4)  # as many as there are backends


def test_its_own_pool_on_one_backend(trusting):
    """asyncpg sends `SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL` whenever a
    connection goes back to its pool."""
    pool_work(trusting("auto", defaults={"pool_size": 1, "queue_timeout": "1s"},
                       shutdown_timeout="1s"), 4)


def test_types_on_one_backend(trusting, observer):
    observer.rows("drop type if exists shade; create type shade as enum ('dark', 'light')")
    proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "3s"})

    async def run():
        connections = [await connect(proxy) for _ in range(3)]
        for _ in range(2):
            for connection in connections:
                assert await connection.fetchval("select array['dark']::shade[]") == ["dark"]
        for connection in connections:
            await connection.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_listen(proxy, mode):
    if mode == "transaction":
        pytest.skip("LISTEN is session state: not what mode transaction promises")

    async def work(connection):
        heard = asyncio.Queue()
        await connection.add_listener("channel_a", lambda *note: heard.put_nowait(note[3]))
        await connection.execute("notify channel_a, 'first'")
        assert await asyncio.wait_for(heard.get(), 5) == "first"
        await connection.remove_listener("channel_a", lambda *_: None)

    with_connection(proxy, work)


def test_reconnects(proxy, observer):
    role = observer.role()
    for _ in range(3):
        assert with_connection(proxy, lambda c: c.fetchval("select current_user"),
                               user=role) == role
