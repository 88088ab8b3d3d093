"""What the log says of clients: slow statements, who comes and goes; and what it does not say."""

import json
import os
import re
import signal
import threading
import time

import psycopg
import psycopg2
import pytest
from dwspool_testing.proxy import wait_until

JSON = {"level": "info", "format": "json"}


def lines(proxy, event=None):
    found = [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]
    return [line for line in found if event is None or line["event"] == event]


def slow(proxy):
    return lines(proxy, "client.slow_statement")


def connect(proxy, database="postgres", autocommit=True, **options):
    connection = psycopg2.connect(proxy.dsn(database=database, **options))
    connection.autocommit = autocommit
    return connection


def test_a_slow_statement_is_told_without_what_is_in_it(trusting):
    proxy = trusting(log={**JSON, "slow_statement": "200ms"})
    connection = connect(proxy, autocommit=False)
    cursor = connection.cursor()
    cursor.execute("select 'fast S3CRET'")
    cursor.execute("select pg_sleep(%s), 'S3CRET', \"name\" /* S3CRET */ from (select 1 as name) t",
                   (0.3,))
    connection.commit()
    (line,) = wait_until(lambda: slow(proxy), what="the line")
    assert line["level"] == "warning"
    assert line["user"] == "postgres" and line["database"] == "postgres"
    assert line["coordinator"].startswith("127.0.0.1:") and line["client"].startswith("127.0.0.1:")
    assert 300 <= line["milliseconds"] < 3000 and line["wait_milliseconds"] == 0
    assert line["text"] == 'select pg_sleep(?), ?, "name" from (select ? as name) t'
    assert re.fullmatch("[0-9a-f]{16}", line["statement"])
    cursor.execute("select pg_sleep(0.25), 'other', \"name\" from (select 2 as name) t")
    connection.close()
    wait_until(lambda: len(slow(proxy)) == 2, what="the second line")
    assert len({line["statement"] for line in slow(proxy)}) == 1
    assert "S3CRET" not in proxy.log()


def test_passwords_are_not_in_it(trusting, pg):
    proxy = trusting(log={**JSON, "slow_statement": "1ms"})
    connection = connect(proxy)
    pg.psql("create role locked")
    try:
        for sql in ("alter role locked password 'S3CRET'", "alter role locked encrypted password 'S3CRET'",
                    "set app.token = S3CRET", "select set_config('a.b', 'S3CRET', false)"):
            connection.cursor().execute(f"select pg_sleep(0.01); {sql}")
        connection.close()
        wait_until(lambda: len(slow(proxy)) >= 4, what="lines")
        assert "S3CRET" not in proxy.log()
        assert "alter role locked password..." in slow(proxy)[0]["text"]
    finally:
        pg.psql("drop role locked")


def test_the_wait_for_a_backend_is_apart(trusting):
    proxy = trusting(log={**JSON, "slow_statement": "100ms"}, defaults={"pool_size": 1})
    holder = connect(proxy, autocommit=False)
    holder.cursor().execute("select 1")
    waiter = connect(proxy)
    thread = threading.Thread(target=lambda: waiter.cursor().execute("select 'waits'"))
    thread.start()
    wait_until(lambda: proxy.metric("dwspool_pool_clients", state="waiting") == 1, what="a client waits")
    time.sleep(0.3)
    holder.rollback()
    thread.join(10)
    (line,) = wait_until(lambda: slow(proxy), what="the line")
    assert line["milliseconds"] >= line["wait_milliseconds"] >= 290
    assert line["milliseconds"] - line["wait_milliseconds"] < 100
    holder.close()
    waiter.close()


def test_the_extended_protocol_and_prepared_statements(trusting):
    proxy = trusting(log={**JSON, "slow_statement": "100ms"})
    with psycopg.connect(proxy.dsn(), autocommit=True) as connection:
        for _ in range(3):  # the second time by its name
            connection.execute("select pg_sleep(0.15), %s", ("S3CRET",), prepare=True)
    wait_until(lambda: len(slow(proxy)) == 3, what="three lines")
    assert {line["text"] for line in slow(proxy)} == {"select pg_sleep(?), $1"}
    with psycopg.connect(proxy.dsn(), autocommit=True) as connection, connection.pipeline():
        connection.execute("select 1")
        connection.execute("select pg_sleep(0.15)")
    wait_until(lambda: len(slow(proxy)) == 4, what="that of the pipeline")
    assert "S3CRET" not in proxy.log()


