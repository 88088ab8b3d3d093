"""psycopg2 on GaussDB(DWS), the vendor's table row by row: the connection. Each row through
dwspool, before a coordinator and before a PostgreSQL, in `auto` and in `session`."""

import select
import threading
import time

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext
import psycopg2.extras
import pytest
from dwspool_testing.api_table import row, summary, untested
from dwspool_testing.place import run, value


@pytest.fixture
def connection(place):
    connection = place.connect()
    yield connection
    connection.close()


@pytest.fixture
def table(place):
    return place.observer.table("id int, t text")


def ids(place, table):
    return [found for found, in place.observer.rows(f"select id from {table} order by id")]


def usable(connection):
    """After an error the session is as it would be on a direct connection."""
    connection.rollback()
    assert value(connection, "select 'alive'") == "alive"
    assert connection.closed == 0
    connection.rollback()


def refused(connection, *work):
    """DWS's own refusal has reached the application, code and text."""
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
        for step in work:
            step()
    usable(connection)
    return str(caught.value)


# --- Basics --------------------------------------------------------------------------------------

@row("connection", "cursor", "cursor_factory")
def test_cursors_of_all_kinds(connection):
    assert isinstance(connection.cursor(), ext.cursor)
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("select 1 as one")
        assert cursor.fetchone() == {"one": 1}
    connection.cursor_factory = psycopg2.extras.DictCursor
    with connection.cursor() as cursor:
        cursor.execute("select 2 as two")
        assert cursor.fetchone()["two"] == 2
    with connection.cursor("named", scrollable=False) as cursor:
        cursor.execute("select generate_series(1, 3) as n")
        assert [found["n"] for found in cursor] == [1, 2, 3]


@row("connection", "commit", "rollback")
def test_commit_and_rollback(place, connection, table):
    run(connection, f"insert into {table} values (1)")
    assert ids(place, table) == []
    connection.commit()
    run(connection, f"insert into {table} values (2)")
    connection.rollback()
    assert ids(place, table) == [1]
    connection.commit()  # of nothing
    connection.rollback()


@row("connection", "close", "closed")
def test_close_rolls_back(place, table):
    connection = place.connect()
    run(connection, f"insert into {table} values (1)")
    assert connection.closed == 0
    connection.close()
    assert connection.closed == 1
    with pytest.raises(psycopg2.InterfaceError):
        connection.cursor()
    # The lock that the lost transaction had is gone.
    place.observer.rows(f"begin; lock table {table}; commit")
    assert ids(place, table) == []


@row("connection", "dsn", "get_dsn_parameters")
def test_dsn(place, connection):
    assert connection.dsn == place.proxy.dsn(place.user)
    parameters = connection.get_dsn_parameters()
    assert parameters["port"] == str(place.proxy.port) and parameters["user"] == place.user


@row("connection", "info", "status", "get_transaction_status")
def test_status_follows_the_transaction(connection):
    info = connection.info
    assert (connection.status, info.transaction_status) == (
        ext.STATUS_READY, ext.TRANSACTION_STATUS_IDLE)
    run(connection, "select 1")
    assert (connection.status, connection.get_transaction_status()) == (
        ext.STATUS_BEGIN, ext.TRANSACTION_STATUS_INTRANS)
    with pytest.raises(psycopg2.errors.DivisionByZero):
        run(connection, "select 1/0")
    assert info.transaction_status == ext.TRANSACTION_STATUS_INERROR
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(connection, "select 1")
    connection.rollback()
    assert (connection.status, info.transaction_status) == (
        ext.STATUS_READY, ext.TRANSACTION_STATUS_IDLE)
    assert info.dbname == "postgres" and info.status == 0


@row("connection", "protocol_version", "server_version", "get_parameter_status")
def test_versions_and_parameters(place, connection):
    assert connection.protocol_version == 3
    assert connection.server_version == (90204 if place.is_dws else connection.info.server_version)
    assert place.is_dws or connection.server_version // 10000 == 15
    said = connection.get_parameter_status
    assert said("standard_conforming_strings") == "on" and said("no such thing") is None
    assert said("is_sysadmin" if place.is_dws else "is_superuser") == "on"
    run(connection, "set datestyle to 'german'")
    assert said("DateStyle") == "German, DMY"
    connection.rollback()
    run(connection, "select 1")
    assert said("DateStyle") == "ISO, MDY"


