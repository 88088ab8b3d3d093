"""psycopg2 through dwspool: every part of its interface that talks to the server."""

import io
import select
import threading

import psycopg2
import psycopg2.extensions as ext
import psycopg2.extras
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import wait_until


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def proxy(trusting, mode):
    return trusting(mode, shutdown_timeout="3s")


@pytest.fixture
def connection(proxy):
    connection = psycopg2.connect(proxy.dsn())
    yield connection
    connection.close()


@pytest.fixture
def table(observer):
    return observer.table("id int, t text")


def value(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def test_transactions_commit_and_roll_back(connection, table, observer):
    with connection, connection.cursor() as cursor:
        cursor.execute(f"insert into {table} values (1, 'kept')")
        assert connection.info.transaction_status == ext.TRANSACTION_STATUS_INTRANS
    assert connection.info.transaction_status == ext.TRANSACTION_STATUS_IDLE
    with connection.cursor() as cursor:
        cursor.execute(f"insert into {table} values (2, 'gone')")
    connection.rollback()
    with pytest.raises(ZeroDivisionError):
        with connection, connection.cursor() as cursor:
            cursor.execute(f"insert into {table} values (3, 'gone')")
            raise ZeroDivisionError
    assert observer.rows(f"select id, t from {table}") == [(1, "kept")]


def test_errors_abort_the_transaction_until_rollback(connection):
    with connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("select 1/0")
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            cursor.execute("select 1")
        connection.rollback()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.commit()


def test_autocommit(connection, table, observer):
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"insert into {table} values (1, 'a')")
        assert observer.value(f"select count(*) from {table}") == 1
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("select 1/0")
        cursor.execute("select 1")
        assert connection.info.transaction_status == ext.TRANSACTION_STATUS_IDLE
        cursor.execute("vacuum " + table)  # refuses to run inside a transaction


def test_isolation_levels(connection):
    for level, name in ((ext.ISOLATION_LEVEL_REPEATABLE_READ, "repeatable read"),
                        (ext.ISOLATION_LEVEL_SERIALIZABLE, "serializable"),
                        (ext.ISOLATION_LEVEL_READ_COMMITTED, "read committed")):
        connection.set_session(isolation_level=level)
        assert value(connection, "show transaction_isolation") == name
        connection.rollback()
    connection.set_session(readonly=True, deferrable=True, isolation_level="SERIALIZABLE")
    assert value(connection, "show transaction_read_only") == "on"
    assert value(connection, "show transaction_deferrable") == "on"
    connection.rollback()


def test_session_defaults_in_autocommit(proxy, mode):
    if mode == "transaction":
        pytest.skip("session state: not what mode transaction promises")
    connection = psycopg2.connect(proxy.dsn())
    connection.set_session(readonly=True, autocommit=True)  # SET default_transaction_read_only
    other = psycopg2.connect(proxy.dsn())
    for _ in range(3):
        assert value(connection, "show transaction_read_only") == "on"
        assert value(other, "show transaction_read_only") == "off"
        other.rollback()
    connection.close()
    other.close()


def test_named_cursors(connection):
    with connection.cursor("portion") as cursor:
        cursor.itersize = 100
        cursor.execute("select generate_series(1, 1000)")
        assert [row[0] for row in cursor] == list(range(1, 1001))
    with connection.cursor("movable", scrollable=True) as cursor:
        cursor.execute("select generate_series(1, 100)")
        cursor.scroll(49)
        assert cursor.fetchone() == (50,)
        cursor.scroll(-10)
        assert cursor.fetchone() == (41,)
        assert len(cursor.fetchmany(20)) == 20
        assert len(cursor.fetchall()) == 39
    connection.commit()


def test_named_cursor_with_hold(proxy, mode):
    if mode == "transaction":
        pytest.skip("a held cursor is session state: not what mode transaction promises")
    connection = psycopg2.connect(proxy.dsn())
    others = [psycopg2.connect(proxy.dsn()) for _ in range(3)]
    cursor = connection.cursor("held", withhold=True)
    cursor.execute("select generate_series(1, 10)")
    connection.commit()
    for other in others:
        assert value(other, "select 1") == 1
        other.rollback()
    assert [row[0] for row in cursor.fetchall()] == list(range(1, 11))
    cursor.close()
    connection.commit()
    for one in (connection, *others):
        one.close()


def test_copy_both_ways(connection, table):
    lines = "".join(f"{i}\ttext {i}\n" for i in range(30000))
    with connection.cursor() as cursor:
        cursor.copy_expert(f"copy {table} from stdin", io.StringIO(lines))
        assert cursor.rowcount == 30000
        back = io.StringIO()
        cursor.copy_expert(f"copy (select * from {table} order by id) to stdout", back)
        assert back.getvalue() == lines
        cursor.copy_from(io.StringIO("7\tseven\n"), table, columns=("id", "t"))
        cursor.copy_to(io.StringIO(), table)
    connection.commit()
    assert value(connection, f"select count(*) from {table}") == 30001


