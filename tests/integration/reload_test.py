"""SIGHUP: what changes, what cannot, and that no client feels it."""

import signal
import threading
import time
from contextlib import closing

import psycopg2
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.ports import free_port
from dwspool_testing.postgres import Postgres
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import Relay


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


def reload(proxy, result="good", **changes):
    """Writes the configuration with these changes, and waits until it was read."""
    proxy.config.update(changes)
    proxy.write_config()
    before = proxy.metric("dwspool_config_reloads_total", result=result)
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.metric("dwspool_config_reloads_total", result=result) > before,
               what="a reload")


def connect(proxy, user="postgres", **options):
    connection = psycopg2.connect(proxy.dsn(user, **options))
    connection.autocommit = True
    return connection


def value(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_a_bad_file_changes_nothing_and_is_reported(trusting):
    proxy = trusting()
    client = connect(proxy)
    reload(proxy, "bad", defaults={"pool_size": 0}, databases={})
    assert value(client, "select 1") == 1
    assert value(connect(proxy), "select 2") == 2
    assert proxy.metric("dwspool_config_last_reload_successful") == 0
    log = proxy.log()
    assert "[config.reload_failed]" in log
    assert "defaults.pool_size" in log and "databases" in log and ":" in log
    reload(proxy, defaults={"pool_size": 2}, databases={"*": {}})
    assert proxy.metric("dwspool_config_last_reload_successful") == 1


def test_what_needs_a_restart_is_named_and_the_rest_holds(trusting):
    proxy = trusting()
    reload(proxy, workers=3, max_client_conn=17)
    assert proxy.metric("dwspool_workers") == 1
    assert proxy.metric("dwspool_max_clients") == 17
    assert "[config.needs_restart]" in proxy.log() and "key=workers" in proxy.log()


def test_the_log_level_changes(trusting):
    proxy = trusting(log={"level": "warning"})
    connect(proxy).close()
    assert "client.logged_in" not in proxy.log()
    reload(proxy, log={"level": "debug"})
    connect(proxy).close()
    wait_until(lambda: "client.logged_in" in proxy.log(), what="a line of the log")


def test_a_new_user_comes_in_and_one_who_is_gone_ends_between_transactions(pg, proxies):
    users = {"app": {"password": "app secret"}, "other": {"password": "other secret"}}
    proxy = proxies({
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"app": users["app"]},
    })
    staying = connect(proxy, "app", password="app secret")
    with pytest.raises(psycopg2.OperationalError):
        connect(proxy, "other", password="other secret")
    reload(proxy, users=users)
    leaving = psycopg2.connect(proxy.dsn("other", password="other secret"))
    idle = connect(proxy, "other", password="other secret")
    with leaving.cursor() as cursor:
        cursor.execute("select current_user")
        reload(proxy, users={"app": users["app"]})
        cursor.execute("select current_user")
        assert cursor.fetchone() == ("other",)
        leaving.commit()
        with pytest.raises(psycopg2.Error):
            cursor.execute("select 1")
    with pytest.raises(psycopg2.Error):
        value(idle, "select 1")
    with pytest.raises(psycopg2.OperationalError):
        connect(proxy, "other", password="other secret")
    assert value(staying, "select current_user") == "app"


def test_a_password_that_was_wrong_is_corrected(pg, proxies):
    config = {
        "auth_method": "trust",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"app": {"backend_password": "wrong"}},
    }
    proxy = proxies(config)
    with pytest.raises(psycopg2.OperationalError):
        connect(proxy, "app")
    reload(proxy, users={"app": {"backend_password": "app secret"}})
    assert value(connect(proxy, "app"), "select current_user") == "app"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_size_of_a_pool_follows(trusting, observer, workers):
    proxy = trusting(workers=workers, defaults={"pool_size": 3})
    role = observer.role()
    clients = [psycopg2.connect(proxy.dsn(role)) for _ in range(5)]
    for client in clients[:3]:
        with client.cursor() as cursor:
            cursor.execute("select 1")

    def backends():
        return observer.value(
            f"select count(*) from pg_stat_activity where usename = '{role}'")

    assert backends() == 3
    reload(proxy, defaults={"pool_size": 1})
    assert backends() == 3  # they are in use
    for client in clients[:3]:
        client.commit()
    wait_until(lambda: backends() <= 1, what="surplus backends are closed")
    reload(proxy, defaults={"pool_size": 5})
    for client in clients:
        with client.cursor() as cursor:
            cursor.execute("select 1")
    assert backends() == 5


def test_who_waits_gets_the_places_that_are_new(trusting, observer):
    proxy = trusting(defaults={"pool_size": 1})
    role = observer.role()
    first, second = (psycopg2.connect(proxy.dsn(role)) for _ in range(2))
    with first.cursor() as cursor:
        cursor.execute("select 1")
    got = []
    thread = threading.Thread(target=lambda: got.append(value(second, "select 2")))
    thread.start()
    wait_until(lambda: proxy.metric("dwspool_pool_clients", user=role, state="waiting") == 1,
               what="a client waits")
    reload(proxy, defaults={"pool_size": 2})
    thread.join(10)
    assert got == [2]


