"""Every rule of the relay, in both directions, between a client and a real server."""

import socket
import struct
import time

import psycopg2
import pytest
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import TO_CLIENT, TO_SERVER, Relay, error_response
from dwspool_testing.wire import (SSL_REQUEST, Closed, Connection, bind, execute, fields, message,
                                  parse, query, sync)


@pytest.fixture
def relay(pg):
    with Relay(pg.port) as relay:
        yield relay


@pytest.fixture
def client(relay):
    with Connection("127.0.0.1", relay.port, timeout=5) as connection:
        connection.log_in()
        yield connection


@pytest.fixture
def table(pg, request):
    pg.psql("drop table if exists relayed; create table relayed(id int)")
    return "relayed"


def kinds(messages):
    return b"".join(kind for kind, _ in messages)


def rows(pg):
    return int(pg.psql("select count(*) from relayed"))


def rest_of(connection):
    """(bytes that still come, how the connection ends: reset, end or silence)."""
    connection.socket.settimeout(0.15)
    got = connection.buffer
    try:
        while chunk := connection.socket.recv(65536):
            got += chunk
        return got, "end"
    except ConnectionResetError:
        return got, "reset"
    except TimeoutError:
        return got, "silence"


ROW = message(b"D", struct.pack("!HI", 1, 1) + b"1")  # of select 1


def backends(pg, pid):
    return int(pg.psql(f"select count(*) from pg_stat_activity where pid = {pid}"))


@pytest.mark.parametrize("action, seen", [("reset", "reset"), ("fin", "end"),
                                          ("black_hole", "silence")])
@pytest.mark.parametrize("after, length", [(0, 0), (1, 1), (4, 4), (5, 5), (-1, len(ROW) - 1),
                                           (None, len(ROW)), (1000, len(ROW))])
def test_ends_within_an_answer(pg, relay, client, action, seen, after, length):
    rule = relay.rule(action, "D", TO_CLIENT, after=after)
    client.send(query("select 1"))
    got, end = rest_of(client)
    assert rule.fired == 1 and rule.where == [(1, "D", rule.where[0][2])]
    assert end == seen
    start = got.index(b"T")
    assert got[start + 1 + struct.unpack("!I", got[start + 1:start + 5])[0]:] == ROW[:length]
    if action != "black_hole":
        wait_until(lambda: backends(pg, client.pid) == 0, what="the backend's end")
    else:
        assert backends(pg, client.pid) == 1


@pytest.mark.parametrize("action, seen", [("reset", "reset"), ("fin", "end"),
                                          ("black_hole", "silence")])
@pytest.mark.parametrize("after, runs", [(0, 0), (3, 0), (-1, 0), (None, 1)])
def test_ends_within_a_request(pg, relay, client, table, action, seen, after, runs):
    rule = relay.rule(action, "Q", TO_SERVER, after=after)
    client.send(query(f"insert into {table} values (1)"))
    got, end = rest_of(client)
    assert rule.fired == 1 and end == seen and got == b""
    wait_until(lambda: rows(pg) == runs, what=f"{runs} rows")
    time.sleep(0.05)
    assert rows(pg) == runs


@pytest.mark.parametrize("action, seen", [("reset", "reset"), ("fin", "end")])
def test_only_one_end_is_told(pg, relay, client, action, seen):
    relay.rule(action, "Q", TO_SERVER, after=0, ends="client")
    client.send(query("select 1"))
    assert rest_of(client) == (b"", seen)
    client.close()
    time.sleep(0.1)
    assert backends(pg, client.pid) == 1  # half open, as behind a crashed machine
    with Connection("127.0.0.1", relay.port, timeout=5) as second:
        second.log_in()
        relay.rule(action, "Q", TO_SERVER, after=0, ends="server")
        second.send(query("select 1"))
        wait_until(lambda: backends(pg, second.pid) == 0, what="the backend's end")
        assert rest_of(second) == (b"", "silence")
    relay.cut()
    wait_until(lambda: backends(pg, client.pid) == 0, what="the backend's end")
    assert relay.open == []


@pytest.mark.parametrize("direction, frame, after", [
    (TO_SERVER, "Q", 0), (TO_SERVER, "Q", 2), (TO_SERVER, "Q", None),
    (TO_CLIENT, "D", 0), (TO_CLIENT, "D", 6), (TO_CLIENT, "Z", None)])
def test_delay(relay, client, direction, frame, after):
    rule = relay.rule("delay", frame, direction, after=after, seconds=0.15)
    started = time.time()
    assert kinds(client.ask("select 1")) == b"TDCZ"
    first = time.time() - started
    started = time.time()
    assert kinds(client.ask("select 1")) == b"TDCZ"
    second = time.time() - started
    assert rule.fired == 1
    # What is behind the frame comes late: the next request or its answer.
    slow, fast = (second, first) if after is None else (first, second)
    assert slow >= 0.1 > fast