def test_copy_with_an_error_on_either_side(connection, table):
    class Broken(io.StringIO):
        def read(self, *_):
            raise ValueError("the file broke")

    with connection.cursor() as cursor:
        bad = "1\tx\n" * 20000 + "no number\tx\n" + "2\tx\n" * 20000
        with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
            cursor.copy_expert(f"copy {table} from stdin", io.StringIO(bad))
        connection.rollback()
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert(f"copy {table} from stdin", Broken())
        connection.rollback()
        cursor.execute(f"select count(*) from {table}")
        assert cursor.fetchone() == (0,)


def test_cancel(connection, observer):
    failures = []

    def sleep():
        try:
            value(connection, "select pg_sleep(62)")
        except psycopg2.Error as error:
            failures.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    observer.wait_running("%pg_sleep(62)%")
    connection.cancel()
    thread.join(10)
    assert [error.pgcode for error in failures] == ["57014"]
    connection.rollback()
    assert value(connection, "select 'alive'") == "alive"


def wait(connection):
    """Drives an asynchronous connection until it has nothing to do."""
    while True:
        state = connection.poll()
        if state == ext.POLL_OK:
            return
        if state == ext.POLL_READ:
            assert select.select([connection], [], [], 10)[0], "no answer"
        else:
            assert select.select([], [connection], [], 10)[1], "cannot send"


def test_asynchronous_connection(proxy, observer):
    connection = psycopg2.connect(proxy.dsn(), async_=True)
    wait(connection)
    cursor = connection.cursor()
    cursor.execute("select pg_sleep(0.05), 5")
    assert connection.isexecuting()
    wait(connection)
    assert cursor.fetchone()[1] == 5
    cursor.execute("select 1/0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        wait(connection)
    cursor.execute("select pg_sleep(63)")
    while not observer.running("%pg_sleep(63)%"):
        connection.poll()
    connection.cancel()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        wait(connection)
    cursor.execute("begin; select 1; commit; select 2")
    wait(connection)
    assert cursor.fetchone() == (2,)
    connection.close()


def test_wait_callback(proxy):
    """How psycopg2 works under gevent."""
    ext.set_wait_callback(wait)
    try:
        connection = psycopg2.connect(proxy.dsn())
        with connection, connection.cursor() as cursor:
            cursor.execute("select generate_series(1, 1000)")
            assert len(cursor.fetchall()) == 1000
        connection.close()
    finally:
        ext.set_wait_callback(None)


def test_reconnects_after_close_and_after_losing_the_backend(proxy, observer):
    role = observer.role()
    for _ in range(3):
        connection = psycopg2.connect(proxy.dsn(user=role))
        assert value(connection, "select current_user") == role
        connection.close()
    with pytest.raises(psycopg2.InterfaceError):
        connection.cursor()
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, what="no client left")
    observer.terminate(role)
    connection = psycopg2.connect(proxy.dsn(user=role))
    assert value(connection, "select current_user") == role
    connection.close()


def test_idle_client_does_not_see_its_backend_end(trusting, observer):
    """Between transactions another backend takes over, settings included."""
    for mode in ("transaction", "auto"):
        proxy = trusting(mode)
        role = observer.role()
        connection = psycopg2.connect(proxy.dsn(user=role))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("set work_mem to '7MB'")
            cursor.execute("set datestyle to 'german'")
        first = value(connection, "select pg_backend_pid()")
        observer.terminate(role)
        assert value(connection, "select pg_backend_pid()") != first
        assert value(connection, "show work_mem") == "7MB"
        assert value(connection, "select '2026-02-03'::date::text") == "03.02.2026"
        connection.close()


def test_notices(connection):
    with connection.cursor() as cursor:
        cursor.execute("do $$ begin for i in 1..10 loop raise notice 'note %', i; "
                       "end loop; end $$")
        cursor.execute("drop table if exists surely_not_there")
    assert [line.strip() for line in connection.notices[:10]] == [
        f"NOTICE:  note {i}" for i in range(1, 11)]
    assert "does not exist, skipping" in connection.notices[10]
    connection.rollback()


def test_callproc_and_call(connection, observer):
    observer.rows("""
        create or replace function twice(i int) returns int language sql as 'select 2 * i';
        create or replace procedure commits(i int) language plpgsql as
          $$ begin for n in 1..i loop commit; end loop; end $$;
    """)
    with connection.cursor() as cursor:
        cursor.callproc("twice", [21])
        assert cursor.fetchone() == (42,)
        cursor.callproc("twice", {"i": 4})
        assert cursor.fetchone() == (8,)
    connection.commit()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("call commits(5)")
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)