def test_a_session_keeps_its_mode_and_new_ones_have_the_new_one(trusting, observer):
    proxy = trusting("session")
    role = observer.role()
    old = connect(proxy, role)
    pid = value(old, "select pg_backend_pid()")
    reload(proxy, defaults={"pool_mode": "transaction", "pool_size": 2})
    new = connect(proxy, role)
    assert value(old, "select pg_backend_pid()") == pid
    value(new, "select 1")
    wait_until(lambda: proxy.metric("dwspool_pool_backends", user=role, state="lent") == 1,
               what="its backend to be back")


def test_coordinators_come_and_go(pg, trusting, observer):
    """Both lead to the same server; what matters is by which way."""
    with closing(Relay(pg.port)) as one, closing(Relay(pg.port)) as two:
        proxy = trusting(clusters={"main": {"coordinators": [f"127.0.0.1:{one.port}"]}})
        role = observer.role()
        client, busy = connect(proxy, role), psycopg2.connect(proxy.dsn(role))
        value(busy, "select 1")
        value(client, "set search_path = 'kept'; select 1")

        def connections(relay):
            return proxy.metric("dwspool_coordinator_connections",
                                coordinator=f"127.0.0.1:{relay.port}")

        assert connections(one) == 2
        reload(proxy, clusters={"main": {"coordinators": [f"127.0.0.1:{two.port}"]}})
        assert value(client, "show search_path") == "kept"
        assert connections(two) == 1
        with busy.cursor() as cursor:
            cursor.execute("select 2")  # its transaction is on the other one, and goes on
        busy.commit()
        value(busy, "select 3")
        # And nobody reports about the one that is gone.
        series = [name for name in proxy.metrics() if f"127.0.0.1:{one.port}" in name]
        assert series == []
        client.close()
        busy.close()


def test_listening_elsewhere(trusting):
    proxy = trusting()
    client = connect(proxy)
    port = free_port()
    listen = list(proxy.config["listen"])
    reload(proxy, listen=listen + [{"host": "127.0.0.1", "port": port}])
    other = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
    reload(proxy, listen=[{"host": "127.0.0.1", "port": port}])
    assert value(client, "select 1") == 1
    with pytest.raises(psycopg2.OperationalError):
        connect(proxy)
    assert value(other, "select 2") == 2
    # An address that is taken: everything stays as it is.
    reload(proxy, "bad", max_client_conn=3,
           listen=listen + [{"host": "127.0.0.1", "port": proxy.http_port}],
           http={"host": "127.0.0.1", "port": proxy.http_port + 1})
    assert "cannot listen on" in proxy.log()
    assert proxy.metric("dwspool_max_clients") == 1000


def test_a_database_that_leads_elsewhere(pg, trusting, observer):
    """A client that is connected goes there with its next transaction, also one who waits."""
    other = Postgres(name="elsewhere").init().start()
    try:
        proxy = trusting(clusters={"main": {"coordinators": [f"127.0.0.1:{pg.port}"]},
                                   "new": {"coordinators": [f"127.0.0.1:{other.port}"]}},
                         databases={"app": {"cluster": "main", "database": "postgres"}},
                         defaults={"pool_size": 1})
        first, second = (psycopg2.connect(proxy.dsn("postgres", "app")) for _ in range(2))
        port = "select inet_server_port()"
        assert value(first, port) == pg.port  # in a transaction
        got = []
        thread = threading.Thread(target=lambda: got.append(value(second, port)))
        thread.start()
        wait_until(lambda: proxy.metric("dwspool_pool_clients", state="waiting") == 1,
                   what="a client waits")
        reload(proxy, databases={"app": {"cluster": "new", "database": "postgres"}})
        thread.join(10)
        assert got == [other.port]
        assert value(first, port) == pg.port
        first.commit()
        second.commit()
        assert value(first, port) == other.port
        first.commit()
        wait_until(lambda: proxy.metric("dwspool_coordinator_connections", cluster="main") == 0,
                   what="the old pool is left")
    finally:
        other.destroy()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_reload_loop_under_load_gives_no_error(trusting, observer, workers):
    """Pool sizes up and down, knobs, levels, and in between files that are bad."""
    proxy = trusting(workers=workers, defaults={"pool_size": 3})
    role = observer.role()
    counter = observer.table("n int")
    stop = time.time() + 2.5
    errors, done = [], []

    def work(number):
        try:
            connection = psycopg2.connect(proxy.dsn(role))
            while time.time() < stop:
                with connection.cursor() as cursor:
                    cursor.execute("set application_name = %s", (f"w{number}",))
                    cursor.execute(f"insert into {counter} values (%s)", (number,))
                    cursor.execute("show application_name")
                    assert cursor.fetchone() == (f"w{number}",)
                connection.commit()
                done.append(number)
        except Exception as error:  # noqa: BLE001
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    rounds = 0
    while time.time() < stop:
        rounds += 1
        bad = rounds % 4 == 0
        defaults = {"pool_size": 0 if bad else 1 + rounds % 5, "defer_begin": rounds % 3 != 0,
                    "max_prepared_statements": rounds % 7, "min_pool_size": rounds % 2}
        reload(proxy, "bad" if bad else "good", defaults=defaults)
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert rounds > 10
    assert observer.value(f"select count(*) from {counter}") == len(done)
