"""psycopg2 through dwspool to a coordinator of GaussDB(DWS), as far as one can be played."""

import threading
import time

import psycopg2
import psycopg2.errors
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, fields
from fake_cn import COMBINED, MD5, SHA256, Role

POOLER = ("pooler: failed to create 1 connections, Error Message: remote node dn_6003_6004, "
          "detail: could not connect to server: Operation now in progress")


@pytest.fixture
def before(proxies):
    """A dwspool before these coordinators, whose clients are trusted."""

    def start(*cns, password="Gauss@123", users=None, cluster=None, **defaults):
        return proxies({
            "auth_method": "trust",
            "shutdown_timeout": "2s",
            "defaults": {"pool_size": 4, "queue_timeout": "10s", **defaults},
            "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}" for cn in cns],
                                 **(cluster or {})}},
            "databases": {"*": {}},
            "users": users or {"dbadmin": {"password": password}},
        })

    return start


@pytest.fixture
def table(pg):
    pg.psql("drop table if exists played; create table played(v int)")
    return "played"


def dbadmin(password="Gauss@123", kind=SHA256, **options):
    return Role("dbadmin", password, kind, pg_user="postgres", **options)


def connect(proxy, user="dbadmin", password=None, autocommit=False, **options):
    connection = psycopg2.connect(proxy.dsn(user, "postgres", password, **options))
    connection.autocommit = autocommit
    return connection


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def opened(proxy):
    """What the log says about the only backend so far."""
    line, = [line for line in proxy.log().splitlines() if "backend.opened" in line]
    return line


# --- Log-in --------------------------------------------------------------------------------------