def test_executemany_and_batches(connection, table):
    rows = [(i, f"text {i}") for i in range(300)]
    with connection, connection.cursor() as cursor:
        cursor.executemany(f"insert into {table} values (%s, %s)", rows)
        psycopg2.extras.execute_batch(cursor, f"insert into {table} values (%s, %s)", rows)
        psycopg2.extras.execute_values(cursor, f"insert into {table} values %s", rows)
        cursor.execute(f"select count(*), sum(id) from {table}")
        assert cursor.fetchone() == (900, 3 * sum(range(300)))


def test_large_statements_and_results(connection):
    big = "x" * (3 << 20)  # larger than what dwspool reads as a whole
    with connection.cursor() as cursor:
        cursor.execute("select %s", (big,))
        assert cursor.fetchone() == (big,)
        cursor.execute("select repeat('y', 5000000), generate_series(1, 3)")
        assert [len(row[0]) for row in cursor.fetchall()] == [5000000] * 3
    connection.rollback()
    assert value(connection, "select 1") == 1


def test_client_encoding(connection):
    connection.set_client_encoding("LATIN1")
    assert connection.encoding == "LATIN1"
    assert value(connection, "show client_encoding") == "LATIN1"
    assert value(connection, "select 'süß'") == "süß"
    connection.rollback()
    connection.set_client_encoding("UTF8")
    assert value(connection, "select '€'") == "€"
    connection.rollback()


def test_client_encodings_do_not_mix(trusting, mode):
    proxy = trusting(mode, defaults={"pool_size": 1 if mode != "session" else 4})
    latin = psycopg2.connect(proxy.dsn(client_encoding="LATIN1"))
    utf = psycopg2.connect(proxy.dsn(client_encoding="UTF8"))
    for _ in range(5):
        for connection in (latin, utf):
            assert value(connection, "select 'süß'") == "süß"
            connection.rollback()
    latin.close()
    utf.close()


def test_reset_gives_a_clean_session(proxy):
    connection = psycopg2.connect(proxy.dsn(options="-c work_mem=5MB"))
    with connection.cursor() as cursor:
        cursor.execute("set work_mem to '9MB'")
        cursor.execute("set datestyle to 'german'")
    connection.commit()
    connection.reset()
    assert value(connection, "show work_mem") == "5MB"
    assert value(connection, "show datestyle") == "ISO, MDY"
    connection.close()


def test_two_phase_commit(proxy, observer, table):
    first, second = psycopg2.connect(proxy.dsn()), psycopg2.connect(proxy.dsn())
    for number, end in ((1, second.tpc_commit), (2, second.tpc_rollback)):
        xid = first.xid(1, f"gtrid of {table}", f"branch {number}")
        first.tpc_begin(xid)
        with first.cursor() as cursor:
            cursor.execute(f"insert into {table} values (%s, 'two phases')", (number,))
        first.tpc_prepare()
        first.reset()
        assert observer.value(f"select count(*) from {table} where id = %s", (number,)) == 0
        prepared, = [one for one in second.tpc_recover() if one.gtrid == f"gtrid of {table}"]
        second.rollback()
        end(prepared)
    assert observer.rows(f"select id from {table}") == [(1,)]
    first.close()
    second.close()


def test_listen_and_notify(proxy, mode):
    if mode == "transaction":
        pytest.skip("LISTEN is session state: not what mode transaction promises")
    listener = psycopg2.connect(proxy.dsn())
    listener.autocommit = True
    with listener.cursor() as cursor:
        cursor.execute("listen channel")
    sender = psycopg2.connect(proxy.dsn())
    sender.autocommit = True
    with sender.cursor() as cursor:
        cursor.execute("notify channel, 'payload'")
    assert select.select([listener], [], [], 10)[0]
    listener.poll()
    assert [(note.channel, note.payload) for note in listener.notifies] == [("channel", "payload")]
    listener.close()
    sender.close()


def test_large_objects(connection):
    large = connection.lobject(0, "wb")
    large.write(b"abc" * 100000)
    oid = large.oid
    large.close()
    connection.commit()
    large = connection.lobject(oid, "rb")
    assert large.read() == b"abc" * 100000
    large.close()
    connection.lobject(oid).unlink()
    connection.commit()


def test_connection_pool_of_psycopg2(proxy):
    from psycopg2.pool import ThreadedConnectionPool

    pool = ThreadedConnectionPool(1, 4, proxy.dsn())
    failures = []

    def work(number):
        try:
            for i in range(15):
                connection = pool.getconn()
                try:
                    assert value(connection, "select %s", (number * 100 + i,)) == number * 100 + i
                    connection.commit()
                finally:
                    pool.putconn(connection)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    pool.closeall()
    assert not failures


def test_backend_pid_is_the_backends(connection, mode):
    assert connection.info.backend_pid == value(connection, "select pg_backend_pid()")