def test_it_cannot_flood(trusting):
    proxy = trusting(log={**JSON, "slow_statement": "1ms"})
    connection = connect(proxy)
    for _ in range(40):
        connection.cursor().execute("select pg_sleep(0.002)")
    connection.close()
    assert len(slow(proxy)) == 10


def test_a_database_may_have_a_limit_of_its_own(trusting):
    proxy = trusting(log={**JSON, "slow_statement": "100ms"},
                     databases={"*": {}, "patient": {"database": "postgres", "slow_statement": "10s"},
                                "silent": {"database": "postgres", "slow_statement": 0}})
    for database in ("patient", "silent", "postgres"):
        connection = connect(proxy, database)
        connection.cursor().execute("select pg_sleep(0.15)")
        connection.close()
    wait_until(lambda: slow(proxy), what="a line")
    assert [line["database"] for line in slow(proxy)] == ["postgres"]


@pytest.mark.parametrize("way", ["console", "file"])
def test_it_can_be_changed_while_clients_are_connected(trusting, way):
    proxy = trusting(log=JSON, console={"admin_users": ["boss"]}, users={"*": {}, "boss": {}})
    connection = connect(proxy)
    console = connect(proxy, "dwspool", user="boss")

    def change(**values):
        if way == "console":
            for key, value in values.items():
                console.cursor().execute(f"set {key} = {value}")
            return
        proxy.config["log"] = {**JSON, **{
            {"log_level": "level", "log_connections": "connections"}.get(key, key): value
            for key, value in values.items()}}
        proxy.write_config()
        reloads = proxy.log().count("config.reloaded")
        os.kill(proxy.process.pid, signal.SIGHUP)
        wait_until(lambda: proxy.log().count("config.reloaded") > reloads, what="the reload")

    def sleep():
        connection.cursor().execute("select pg_sleep(0.15)")

    sleep()
    assert slow(proxy) == []
    change(slow_statement="100ms", log_connections="all")
    sleep()
    sleep()
    wait_until(lambda: len(slow(proxy)) >= 1, what="a line")
    connect(proxy).close()
    (left,) = wait_until(lambda: lines(proxy, "client.left"), what="a client left")
    assert left["level"] == "info" and left["database"] == "postgres" and left["statements"] == 0
    assert len(lines(proxy, "client.logged_in")) == 1
    change(slow_statement="0", log_connections="none")
    count = len(slow(proxy))
    sleep()
    sleep()
    connect(proxy).close()
    assert len(slow(proxy)) == count and len(lines(proxy, "client.left")) == 1
    if way == "console":
        console.cursor().execute("set log_level = debug")
        connect(proxy).close()
        wait_until(lambda: len(lines(proxy, "client.left")) == 2, what="the line at level debug")
        assert lines(proxy, "client.left")[-1]["level"] == "debug"
        with console.cursor() as cursor:
            cursor.execute("show config")
            config = {row[0]: row[1:] for row in cursor.fetchall()}
        assert config["slow_statement"] == ("0", "0", "yes")
        assert config["log_connections"] == ("none", "none", "yes")
    connection.close()
    console.close()


def test_connections_can_be_sampled(trusting):
    proxy = trusting(log={**JSON, "connections": "sampled"})
    for _ in range(25):
        connect(proxy).close()
    wait_until(lambda: proxy.metric("dwspool_pool_clients", state="idle") == 0, what="all have gone")
    assert len(lines(proxy, "client.logged_in")) == 10
    assert len(lines(proxy, "client.left")) == 10
    # The rest is counted, and told with the next line that is written.
    time.sleep(10.1)
    connect(proxy).close()
    assert lines(proxy, "client.logged_in")[-1]["suppressed"] == 15