PASSWORDS = {
    "short": "Gauss@123", "block": "Aa1@" * 16, "block and one": "Aa1@" * 16 + "x",
    "long": "Aa1@" * 50, "not ASCII": "Пароль_密码_1é", "one character": "x",
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
@pytest.mark.parametrize("kind, code, method", [
    (SHA256, 10, "gaussdb-sha256"), (COMBINED, 10, "gaussdb-sha256"), (MD5, 5, "md5")])
def test_log_in(fake, before, password, kind, code, method):
    cn = fake(dbadmin(password, kind))
    proxy = before(cn, users={"dbadmin": {"password": password, "auth": "scram-sha-256"}})
    with connect(proxy, password=password) as connection:
        assert run(connection, "select 40 + 2") == [(42,)]
        assert connection.server_version == 90204
    assert cn.counts[f"challenge {code}"] == 1
    assert (cn.role("dbadmin").attempts, cn.role("dbadmin").wrong) == (1, 0)
    assert f"method={method}" in opened(proxy)


@pytest.mark.parametrize("iterations", [1, 2047, 2048, 9999, 12345, 50000, 1000000])
def test_iteration_counts(fake, before, iterations):
    cn = fake(dbadmin(iterations=iterations))
    assert run(connect(before(cn)), "select 1") == [(1,)]


def test_too_many_iterations(fake, before):
    cn = fake(dbadmin(iterations=5000))
    proxy = before(cn, cluster={"max_pbkdf2_iterations": 4999})
    with pytest.raises(psycopg2.OperationalError, match="5000 PBKDF2 iterations"):
        connect(proxy)
    assert cn.role("dbadmin").attempts == 0


def test_salt_of_a_changed_password(fake, before):
    """Derived keys are kept for a role, and must not outlive its password."""
    cn = fake(dbadmin())
    proxy = before(cn, server_lifetime="1s", pool_mode="transaction")
    run(connect(proxy), "select 1")
    cn.role("dbadmin").salt = "0" * 63 + "1"
    cn.role("dbadmin").set_password("Gauss@123")
    cn.kill_sessions()
    assert run(connect(proxy), "select 1") == [(1,)]
    assert cn.role("dbadmin").wrong == 0


@pytest.mark.parametrize("kind", [SHA256, COMBINED, MD5])
@pytest.mark.parametrize("severity", ["ERROR", "FATAL"])
def test_wrong_password_is_tried_once(fake, before, kind, severity):
    """Ten would lock the account for a day."""
    cn = fake(dbadmin(kind=kind), startup_severity=severity)
    other = fake(dbadmin(kind=kind), startup_severity=severity)
    proxy = before(cn, other, password="wrong")
    errors = []

    def knock():
        with Connection("127.0.0.1", proxy.port) as client:
            errors.append(fields(client.log_in("dbadmin")[-1][1]))

    for _ in range(2):
        threads = [threading.Thread(target=knock) for _ in range(15)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(errors) == 30
    for error in errors:
        assert error["C"] == "28P01"
        assert "Invalid username/password,login denied." in error["M"]
    assert [cn.role("dbadmin").wrong, other.role("dbadmin").wrong] in ([1, 0], [0, 1])
    assert "backend.password_refused" in proxy.log()


def test_locked_account_is_left_alone(fake, before):
    cn = fake(dbadmin(), failed_login_attempts=10)
    cn.role("dbadmin").locked = True
    proxy = before(cn)
    for _ in range(3):
        with pytest.raises(psycopg2.OperationalError, match="The account has been locked."):
            connect(proxy)
    assert cn.counts["locked"] == 1


def test_unknown_role(fake, before):
    cn = fake()
    with pytest.raises(psycopg2.OperationalError, match="login denied"):
        connect(before(cn))


def test_md5_of_a_sha256_role(fake, before):
    cn = fake(dbadmin(), hba="md5")
    with pytest.raises(psycopg2.OperationalError, match="stores as SHA256"):
        connect(before(cn))
    assert cn.role("dbadmin").attempts == 0


def test_starting_coordinator_is_passed_over(fake, before):
    starting, ready = fake(dbadmin()), fake(dbadmin())
    starting.refuse_logins()
    proxy = before(starting, ready)
    for _ in range(3):
        assert run(connect(proxy), "select 1") == [(1,)]
    assert ready.counts["logins"] >= 1


def test_expiring_password_is_logged(fake, before):
    cn = fake(dbadmin(login_notice="The password will expire in 5 days."))
    proxy = before(cn)
    run(connect(proxy), "select 1")
    assert "The password will expire in 5 days." in proxy.log()


def test_stock_driver_alone_cannot(fake):
    """What dwspool is for: straight to a coordinator that knows SHA256 only, libpq takes its
    request for SASL's."""
    cn = fake(dbadmin())
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(host="127.0.0.1", port=cn.port, user="dbadmin", password="Gauss@123",
                         dbname="postgres")
    assert "none of the server's SASL authentication mechanisms are supported" in str(caught.value)


@pytest.mark.parametrize("kind", [SHA256, MD5])
def test_dialect_is_found_out(fake, before, kind):
    """By the request for SHA256, or else by is_sysadmin."""
    proxy = before(fake(dbadmin(kind=kind)))
    connection = connect(proxy)
    run(connection, "select 1")
    assert "dialect=dws" in opened(proxy)
    assert connection.get_parameter_status("is_sysadmin") == "on"


# --- Sessions ------------------------------------------------------------------------------------

DIRT = "do $$ begin set default_transaction_isolation to 'repeatable read'; end $$"


@pytest.mark.parametrize("pool_mode", ["session", "auto"])
def test_cleaned_without_discard(fake, before, pool_mode):
    cn = fake(dbadmin())
    proxy = before(cn, pool_mode=pool_mode, pool_size=1)
    first = connect(proxy, autocommit=True)
    run(first, DIRT)
    run(first, "prepare p as select 1")
    run(first, "select pg_advisory_lock(4711)")
    run(first, "set work_mem = '7MB'")
    first.close()
    second = connect(proxy, autocommit=True)
    assert run(second, "show default_transaction_isolation") == [("read committed",)]
    assert run(second, "select count(*) from pg_prepared_statements where from_sql") == [(0,)]
    assert run(second, "select count(*) from pg_locks where locktype = 'advisory'") == [(0,)]
    assert run(second, "show work_mem") != [("7MB",)]
    assert cn.counts["logins"] == 1  # the very same backend
    assert cn.said("discard") == []
    assert cn.said("reset all")


def test_taken_for_postgres_it_is_cleaned_by_discard(fake, before):
    """And the coordinator refuses that: what the dialect is good for."""
    cn = fake(dbadmin())
    proxy = before(cn, pool_size=1, cluster={"dialect": "postgres"})
    first = connect(proxy, autocommit=True)
    run(first, DIRT)
    first.close()
    assert run(connect(proxy), "show default_transaction_isolation") == [("read committed",)]
    assert cn.counts["logins"] == 2
    assert cn.said("discard") == ["DISCARD ALL"]


def test_temporary_tables_end_with_their_backend(fake, before):
    cn = fake(dbadmin())
    proxy = before(cn, pool_size=1)
    first = connect(proxy, autocommit=True)
    run(first, "create temp table remains(v int)")
    first.close()
    second = connect(proxy, autocommit=True)
    with pytest.raises(psycopg2.errors.UndefinedTable):
        run(second, "select * from remains")
    assert cn.counts["logins"] == 2
    assert cn.said("discard") == []


def test_refusals_reach_the_application(fake, before):
    proxy = before(fake(dbadmin()))
    connection = connect(proxy, autocommit=True)
    for sql in ("listen a", "notify a", "select 1; discard all",
                "begin; set default_transaction_read_only to on"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run(connection, sql)
        run(connection, "rollback")
    connection = connect(proxy)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(connection, "declare c scroll cursor for select 1")
    connection.rollback()
    connection.tpc_begin(connection.xid(1, "a", "b"))
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        connection.tpc_prepare()


@pytest.mark.parametrize("pool_mode", ["transaction", "auto"])
def test_session_timeout_of_an_idle_backend(fake, before, pool_mode):
    """The coordinator ends what idles in the pool; no client hears of it."""
    cn = fake(dbadmin(), session_timeout=0.4)
    proxy = before(cn, pool_mode=pool_mode)
    connection = connect(proxy, autocommit=True)
    for _ in range(3):
        assert run(connection, "select 1") == [(1,)]
        ended = cn.counts["session timeouts"]
        wait_until(lambda: cn.counts["session timeouts"] > ended and not cn.status()["sessions"])
    assert run(connection, "select 1") == [(1,)]
    assert connection.notices == []


def test_session_timeout_of_a_kept_backend(fake, before):
    """A client that keeps its backend is ended as on a direct connection."""
    cn = fake(dbadmin(), session_timeout=0.4)
    proxy = before(cn, pool_mode="session")
    with Connection("127.0.0.1", proxy.port) as client:
        client.log_in("dbadmin")
        client.ask("select 1")
        kind, error = client.until_closed()[-1]
        assert kind == b"E"
        assert fields(error)["C"] == "57P01"


def test_idle_backends_are_closed_before_the_coordinator_does(fake, before):
    cn = fake(dbadmin(), session_timeout=3)
    proxy = before(cn, server_idle_timeout="1s")
    run(connect(proxy, autocommit=True), "select 1")
    wait_until(lambda: not cn.status()["sessions"], timeout=2.5)
    assert cn.counts["session timeouts"] == 0


# --- Switchover ----------------------------------------------------------------------------------

@pytest.mark.parametrize("autocommit", [False, True])
def test_switchover_is_an_error_and_no_more(fake, before, table, autocommit):
    cn = fake(dbadmin())
    proxy = before(cn, replay="off")
    connection = connect(proxy, autocommit=autocommit)
    run(connection, "insert into played values (1)")
    if not autocommit:
        connection.commit()
    cn.switchover(doom=False)
    with pytest.raises(psycopg2.OperationalError) as caught:
        run(connection, "insert into played values (2)")
    assert isinstance(caught.value, psycopg2.errors.ConnectionFailure)
    assert caught.value.pgcode == "08006"
    assert caught.value.diag.message_primary == POOLER
    assert connection.closed == 0
    connection.rollback()
    cn.heal()
    run(connection, "insert into played values (3)")
    connection.commit()
    assert run(connection, "select v from played order by v") == [(1,), (3,)]
    assert cn.counts["logins"] == 1


def test_lost_commit_is_an_error_and_no_more(fake, before, table):
    cn = fake(dbadmin())
    connection = connect(before(cn))
    run(connection, "insert into played values (1)")
    cn.switchover(seconds=0)
    with pytest.raises(psycopg2.OperationalError, match="COMMIT") as caught:
        connection.commit()
    assert caught.value.pgcode in ("08000", "08007")
    assert connection.closed == 0
    connection.rollback()
    assert run(connection, "select * from played") == []


def test_coordinators_own_retry_works_through_dwspool(fake, before, table):
    cn = fake(dbadmin())
    connection = connect(before(cn), autocommit=True)
    run(connection, "select 1")
    cn.switchover(seconds=0.5, retry=True)
    began = time.monotonic()
    run(connection, "insert into played values (1)")
    assert time.monotonic() - began > 0.3
    assert cn.counts["held"] == 1


def test_death_of_a_coordinator(fake, before, table):
    first, second = fake(dbadmin()), fake(dbadmin())
    # Log-ins are counted: no probes.
    proxy = before(first, second, cluster={"probe": {"interval": 0}})
    connection = connect(proxy, autocommit=True)
    run(connection, "select 1")
    alive = first if first.counts["logins"] else second
    alive.die()
    assert run(connection, "select 1") == [(1,)]
    assert {first.counts["logins"], second.counts["logins"]} == {1}