@row("connection", "get_backend_pid")
def test_backend_pid_is_stable(place, connection):
    shown = connection.get_backend_pid()
    others = [place.connect() for _ in range(3)]
    assert place.is_dws or shown > 0  # DWS shows a slot number, which can be 0
    for one in (*others, connection):
        run(one, "select 1")
        one.commit()
        assert connection.get_backend_pid() == connection.info.backend_pid == shown
    for one in others:
        one.close()


@row("connection", "pgconn_ptr", "get_native_connection")
def test_native_handles(connection):
    assert connection.pgconn_ptr
    assert "native_connection" in repr(connection.get_native_connection())


@row("connection", "encoding", "set_client_encoding")
def test_client_encoding(place, connection):
    assert connection.encoding == "UTF8"
    connection.set_client_encoding("latin1")
    assert connection.encoding in ("LATIN1", "latin1")
    other = place.connect()
    for _ in range(3):
        assert value(connection, "select 'süß'") == value(other, "select 'süß'") == "süß"
        assert value(connection, "show client_encoding") == "LATIN1"
        assert value(other, "show client_encoding") == "UTF8"
        connection.commit()
        other.commit()
    other.close()
    with pytest.raises(UnicodeEncodeError):
        value(connection, "select '€'")
    connection.set_client_encoding("UTF8")
    assert value(connection, "select '€'") == "€"


@row("connection", "notices")
def test_notices(connection):
    run(connection, "do $$ begin for i in 1..3 loop raise notice 'note %', i; end loop; end $$")
    run(connection, "drop table if exists surely_not_there")
    assert [line.strip() for line in connection.notices[:3]] == [
        f"NOTICE:  note {i}" for i in (1, 2, 3)]
    assert "does not exist, skipping" in connection.notices[3]


# --- Two-phase commit ----------------------------------------------------------------------------

@row("connection", "xid", "tpc_begin", "tpc_commit", "tpc_rollback")
def test_one_phase(place, connection, table):
    xid = connection.xid(7, "gtrid", "branch")
    assert (xid.format_id, xid.gtrid, xid.bqual) == (7, "gtrid", "branch")
    for number, end in ((1, connection.tpc_commit), (2, connection.tpc_rollback)):
        connection.tpc_begin(xid)
        run(connection, f"insert into {table} values ({number})")
        end()
    assert ids(place, table) == [1]


@row("connection", "tpc_prepare")
def test_prepare_transaction(place, connection, table):
    xid = connection.xid(1, f"gtrid {table}", "b")
    connection.tpc_begin(xid)
    run(connection, f"insert into {table} values (1)")
    if place.is_dws:
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
            connection.tpc_prepare()
        assert "Explicit prepare transaction is not supported." in str(caught.value)
        connection.tpc_rollback()
        usable(connection)
        assert ids(place, table) == []
        return
    connection.tpc_prepare()
    assert ids(place, table) == []
    connection.tpc_commit()
    assert ids(place, table) == [1]


@row("connection", "tpc_recover")
def test_recovery(place, connection, table):
    assert [xid for xid in connection.tpc_recover() if table in (xid.gtrid or "")] == []
    connection.rollback()
    if place.is_dws:
        return
    first = place.connect()
    first.tpc_begin(first.xid(1, table, "b"))
    run(first, f"insert into {table} values (1)")
    first.tpc_prepare()
    first.close()  # whoever comes later ends it
    found, = [xid for xid in connection.tpc_recover() if xid.gtrid == table]
    connection.rollback()
    connection.tpc_commit(found)
    assert ids(place, table) == [1]


# --- Sessions ------------------------------------------------------------------------------------

@row("connection", "cancel")
def test_cancel(place, connection):
    mark = f"cancel {place.target} {place.mode}"
    failures = []

    def sleep():
        try:
            value(connection, f"select pg_sleep(60) -- {mark}")
        except psycopg2.Error as error:
            failures.append(error.pgcode)

    thread = threading.Thread(target=sleep)
    thread.start()
    place.observer.wait_running(f"%{mark}")
    connection.cancel()
    thread.join(10)
    assert failures == ["57014"]
    usable(connection)
    connection.cancel()  # of nothing
    assert value(connection, "select 1") == 1


