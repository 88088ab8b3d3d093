"""psycopg2 on GaussDB(DWS), the vendor's table row by row: the cursor. Each row through dwspool,
before a coordinator and before a PostgreSQL, in `auto` and in `session`."""

import datetime
import io

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext
import psycopg2.tz
import pytest
from dwspool_testing.api_table import row, summary, untested
from dwspool_testing.place import run, value


@pytest.fixture
def connection(place):
    connection = place.connect()
    yield connection
    connection.close()


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(place):
    return place.observer.table("id int, t text")


@row("cursor", "description", "rowcount", "rownumber", "lastrowid", "query", "statusmessage")
def test_what_a_cursor_tells(cursor, table):
    assert (cursor.description, cursor.rowcount, cursor.query) == (None, -1, None)
    cursor.execute(f"insert into {table} select i, 'x' from generate_series(1, 5) as i")
    assert (cursor.statusmessage, cursor.rowcount, cursor.lastrowid) == ("INSERT 0 5", 5, 0)
    cursor.execute(f"select id, t as text from {table} where id < %s", (4,))
    assert [column.name for column in cursor.description] == ["id", "text"]
    assert [column.type_code for column in cursor.description] == [23, 25]
    assert (cursor.statusmessage, cursor.rowcount, cursor.rownumber) == ("SELECT 3", 3, 0)
    cursor.fetchone()
    assert cursor.rownumber == 1
    assert cursor.query == f"select id, t as text from {table} where id < 4".encode()
    cursor.execute(f"update {table} set t = 'y' where id > 3")
    assert (cursor.statusmessage, cursor.description) == ("UPDATE 2", None)


@row("cursor", "close", "closed", "connection", "name")
def test_life_of_a_cursor(connection):
    cursor = connection.cursor()
    assert (cursor.closed, cursor.name, cursor.connection) == (False, None, connection)
    cursor.close()
    assert cursor.closed
    with pytest.raises(psycopg2.InterfaceError):
        cursor.execute("select 1")
    named = connection.cursor('with "quotes"')
    named.execute("select generate_series(1, 3)")
    assert named.name == 'with "quotes"' and len(named.fetchall()) == 3
    named.close()
    # It is closed on the server, too.
    named = connection.cursor('with "quotes"')
    named.execute("select 1")
    assert named.fetchall() == [(1,)]


@row("cursor", "execute", "mogrify")
def test_execute(cursor):
    values = {"text": "it's \\ \x01 é €", "none": None, "list": [1, 2], "bytes": b"\x00\xff",
              "day": datetime.date(2026, 2, 3)}
    sql = "select %(text)s, %(none)s, %(list)s, %(bytes)s::bytea, %(day)s, 100 %% 7"
    assert b"2026-02-03" in cursor.mogrify(sql, values)
    cursor.execute(sql, values)
    text, none, numbers, data, day, rest = cursor.fetchone()
    assert (text, none, numbers, bytes(data), day, rest) == (
        values["text"], None, [1, 2], b"\x00\xff", values["day"], 2)
    cursor.execute("select 1; select 2; select 3")
    assert cursor.fetchall() == [(3,)]
    cursor.execute("end; select 'as the vendor advises'")
    assert cursor.fetchone() == ("as the vendor advises",)


@row("cursor", "executemany")
def test_executemany(cursor, table):
    cursor.executemany(f"insert into {table} values (%s, %s)", [(i, str(i)) for i in range(100)])
    assert cursor.rowcount == 100
    cursor.execute(f"select count(*), sum(id) from {table}")
    assert cursor.fetchone() == (100, 4950)


@row("cursor", "callproc")
def test_callproc(place, connection, cursor):
    place.observer.rows("create or replace function api_twice(i int) returns int language sql as "
                        "'select 2 * i'")
    assert cursor.callproc("api_twice", [21]) == [21]
    assert cursor.fetchone() == (42,)
    cursor.callproc("api_twice", {"i": 4})
    assert cursor.fetchone() == (8,)
    with pytest.raises(psycopg2.errors.UndefinedFunction):
        cursor.callproc("api_thrice", [1])
    connection.rollback()
    assert value(connection, "select 1") == 1


@row("cursor", "setinputsizes", "setoutputsize", "nextset")
def test_what_the_standard_asks_for(cursor):
    cursor.setinputsizes([10])
    cursor.setoutputsize(10, 1)
    cursor.execute("select %s", ("x" * 100,))
    assert cursor.fetchone() == ("x" * 100,)
    with pytest.raises(psycopg2.NotSupportedError):
        cursor.nextset()


@row("cursor", "fetchone", "fetchmany", "fetchall", "arraysize")
@pytest.mark.parametrize("name", [None, "named"])
def test_fetching(connection, name):
    with connection.cursor(name) as cursor:
        cursor.execute("select generate_series(1, 30)")
        assert cursor.fetchone() == (1,)
        assert len(cursor.fetchmany(5)) == 5
        cursor.arraysize = 3
        assert cursor.fetchmany() == [(7,), (8,), (9,)]
        assert cursor.fetchall()[-1] == (30,)
        assert cursor.fetchone() is None and cursor.fetchmany() == [] and cursor.fetchall() == []


