"""What replay does for the sake of the cluster and of its other clients (doc/replay.md, "Keeping the
peace"): it ends the server process that a broken connection leaves behind, it does not carry a
statement that takes servers down from one to the next, and only so many wait."""

import threading
import time

import psycopg2
import psycopg2.errors
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import TO_SERVER, Relay
from fake_cn import MD5, Role
from replay_programs import PASSWORD, USER


@pytest.fixture
def before(proxies):
    """A dwspool before the relay."""

    def start(relay, replay=None, **defaults):
        return proxies({
            "console": {},
            "auth_method": "trust",
            "shutdown_timeout": "100ms",
            "defaults": {"pool_size": 4, **defaults},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{relay.port}"],
                                  "replay": replay or {}}},
            "databases": {"*": {}},
            "users": {"postgres": {}},
        })

    return start


def connect(port, **options):
    return psycopg2.connect(host="127.0.0.1", port=port, dbname="postgres",
                            **{"user": "postgres", **options})


def run(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.rowcount


# --- The process that is left behind -------------------------------------------------------------


def test_it_is_ended(pg, before):
    """dwspool's end of the connection is reset and the server's is not: its transaction would hold
    the row that the replay wants, for ever."""
    pg.psql("drop table if exists peace; create table peace(k int, v int);"
            "insert into peace values (1, 0), (2, 0)")
    with Relay(pg.port, keeps_port=True) as relay:
        connection = connect(before(relay).port)
        assert run(connection, "update peace set v = v + 1 where k = 1") == 1
        left = run(connection, "select pg_backend_pid()")  # another pid than before, the second time
        rule = relay.rule("reset", frame="Q", direction=TO_SERVER, after=0, ends="client",
                          contains=b"k = 2")
        began = time.monotonic()
        with pytest.raises(psycopg2.errors.SerializationFailure):
            run(connection, "update peace set v = v + 1 where k = 2")
        assert rule.fired == 1
        assert time.monotonic() - began < 10
        assert pg.psql(f"select count(*) from pg_stat_activity where pid = {left[0][0]}") == "0"
        connection.rollback()
        # Now without that look at the pid.
        assert run(connection, "update peace set v = v + 1 where k = 1") == 1
        rule = relay.rule("reset", frame="Q", direction=TO_SERVER, after=0, ends="client",
                          contains=b"k = 2")
        began = time.monotonic()
        assert run(connection, "update peace set v = v + 1 where k = 2") == 1
        connection.commit()
        assert rule.fired == 1
        assert time.monotonic() - began < 10
        connection.close()
    assert pg.psql("select v from peace order by k") == "1\n1"


def test_nobody_else_is_ended(pg, before):
    """Where addresses are translated in between, the server knows the process by another port: the
    replay waits until the server notices by itself."""
    pg.psql("drop table if exists peace; create table peace(k int, v int);"
            "insert into peace values (1, 0), (2, 0)")
    with Relay(pg.port) as relay:
        proxy = before(relay, replay_deadline="2s")
        idle = connect(pg.port)
        run(idle, "select 1")
        connection = connect(proxy.port)
        run(connection, "update peace set v = v + 1 where k = 1")
        relay.rule("reset", frame="Q", direction=TO_SERVER, after=0, ends="client",
                   contains=b"k = 2")
        with pytest.raises(psycopg2.errors.ConnectionFailure):
            run(connection, "update peace set v = v + 1 where k = 2")
        run(idle, "select 1")
        idle.close()
    wait_until(lambda: pg.psql("select sum(v) from peace") == "0", 5)


# --- A statement that takes servers down ---------------------------------------------------------


def attempts(rule):
    fired = rule.fired
    return lambda: rule.fired - fired


def test_a_statement_that_takes_servers_down_is_left_alone(pg, before):
    with Relay(pg.port) as relay:
        proxy = before(relay, replay_attempts=100)
        rule = relay.rule("reset", frame="Q", direction=TO_SERVER, times=None, contains=b"doom")
        connection = connect(proxy.port)
        with pytest.raises(psycopg2.errors.ConnectionFailure) as failure:
            run(connection, "select 'doom', 1")
        assert "look into that server's log" in failure.value.diag.message_hint
        assert rule.fired == 3  # once, and twice again
        wait_until(lambda: "replay.quarantined" in proxy.log(), 5)
        connection.rollback()
        again = attempts(rule)
        with pytest.raises(psycopg2.errors.ConnectionFailure):
            run(connection, "select 'doom', 2")  # the same but for its values
        assert again() == 1
        connection.rollback()
        assert run(connection, "select 1") == [(1,)]
        assert proxy.metric("dwspool_replay_refused_total", reason="quarantined") == 1
        connection.close()


def test_it_can_be_switched_off(pg, before):
    with Relay(pg.port) as relay:
        proxy = before(relay, replay={"quarantine_after": 0}, replay_attempts=5)
        rule = relay.rule("reset", frame="Q", direction=TO_SERVER, times=None, contains=b"doom")
        connection = connect(proxy.port)
        with pytest.raises(psycopg2.errors.ConnectionFailure):
            run(connection, "select 'doom'")
        assert rule.fired == 6
        connection.close()


# --- Those who wait ------------------------------------------------------------------------------


def test_only_so_many_wait(pg, fake, proxies):
    pg.psql("drop table if exists peace; create table peace(k int)")
    cn = fake(Role(USER, PASSWORD, MD5, pg_user="postgres"))
    proxy = proxies({
        "auth_method": "trust",
        "shutdown_timeout": "100ms",
        "defaults": {"pool_size": 10},
        "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}"],
                             "replay": {"max_waiting": 2}}},
        "databases": {"*": {}},
        "users": {USER: {"password": PASSWORD}},
    })
    clients = [connect(proxy.port, user=USER) for _ in range(6)]
    for client in clients:
        run(client, "select 1")
        client.rollback()
    results = []

    def ask(client):
        try:
            results.append(run(client, "select count(*) from peace"))
        except psycopg2.Error as error:
            results.append(error.pgcode)

    cn.switchover(seconds=1.5)
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    wait_until(lambda: len(results) == 4, 5)
    assert time.monotonic() - began < 1.4  # at once: the others still wait
    assert results == ["08006"] * 4
    assert proxy.metric("dwspool_replay_waiting", database="postgres") == 2
    for thread in threads:
        thread.join(10)
    assert results[4:] == [[(0,)]] * 2
    assert proxy.metric("dwspool_replay_refused_total", reason="crowded") == 4
    assert proxy.metric("dwspool_replay_waiting", database="postgres") == 0
    for client in clients:
        client.close()