@row("connection", "reset")
def test_reset_gives_a_clean_session(place, table):
    connection = place.connect(options="-c work_mem=5MB", client_encoding="LATIN1")
    run(connection, f"insert into {table} values (1)")
    run(connection, "set work_mem to '9MB'")
    connection.commit()
    run(connection, "set datestyle to 'german'")
    run(connection, "create temporary table mine(i int)")
    run(connection, "prepare mine as select 1")
    run(connection, "select pg_advisory_lock(77)")
    run(connection, "declare held cursor with hold for select 1")
    connection.commit()
    connection.set_client_encoding("UTF8")
    run(connection, f"insert into {table} values (2)")
    connection.reset()
    assert connection.status == ext.STATUS_READY and connection.encoding == "LATIN1"
    assert value(connection, "show work_mem") == "5MB"
    assert value(connection, "show datestyle") == "ISO, MDY"
    for gone in ("select * from mine", "execute mine", "fetch held"):
        with pytest.raises(psycopg2.Error):
            run(connection, gone)
        connection.rollback()
    # The old backend may take a moment to end, where it could not be cleaned.
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    until = time.monotonic() + 5
    while value(connection, locks) != 0 and time.monotonic() < until:
        connection.rollback()
        time.sleep(0.02)
    assert value(connection, locks) == 0
    connection.close()
    assert ids(place, table) == [1]


@row("connection", "reset")
def test_reset_frees_the_backend(place, connection):
    """... of a session that was bound to it."""
    run(connection, "create temporary table mine(i int)")
    connection.commit()
    connection.reset()
    with pytest.raises(psycopg2.errors.UndefinedTable):
        run(connection, "select * from mine")
    connection.reset()
    connection.reset()
    assert value(connection, "select 1") == 1


# --- Transaction control -------------------------------------------------------------------------

@row("connection", "autocommit")
def test_autocommit(place, connection, table):
    connection.autocommit = True
    run(connection, f"insert into {table} values (1)")
    assert ids(place, table) == [1]
    assert connection.info.transaction_status == ext.TRANSACTION_STATUS_IDLE
    run(connection, "vacuum " + table)  # refuses to run inside a transaction
    connection.autocommit = False
    run(connection, f"insert into {table} values (2)")
    connection.rollback()
    assert ids(place, table) == [1]


LEVELS = {
    ext.ISOLATION_LEVEL_READ_COMMITTED: "read committed",
    ext.ISOLATION_LEVEL_REPEATABLE_READ: "repeatable read",
    ext.ISOLATION_LEVEL_SERIALIZABLE: "serializable",
}


@row("connection", "isolation_level", "set_isolation_level")
@pytest.mark.parametrize("level", LEVELS)
def test_isolation_levels(place, connection, level):
    expected = LEVELS[level]
    if place.is_dws and expected == "serializable":
        expected = "repeatable read"  # what DWS takes it for
    connection.set_isolation_level(level)
    assert connection.isolation_level == level
    assert value(connection, "show transaction_isolation") == expected
    connection.rollback()
    connection.isolation_level = None
    assert value(connection, "show transaction_isolation") == "read committed"
    connection.rollback()
    connection.set_isolation_level(ext.ISOLATION_LEVEL_AUTOCOMMIT)
    assert connection.autocommit


@row("connection", "set_session")
def test_set_session(place, connection):
    connection.set_session("REPEATABLE READ", readonly=True, deferrable=True)
    assert value(connection, "show transaction_isolation") == "repeatable read"
    assert value(connection, "show transaction_read_only") == "on"
    connection.rollback()
    connection.set_session("DEFAULT", readonly="default", deferrable="default", autocommit=True)
    assert value(connection, "show transaction_read_only") == "off"
    connection.set_session("REPEATABLE READ")  # SET default_transaction_isolation
    other = place.connect(autocommit=True)
    for _ in range(3):
        assert value(connection, "show transaction_isolation") == "repeatable read"
        assert value(other, "show transaction_isolation") == "read committed"
    other.close()


@row("connection", "deferrable")
def test_deferrable(connection):
    connection.deferrable = True
    assert connection.deferrable is True
    assert value(connection, "show transaction_deferrable") == "on"
    connection.rollback()
    connection.deferrable = None
    assert value(connection, "show transaction_deferrable") == "off"


@row("connection", "readonly")
def test_readonly_in_transactions(place, connection, table):
    connection.readonly = True
    assert connection.readonly is True
    assert value(connection, f"select count(*) from {table}") == 0
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        run(connection, f"insert into {table} values (1)")
    usable(connection)
    connection.readonly = None
    run(connection, f"insert into {table} values (2)")
    connection.commit()
    assert ids(place, table) == [2]