def test_delay_leaves_the_other_direction_and_other_connections_alone(pg, relay, client, table):
    relay.rule("delay", "C", TO_CLIENT, connection=1, after=0, seconds=0.4)
    client.send(query(f"insert into {table} values (1)") + query(f"insert into {table} values (2)"))
    started = time.time()
    with Connection("127.0.0.1", relay.port) as other:
        other.log_in()
        other.ask("select 1")
    wait_until(lambda: rows(pg) == 2, what="both rows")
    assert time.time() - started < 0.35
    assert kinds(client.until_ready(2)) == b"CZCZ"


def test_replace_an_answer(relay, client):
    rule = relay.rule("replace", "D", TO_CLIENT, error=("XX001", "no row today"))
    seen = client.ask("select 1")
    assert kinds(seen) == b"TECZ" and fields(seen[1][1])["C"] == "XX001"
    assert rule.fired == 1
    assert kinds(client.ask("select 1")) == b"TDCZ"


def test_replace_a_request(pg, relay, client, table):
    relay.rule("replace", "Q", TO_SERVER, contains=b"insert", ready=b"I",
               error=("08006", "pooler: failed to create 1 connections"))
    seen = client.ask(f"insert into {table} values (1)")
    assert kinds(seen) == b"EZ" and fields(seen[0][1])["C"] == "08006"
    assert rows(pg) == 0
    assert kinds(client.ask(f"insert into {table} values (1)")) == b"CZ"
    assert rows(pg) == 1


def test_replace_by_bytes(relay, client):
    relay.rule("replace", "Q", TO_SERVER, data=query("select 'other'"))
    assert b"other" in client.ask("select 1")[1][1]
    relay.rule("replace", "D", TO_CLIENT, data=ROW + ROW)
    assert kinds(client.ask("select 1")) == b"TDDCZ"


@pytest.mark.parametrize("after, order", [(0, b"TNDCZ"), (None, b"TDNCZ")])
def test_inject_a_notice_into_an_answer(relay, client, after, order):
    relay.rule("inject", "D", TO_CLIENT, after=after,
               error=("57P02", "the last word", "WARNING"))
    seen = client.ask("select 1")
    assert kinds(seen) == order
    notice = fields(dict(seen)[b"N"])
    assert (notice["S"], notice["C"], notice["M"]) == ("WARNING", "57P02", "the last word")


def test_inject_a_notice_on_a_request(relay, client):
    relay.rule("inject", "Q", TO_SERVER, after=0)
    assert kinds(client.ask("select 1")) == b"NTDCZ"
    relay.rule("inject", "Q", TO_SERVER, after=None)
    assert sorted(kinds(client.ask("select 1"))) == sorted(b"NTDCZ")


def test_inject_bytes_for_the_server(pg, relay, client, table):
    relay.rule("inject", "Q", TO_SERVER, after=0, data=query(f"insert into {table} values (7)"))
    client.ask("select 1")
    assert kinds(client.until_ready()) == b"TDCZ"
    assert rows(pg) == 1


def test_a_notice_waits_for_the_border_of_frames(relay, client):
    """A large row is on its way to the client when the request comes that injects."""
    relay.rule("delay", "D", TO_CLIENT, after=1000, seconds=0.3)
    client.send(query("select repeat('x', 100000)"))
    time.sleep(0.1)
    relay.rule("inject", "Q", TO_SERVER, after=0)
    client.send(query("select 1"))
    assert kinds(client.until_ready(2)) == b"TDNCZTDCZ"


def test_duplicate(pg, relay, client, table):
    relay.rule("duplicate", "Q", TO_SERVER, contains=b"insert")
    client.ask(f"insert into {table} values (1)")
    client.until_ready()
    assert rows(pg) == 2
    relay.rule("duplicate", "D", TO_CLIENT)
    assert kinds(client.ask("select 1")) == b"TDDCZ"


def test_which_frame(relay, client):
    third = relay.rule("inject", "D", TO_CLIENT, n=3, times=2)
    seen = client.ask("select generate_series(1, 12)")
    assert kinds(seen) == b"TDDDNDDDNDDDDDDCZ"
    assert third.fired == 2 and third.seen == 6
    always = relay.rule("inject", "D", TO_CLIENT, times=None)
    assert kinds(client.ask("select generate_series(1, 3)")) == b"TDNDNDNCZ"
    relay.remove(always)
    named = relay.rule("inject", "C", TO_CLIENT, contains=b"COMMIT")
    client.ask("begin")
    assert named.fired == 0
    assert kinds(client.ask("commit")) == b"CNZ"
    anything = relay.rule("inject", None, TO_CLIENT, n=2)
    assert kinds(client.ask("select 1")) == b"TDNCZ"
    assert anything.where[0][1] == "D"