@row("cursor", "itersize")
def test_itersize(place, connection):
    others = [place.connect() for _ in range(2)]
    with connection.cursor("portions") as cursor:
        assert cursor.itersize == 2000
        cursor.itersize = 10
        cursor.execute("select generate_series(1, 95)")
        seen = []
        for found, in cursor:
            seen.append(found)
            if found % 20 == 0:
                for other in others:
                    run(other, "select 1")
                    other.commit()
        assert seen == list(range(1, 96))
    for other in others:
        other.close()


@row("cursor", "scrollable")
def test_scrollable(place, connection):
    with connection.cursor("forward", scrollable=False) as cursor:
        assert cursor.scrollable is False
        cursor.execute("select generate_series(1, 10)")
        assert len(cursor.fetchall()) == 10
    cursor = connection.cursor("movable", scrollable=True)
    if place.is_dws:
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
            cursor.execute("select 1")
        assert "SCROLL CURSOR is not yet supported." in str(caught.value)
        connection.rollback()
        assert value(connection, "select 1") == 1
        return
    cursor.execute("select generate_series(1, 100)")
    cursor.scroll(49)
    assert cursor.fetchone() == (50,)
    cursor.scroll(-10)
    assert cursor.fetchone() == (41,)
    cursor.scroll(5, mode="absolute")
    assert cursor.fetchone() == (6,)
    cursor.close()


@row("cursor", "scroll")
def test_scroll(place, connection, cursor):
    cursor.execute("select generate_series(1, 10)")
    cursor.scroll(5)
    assert cursor.fetchone() == (6,)
    cursor.scroll(0, mode="absolute")
    assert cursor.fetchone() == (1,)
    with connection.cursor("named") as named:
        named.execute("select generate_series(1, 10)")
        named.scroll(5)
        assert named.fetchone() == (6,)
    if place.is_dws:
        # Forward works. Back DWS would not go, nor would it make a cursor that could.
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
            run(connection, "declare c cursor for select 1; fetch 1 from c; "
                            "move backward 1 from c")
        assert "BACKWARD is not yet supported." in str(caught.value)
        connection.rollback()
        assert value(connection, "select 1") == 1


@row("cursor", "withhold")
def test_withhold(place, connection):
    """A held cursor keeps its backend, and gives it up when it is closed."""
    others = [place.connect() for _ in range(3)]
    cursor = connection.cursor("held", withhold=True)
    assert cursor.withhold is True
    cursor.execute("select generate_series(1, 10)")
    assert cursor.fetchone() == (1,)
    connection.commit()
    for other in others:
        assert value(other, "select 1") == 1
        other.commit()
    assert [found for found, in cursor.fetchmany(4)] == [2, 3, 4, 5]
    connection.commit()
    assert [found for found, in cursor] == [6, 7, 8, 9, 10]
    cursor.close()
    connection.commit()
    with pytest.raises(psycopg2.errors.InvalidCursorName):
        run(connection, "fetch held")
    for other in others:
        other.close()


@row("cursor", "cast", "tzinfo_factory")
def test_types(connection, cursor):
    assert cursor.cast(23, "42") == 42 and cursor.cast(1082, "2026-02-03").month == 2
    cursor.tzinfo_factory = psycopg2.tz.FixedOffsetTimezone
    run(connection, "set time zone 'Asia/Shanghai'")
    cursor.execute("select timestamptz '2026-01-01 00:00:00+00'")
    moment, = cursor.fetchone()
    assert isinstance(moment.tzinfo, psycopg2.tz.FixedOffsetTimezone)
    assert moment.utcoffset() == datetime.timedelta(hours=8)
    connection.commit()
    cursor.execute("show time zone")
    assert cursor.fetchone() == ("Asia/Shanghai",)


LINES = "".join(f"{i}\ttext {i}\n" for i in range(5000))


@row("cursor", "copy_from", "copy_to")
def test_copy_from_and_to(cursor, table):
    cursor.copy_from(io.StringIO(LINES), table)
    cursor.copy_from(io.StringIO("7|\\N\n"), table, sep="|", columns=("id", "t"))
    back = io.StringIO()
    cursor.copy_to(back, table)
    assert back.getvalue() == LINES + "7\t\\N\n"


@row("cursor", "copy_expert")
@pytest.mark.parametrize("autocommit", [False, True], ids=["transaction", "autocommit"])
def test_copy_expert(connection, table, autocommit):
    connection.autocommit = autocommit
    with connection.cursor() as cursor:
        cursor.copy_expert(f"copy {table} from stdin", io.StringIO(LINES))
        assert cursor.rowcount == 5000
        back = io.StringIO()
        cursor.copy_expert(f"copy (select * from {table} order by id) to stdout with csv", back)
        assert back.getvalue() == LINES.replace("\t", ",")
        bad = LINES + "no number\tx\n" + LINES
        with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
            cursor.copy_expert(f"copy {table} from stdin", io.StringIO(bad))
        if not autocommit:
            connection.rollback()
        cursor.execute(f"select count(*) from {table}")
        assert cursor.fetchone() == (5000 if autocommit else 0,)


@row("cursor", "pgresult_ptr")
def test_native_result(cursor):
    cursor.execute("select 1")
    assert cursor.pgresult_ptr


def test_every_row_has_a_test(capsys):
    with capsys.disabled():
        print(f"\n{summary('cursor')}")
    assert untested("cursor") == []