@row("connection", "readonly")
def test_readonly_with_autocommit(place, connection, table):
    connection.set_session(readonly=True, autocommit=True)
    other = place.connect(autocommit=True)
    for number in range(3):
        assert value(connection, "show transaction_read_only") == "on"
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            run(connection, f"insert into {table} values (1)")
        assert connection.info.transaction_status == ext.TRANSACTION_STATUS_IDLE
        run(other, f"insert into {table} values ({number + 10})")
        assert value(other, "show transaction_read_only") == "off"
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        run(connection, f"create table not_{table}(i int)")
    assert value(connection, f"select count(*) from {table}") == 3
    other.close()
    connection.set_session(readonly=False)
    run(connection, f"insert into {table} values (1)")
    assert ids(place, table) == [1, 10, 11, 12]


# --- Notifications, large objects ----------------------------------------------------------------

@row("connection", "notifies")
def test_listen_and_notify(place, connection):
    connection.autocommit = True
    assert connection.notifies == []
    if place.is_dws:
        assert "LISTEN" in refused(connection, lambda: run(connection, "listen channel"))
        refused(connection, lambda: run(connection, "notify channel"))
        return
    run(connection, "listen channel")
    sender = place.connect(autocommit=True)
    run(sender, "notify channel, 'payload'")
    assert select.select([connection], [], [], 10)[0]
    connection.poll()
    note, = connection.notifies
    assert (note.channel, note.payload) == ("channel", "payload")
    sender.close()


@row("connection", "lobject")
def test_large_objects(place, connection):
    if place.is_dws:
        # libpq asks for the functions' numbers first, in the transaction that then fails.
        with pytest.raises(psycopg2.Error):
            connection.lobject(0, "wb")
        usable(connection)
        refused(connection, lambda: run(connection, "select lo_create(0)"))
        return
    large = connection.lobject(0, "wb")
    large.write(b"abc" * 1000)
    oid = large.oid
    large.close()
    connection.commit()
    large = connection.lobject(oid, "rb")
    assert large.read() == b"abc" * 1000
    large.close()
    connection.lobject(oid).unlink()
    connection.commit()


# --- Asynchronous --------------------------------------------------------------------------------

def wait(connection):
    """Drives an asynchronous connection until it has nothing to do."""
    while True:
        state = connection.poll()
        if state == ext.POLL_OK:
            return
        reading = [connection] if state == ext.POLL_READ else []
        writing = [] if reading else [connection]
        ready = select.select(reading, writing, [], 10)
        assert ready[0] or ready[1], "no answer"


@row("connection", "poll", "fileno", "isexecuting")
def test_asynchronous_connection(place):
    connection = place.connect(async_=1)
    assert connection.fileno() > 0
    wait(connection)
    cursor = connection.cursor()
    cursor.execute("select pg_sleep(0.02), 5")
    assert connection.isexecuting()
    wait(connection)
    assert cursor.fetchone()[1] == 5 and not connection.isexecuting()
    cursor.execute("select 1/0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        wait(connection)
    cursor.execute("begin; select 1; commit; select 2")
    wait(connection)
    assert cursor.fetchone() == (2,)
    mark = f"async {place.target} {place.mode}"
    cursor.execute(f"select pg_sleep(60) -- {mark}")
    deadline = time.time() + 10
    while not place.observer.running(f"%{mark}"):
        assert time.time() < deadline
        connection.poll()
    connection.cancel()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        wait(connection)
    connection.close()


@row("connection", "poll")
def test_green_mode(place, table):
    """How psycopg2 works under gevent and eventlet: every wait goes through a callback."""
    waits = []

    def callback(connection):
        waits.append(1)
        wait(connection)

    ext.set_wait_callback(callback)
    try:
        connection = place.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(f"insert into {table} select generate_series(1, 100)")
            cursor.execute(f"select count(*) from {table}")
            assert cursor.fetchone() == (100,)
        with connection.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute(f"select id from {table} order by id")
            assert [found for found, in cursor] == list(range(1, 101))
        with pytest.raises(psycopg2.errors.DivisionByZero):
            run(connection, "select 1/0")
        connection.rollback()
        connection.close()
    finally:
        ext.set_wait_callback(None)
    assert len(waits) > 15


def test_every_row_has_a_test(capsys):
    with capsys.disabled():
        print(f"\n{summary('connection')}")
    assert untested("connection") == []