def test_extended_frames(relay, client):
    relay.rule("inject", "B", TO_SERVER, after=0)
    client.send(parse("", "select 1") + bind("", "") + execute() + sync())
    assert sorted(kinds(client.until_ready())) == sorted(b"N12DCZ")


def test_connections_by_number(relay):
    rule = relay.rule("reset", "Q", TO_SERVER, connection=2)
    ends = []
    for _ in range(3):
        with Connection("127.0.0.1", relay.port, timeout=5) as connection:
            connection.log_in()
            connection.send(query("select 1"))
            ends.append(rest_of(connection)[1])
    assert ends == ["silence", "reset", "silence"]
    assert rule.fired == 1 and relay.connections == 3
    wait_until(lambda: relay.open == [], what="end of all connections")


def test_start_up_frames(relay):
    relay.rule("reset", "startup", TO_SERVER, after=6)
    with Connection("127.0.0.1", relay.port, timeout=5) as connection:
        with pytest.raises((Closed, ConnectionResetError)):
            connection.log_in()
    relay.rule("replace", "startup", TO_SERVER,
               error=("57P03", "the database system is starting up", "FATAL"))
    with Connection("127.0.0.1", relay.port, timeout=5) as connection:
        kind, body = connection.log_in()[-1]
        assert kind == b"E" and fields(body)["C"] == "57P03"
    ready = relay.rule("replace", "K", TO_CLIENT, data=error_response("53300", "full", "FATAL"))
    with Connection("127.0.0.1", relay.port, timeout=5) as connection:
        assert connection.log_in()[-1][0] == b"E" and ready.fired == 1


def test_ssl_request_refused_and_cancel(pg, relay, client):
    with Connection("127.0.0.1", relay.port, timeout=5) as connection:
        asked = relay.rule("delay", "ssl", TO_SERVER, seconds=0)
        connection.send(SSL_REQUEST)
        assert connection.receive_bytes(1) == b"N" and asked.fired == 1
        connection.log_in()
        assert kinds(connection.ask("select 1")) == b"TDCZ"
    lost = relay.rule("black_hole", "cancel", TO_SERVER, after=0)
    with psycopg2.connect(host="127.0.0.1", port=relay.port, user="postgres") as connection:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    with socket.create_connection(("127.0.0.1", relay.port)) as cancel:
        cancel.sendall(struct.pack("!IIII", 16, 80877102, client.pid, 0))
        lost.wait()


def test_passes_everything_without_rules(relay, client):
    """Large frames, many small ones, frames in pieces."""
    seen = client.ask("select repeat('x', 3000000) union all select 'y'")
    assert kinds(seen) == b"TDDCZ" and len(seen[1][1]) > 3000000
    assert len(client.ask("select generate_series(1, 50000)")) == 50003
    for byte in query("select 1"):
        client.send(bytes([byte]))
        time.sleep(0.001)
    assert kinds(client.until_ready()) == b"TDCZ"
    late = relay.rule("inject", "D", TO_CLIENT)  # a rule that comes later finds the frames
    assert kinds(client.ask("select 1")) == b"TDNCZ" and late.fired == 1


def test_a_slow_reader_slows_the_server(pg, relay, client):
    client.send(query("select repeat('x', 1000) from generate_series(1, 100000)"))
    time.sleep(0.3)
    link, = relay._links
    assert len(link.to_client.out) < 1 << 20
    assert len(client.until_ready()) == 100003


def test_ends_and_refusals_pass(pg, relay, client):
    pg.psql(f"select pg_terminate_backend({client.pid})")
    kind, body = client.until_closed()[-1]
    assert kind == b"E" and fields(body)["C"] == "57P01"
    relay.target_port = free_port()  # nobody is there
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(host="127.0.0.1", port=relay.port, user="postgres")


def test_close_ends_all(pg):
    relay = Relay(pg.port)
    connection = Connection("127.0.0.1", relay.port, timeout=5)
    connection.log_in()
    relay.close()
    assert rest_of(connection)[1] in ("reset", "end")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", relay.port))


@pytest.mark.parametrize("bad", [dict(action="explode"), dict(action="reset", direction="up"),
                                 dict(action="inject", after=3), dict(action="fin", n=0),
                                 dict(action="fin", ends="nobody")])
def test_rules_that_make_no_sense(relay, bad):
    with pytest.raises(ValueError):
        relay.rule(**bad)
