"""The fake coordinator by itself does to sessions and transactions what DWS would. What is proved
with it is worth no more than it is."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import psycopg2
import psycopg2.errors
import pytest
from dwspool_testing import wire
from dwspool_testing.gauss import GaussConnection
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import fields
from fake_cn import CODES, Role, sqltext

POOLER = CODES["08006"]
ANY = Role("any", kind="trust", pg_user="postgres")


@pytest.fixture
def cn(fake):
    return fake(ANY)


def connect(cn, user="any", password=None, autocommit=False, **options):
    connection = psycopg2.connect(host="127.0.0.1", port=cn.port, user=user, password=password,
                                  dbname="postgres", **options)
    connection.autocommit = autocommit
    return connection


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def table(pg):
    pg.psql("drop table if exists played; create table played(v int)")
    return "played"


def rows(pg):
    return pg.psql("select coalesce(string_agg(v::text, ' ' order by v), '') from played")


# --- What DWS refuses ----------------------------------------------------------------------------

REFUSED = [
    ("discard all", "0A000", "DISCARD statement is not yet supported."),
    ("listen a", "0A000", "LISTEN statement is not yet supported."),
    ("notify a", "0A000", "NOFITY statement is not yet supported."),
    ("unlisten *", "0A000", "UNLISTEN statement is not yet supported."),
    ("prepare transaction 'x'", "0A000", "Explicit prepare transaction is not supported."),
    ("declare c scroll cursor for select 1", "0A000", "SCROLL CURSOR is not yet supported."),
    ("select lo_create(0)", "0A000", "large object is not yet supported."),
    ("set default_transaction_read_only to on", "0A000", None),
    ("set session characteristics as transaction read only", "0A000", None),
    ("select txid_status(1)", "42883", None),
]


@pytest.mark.parametrize("sql, code, text", REFUSED, ids=[sql for sql, *_ in REFUSED])
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_refusals(cn, sql, code, text, extended):
    def ask(client):
        if not extended:
            return client.ask(sql)
        client.send(wire.parse("", sql) + wire.bind("", "") + wire.describe("P", "") +
                    wire.execute() + wire.parse("", "select 2") + wire.sync())
        return client.until_ready()

    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        for block in (False, True):
            if block:
                client.ask("begin")
            seen = ask(client)
            assert seen[-2][0] == b"E"
            error = fields(seen[-2][1])
            assert error["C"] == code
            assert text in (None, error["M"])
            assert "V" not in error
            assert seen[-1] == (b"Z", b"E" if block else b"I")
        assert client.ask("rollback")[-1] == (b"Z", b"I")


def test_refusal_takes_what_is_before_it_along(cn, pg, table):
    connection = connect(cn, autocommit=True)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(connection, "insert into played values (1); discard all; insert into played values (2)")
    assert rows(pg) == ""
    connection.autocommit = False
    run(connection, "insert into played values (3)")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(connection, "listen x")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(connection, "listen x")
    connection.commit()
    assert rows(pg) == ""
    connection.close()


def test_large_objects_by_function_call(cn):
    connection = connect(cn)
    with pytest.raises(psycopg2.OperationalError):
        connection.lobject()
    connection.rollback()
    assert run(connection, "select 1") == [(1,)]


def test_serializable_is_repeatable_read(cn):
    connection = connect(cn)
    connection.set_session(isolation_level="SERIALIZABLE")
    assert run(connection, "show transaction_isolation") == [("repeatable read",)]
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT", autocommit=True)
    run(connection, "set default_transaction_isolation to 'serializable'")
    assert run(connection, "show transaction_isolation") == [("repeatable read",)]


def test_own_settings(cn):
    connection = connect(cn, autocommit=True)
    assert run(connection, "show max_query_retry_times") == [("6",)]
    run(connection, "set session_timeout = 100")
    assert run(connection, "show session_timeout") == [("100",)]
    run(connection, "set current_schema to pg_temp")
    assert run(connection, "show search_path") == [("pg_temp",)]
    run(connection, "alter session set work_mem = '5MB'")
    run(connection, "reset all")
    assert run(connection, "show session_timeout") == [("600",)]


@pytest.mark.parametrize("sql, touches, writes", [
    ("select 1", False, False), ("select f()", False, False), ("select now()", False, False),
    ("select * from t", True, False), ("select * from pg_class", False, False),
    ("select * from pg_class, t", True, False), ("select * from f(1)", False, False),
    ("select * from f(1) join s.t on true", True, False), ("/* from t */ select 1", False, False),
    ("select 'from t'", False, False), ("select * from (select 1 from \"T\") x", True, False),
    ("select extract(year from now())", False, False), ("select v from t for update", True, True),
    ("select nextval('s')", True, True), ("insert into t values (1)", True, True),
    ("with x as (delete from t returning *) select * from x", True, True),
    ("copy t from stdin", True, True), ("copy t to stdout", True, False),
    ("copy (select 1 from t) to stdout", True, False), ("(select 1 from t)", True, False),
    ("declare c cursor for select * from t", True, False), ("begin", False, False),
    ("explain select 1 from t", True, False), ("commit", False, False),
    ("set work_mem = '1MB'", False, False), ("select $$ from t $$", False, False),
    ("select node_name from pgxc_node", False, False),
])
def test_what_needs_a_data_node(sql, touches, writes):
    statement, = sqltext.statements(sql)
    assert (statement.touches, statement.writes) == (touches, writes)


# --- Sessions ------------------------------------------------------------------------------------

def test_session_timeout(fake):
    cn = fake(ANY, session_timeout=0.3)
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        client.ask("select pg_sleep(0.6)")  # not idle
        began = time.monotonic()
        (first, notice), (second, error) = client.until_closed()
        assert time.monotonic() - began > 0.2
        assert (first, second) == (b"N", b"E")
        assert fields(notice)["M"] == "Session unused timeout."
        assert (fields(error)["S"], fields(error)["C"]) == ("FATAL", "57P01")
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        client.ask("set session_timeout to 0")
        time.sleep(0.6)
        client.ask("select 1")


def cancel(cn, number, secret):
    """By hand: psycopg2's cancel() waits without letting other threads of this process run, and the
    fake coordinator is one."""
    with socket.create_connection(("127.0.0.1", cn.port)) as canceller:
        canceller.settimeout(10)
        canceller.sendall(wire.cancel_request(number, secret))
        assert canceller.recv(1) == b""


def test_cancel(cn):
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        client.send(wire.query("select pg_sleep(15)"))
        time.sleep(0.3)
        cancel(cn, client.pid, b"\1\2\3\4")
        assert cn.counts["cancels of nobody"] == 1
        cancel(cn, client.pid, client.secret)
        assert fields(client.until_ready()[-2][1])["C"] == "57014"
    assert cn.counts["cancels"] == 1


def test_nodes(fake):
    cn = fake(ANY, nodes=[("cn_5001", "127.0.0.1", 8000), ("cn_5002", "127.0.0.2", 8000)])
    connection = connect(cn)
    sql = "select node_name, node_host, node_port from pgxc_node n where node_type = 'C' order by 1"
    assert run(connection, sql) == [("cn_5001", "127.0.0.1", 8000), ("cn_5002", "127.0.0.2", 8000)]
    connection.rollback()
    cn.set_nodes([("cn_5003", "127.0.0.3", 8001)])
    assert run(connection, sql) == [("cn_5003", "127.0.0.3", 8001)]


# --- Switchover ----------------------------------------------------------------------------------

def test_switchover(cn, pg, table):
    connection = connect(cn)
    cn.switchover(seconds=1, doom=False)
    assert run(connection, "select 1") == [(1,)]
    connection.rollback()
    run(connection, "select 1")
    with pytest.raises(psycopg2.errors.ConnectionFailure) as caught:
        run(connection, "insert into played values (1)")
    assert caught.value.pgcode == "08006"
    assert caught.value.diag.message_primary == POOLER
    assert not connection.closed
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(connection, "select 1")
    connection.rollback()
    wait_until(lambda: not cn.status()["faults"])
    run(connection, "insert into played values (2)")
    connection.commit()
    assert rows(pg) == "2"


@pytest.mark.parametrize("code", sorted(CODES))
def test_all_codes_in_both_protocols(cn, code, table):
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        cn.switchover(code=code)
        error = fields(client.ask("select * from played")[-2][1])
        assert (error["S"], error["C"], error["M"]) == ("ERROR", code, CODES[code])
        client.send(wire.parse("", "select * from played") + wire.bind("", "") + wire.execute() +
                    wire.parse("p", "select 1") + wire.sync())
        seen = client.until_ready()
        assert [kind for kind, _ in seen] == [b"1", b"2", b"E", b"Z"]
        assert fields(seen[2][1])["C"] == code
        cn.heal()
        client.send(wire.bind("", "") + wire.execute() + wire.sync())
        assert [kind for kind, _ in client.until_ready()] == [b"2", b"C", b"Z"]


def test_chinese(cn, table):
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        cn.switchover(lang="zh")
        error = fields(client.ask("select * from played")[-2][1])
        assert error["S"] == "错误" and error["C"] == "08006" and "创建" in error["M"]


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("commit, left", [("lost", ""), ("done", "1"), ("pass", "1")])
def test_commit_fails(cn, pg, table, commit, left, extended):
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        client.ask("begin")
        client.ask("insert into played values (1)")
        cn.switchover(doom=False, commit=commit)
        if extended:
            client.send(wire.parse("", "commit") + wire.bind("", "") + wire.execute() + wire.sync())
            seen = client.until_ready()[2:]
        else:
            seen = client.ask("commit")
        assert [kind for kind, _ in seen] == ([b"C", b"Z"] if commit == "pass" else [b"E", b"Z"])
        if commit != "pass":
            error = fields(seen[0][1])
            assert error["C"] == "08000" and "COMMIT" in error["M"]
        assert seen[-1] == (b"Z", b"I")
        assert rows(pg) == left


def test_lost_transactions(cn, pg, table):
    """A transaction that was on the lost node fails, even when the switchover is over."""
    connection, reader = connect(cn), connect(cn)
    run(connection, "insert into played values (1)")
    run(reader, "select * from played")
    cn.switchover(seconds=0)
    with pytest.raises(psycopg2.OperationalError, match="COMMIT") as caught:
        connection.commit()
    assert caught.value.pgcode == "08000"
    assert rows(pg) == ""
    with pytest.raises(psycopg2.errors.ConnectionFailure):
        run(reader, "select * from played")
    reader.rollback()
    run(connection, "insert into played values (2)")
    connection.commit()
    assert rows(pg) == "2"


def test_autocommit_done_all_the_same(cn, pg, table):
    connection = connect(cn, autocommit=True)
    cn.fail_next(commit="done")
    with pytest.raises(psycopg2.OperationalError, match="COMMIT"):
        run(connection, "insert into played values (1)")
    assert connection.notices == []
    assert rows(pg) == "1"
    run(connection, "insert into played values (2)")
    assert rows(pg) == "1 2"


def test_coordinators_own_retry(cn, pg, table):
    connection = connect(cn, autocommit=True)
    cn.switchover(seconds=0.5, retry=True)
    began = time.monotonic()
    run(connection, "insert into played values (1)")
    assert time.monotonic() - began > 0.3
    assert rows(pg) == "1"
    cn.switchover(retry=True)
    with pytest.raises(psycopg2.errors.ConnectionFailure):
        run(connection, "begin; insert into played values (2)")
    connection.rollback()
    run(connection, "rollback")
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        client.send(wire.query("insert into played values (3)"))
        wait_until(lambda: cn.counts["held"] == 2)
        cancel(cn, client.pid, client.secret)
        assert fields(client.until_ready()[-2][1])["C"] == "57014"
    assert rows(pg) == "1"


def test_fail_next(cn, table):
    connection = connect(cn, autocommit=True)
    cn.fail_next(count=2, code="YY001")
    for _ in range(2):
        with pytest.raises(psycopg2.DatabaseError) as caught:
            run(connection, "select * from played")
        assert caught.value.pgcode == "YY001"
    run(connection, "select * from played")
    cn.fail_next(match="select 42", code="53200")
    run(connection, "select 41")
    with pytest.raises(psycopg2.errors.OutOfMemory):
        run(connection, "select 42")


def test_read_only(cn, table):
    connection = connect(cn, autocommit=True)
    cn.set_read_only()
    run(connection, "select * from played")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction, match="cannot execute INSERT"):
        run(connection, "insert into played values (1)")
    run(connection, "truncate played")
    cn.set_read_only(False)
    run(connection, "insert into played values (1)")


@pytest.mark.parametrize("mode", ["reset", "close"])
def test_death_and_return(cn, mode):
    connection = connect(cn)
    run(connection, "select 1")
    cn.die(mode)
    with pytest.raises(psycopg2.OperationalError):
        run(connection, "select 1")
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        connect(cn)
    cn.revive()
    assert run(connect(cn), "select 1") == [(1,)]
    assert cn.status()["alive"]


def test_freeze_and_kill(cn):
    connection = connect(cn, autocommit=True)
    cn.freeze()
    threading.Timer(0.3, cn.thaw).start()
    began = time.monotonic()
    run(connection, "select 1")
    assert time.monotonic() - began > 0.2
    connection.close()
    wait_until(lambda: cn.status()["sessions"] == 0)
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.enter("any")
        assert cn.kill_sessions() == 1
        (kind, error), = client.until_closed()
        assert kind == b"E" and fields(error)["C"] == "57P01"


# --- From a shell --------------------------------------------------------------------------------

def test_command_line_and_control(pg, tmp_path, table):
    path = str(tmp_path / "control")
    tests = os.path.join(os.path.dirname(__file__), "..")
    process = subprocess.Popen(
        [sys.executable, "-m", "fake_cn", "--upstream", f"127.0.0.1:{pg.port}", "--role",
         "m=secret,kind=md5,pg_user=postgres", "--control", path],
        env=dict(os.environ, PYTHONPATH=tests), stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(process.stdout.readline())["port"]
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(path)
            file = control.makefile("rw")

            def command(line):
                file.write(line + "\n")
                file.flush()
                return json.loads(file.readline())

            connection = psycopg2.connect(host="127.0.0.1", port=port, user="m", dbname="postgres",
                                          password="secret")
            assert command("switchover code=YY004")["ok"]
            with pytest.raises(psycopg2.DatabaseError) as caught:
                run(connection, "select * from played")
            assert caught.value.pgcode == "YY004"
            assert command("heal") == {"ok": True}
            assert command("status")["ok"]["roles"]["m"]["attempts"] == 1
            assert command("said pattern=played")["ok"] == ["select * from played"]
            assert "error" in command("nonsense")
            assert "error" in command("switchover lang=fr")
            assert "die" in command("help")["ok"]
            assert command("die mode=close") == {"ok": True}
            assert command("revive") == {"ok": True}
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_garbage(cn):
    for bytes_ in (b"\0\0\0\5\0", b"GET / HTTP/1.0\r\n\r\n", struct.pack("!II", 12, 80877105) +
                   b"1234"):
        with socket.create_connection(("127.0.0.1", cn.port)) as stranger:
            stranger.sendall(bytes_)
            stranger.settimeout(5)
            try:
                while stranger.recv(4096):
                    pass
            except ConnectionResetError:
                pass
