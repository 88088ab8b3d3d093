"""Users that no configuration knows: looked up by auth_query, or let in by the cluster itself."""

import concurrent.futures
import datetime
import hashlib
import struct
import time

import psycopg2
import pytest
from dwspool_testing.certificates import Authority
from dwspool_testing.observer import Observer
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, Scram, cstr, fields, message, startup
from fake_cn import Role
from fake_cn.verifiers import COMBINED, MD5, SHA256

WRONG = 'password authentication failed for user "{}"'
KEEPER = {"user": "keeper", "database": "postgres"}

ROLES = """
create role keeper login superuser;
create role gone login password 'gone secret' valid until '2020-01-01';
create role shut password 'shut secret';
create role bare login;
create table lookups(at timestamptz, name text, path text);
create function public.who(asked text) returns table(rolname text, secret text)
language sql security definer as $$
    insert into public.lookups values (clock_timestamp(), asked, current_setting('search_path'));
    select rolname::text, rolpassword from pg_authid where rolname = asked;
$$;
"""


@pytest.fixture(scope="module")
def roles(pg):
    pg.psql(ROLES)
    yield pg
    pg.psql("drop function public.who; drop table lookups; drop role keeper, gone, shut, bare")


@pytest.fixture(scope="module")
def ca():
    authority = Authority().issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    yield authority
    authority.destroy()


@pytest.fixture
def serving(proxies, ca):
    def start(port, cluster, method="password", **more):
        return proxies({
            "auth_method": method, "auth_failure_limit": 0,
            "defaults": {"queue_timeout": "5s", **more.pop("defaults", {})},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{port}"], **cluster}},
            "databases": {"*": {"database": "postgres"}},
            "tls": {"certificate": ca.cert("server"), "key": ca.key("server")}, **more,
        })

    return start


def enter(proxy, user, password, sslmode="require", **options):
    """Whom the server takes the client for, or what the client is told."""
    try:
        connection = psycopg2.connect(proxy.dsn(user, password=password, sslmode=sslmode,
                                                connect_timeout=10, **options))
    except psycopg2.OperationalError as error:
        return str(error).strip().split("FATAL:  ")[-1]
    try:
        with connection.cursor() as cursor:
            cursor.execute("select current_user")
            return cursor.fetchone()[0]
    except psycopg2.errors.InvalidPassword as error:
        return str(error).strip()
    finally:
        connection.close()


def by_wire(proxy, user, password):
    """(SQLSTATE or "in", types of messages) by a Unix socket, with any password whatever."""
    with Connection(proxy.dir, proxy.port) as client:
        seen = client.log_in(user, "postgres", password)
        code = fields(seen[-1][1])["C"] if seen[-1][0] == b"E" else "in"
        return code, [kind for kind, _ in seen if kind in b"RE"]


# --- auth_query ----------------------------------------------------------------------------------

@pytest.mark.parametrize("method, user, password", [
    ("scram-sha-256", "app", "app secret"), ("password", "app", "app secret"),
    ("md5", "app", "app secret"), ("md5", "legacy", "legacy secret"),
    ("password", "legacy", "legacy secret"),
])
def test_found_in_the_catalog_and_let_in_as_themselves(roles, serving, method, user, password):
    """By SCRAM's keys, or the md5 hash: dwspool knows no password."""
    proxy = serving(roles.port, {"auth_query": KEEPER}, method)
    for _ in range(2):
        assert enter(proxy, user, password) == user
    for wrong in ("wrong", "x" * 1024, password + " "):
        assert enter(proxy, user, wrong) == WRONG.format(user)
    assert enter(proxy, user, password) == user


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_nobody_else_cve_2015_6817_cve_2025_2291(roles, serving, method):
    """PgBouncer CVE-2015-6817: who is not there is nobody, and not the one who asks. CVE-2025-2291:
    whose time is over is refused. Both like a wrong password."""
    proxy = serving(roles.port, {"auth_query": KEEPER}, method)
    told = by_wire(proxy, "nobody", "x")
    assert told[0] == "28P01"
    names = [("gone", "gone secret"), ("shut", "shut secret"), ("bare", "x"), ("keeper", "x"),
             ("", "x"), ("nobody' or '1'='1", "x"), ("$1", "x"), ("app;", "app secret"),
             ("APP", "app secret")]
    for user, password in names[:4] + names[5:]:
        for given in (password, "", "wrong"):
            assert by_wire(proxy, user, given) == told, (user, given)
    assert enter(proxy, "app", "app secret") == "app"


def test_lookups_are_kept_and_see_no_setting_of_clients_cve_2025_12819(roles, serving):
    """PgBouncer CVE-2025-12819: what a client says at start-up must not touch the look-up."""
    query = "select rolname, secret from public.who($1)"
    proxy = serving(roles.port, {"auth_query": dict(KEEPER, query=query)}, "scram-sha-256")
    with Observer(roles) as direct:
        direct.rows("truncate lookups")
        for _ in range(5):
            assert enter(proxy, "app", "app secret", options="-c search_path=evil,public") == "app"
        for _ in range(3):
            assert enter(proxy, "nobody", "x", options="-c search_path=evil") == \
                WRONG.format("nobody")
        assert direct.rows("select name, path from lookups order by at") == [
            ("app", "pg_catalog, pg_temp"), ("nobody", "pg_catalog, pg_temp")]


def test_changed_in_the_catalog(roles, serving):
    """One wrong password by what is known, and it is looked up anew."""
    proxy = serving(roles.port, {"auth_query": dict(KEEPER, cache_time="1h")}, "scram-sha-256")
    with Observer(roles) as direct:
        direct.rows("create role moving login password 'first'")
        try:
            assert enter(proxy, "moving", "first") == "moving"
            direct.rows("alter role moving password 'second'")
            time.sleep(1.1)
            assert enter(proxy, "moving", "second") == WRONG.format("moving")
            assert enter(proxy, "moving", "second") == "moving"
            assert enter(proxy, "moving", "first") == WRONG.format("moving")
        finally:
            proxy.stop()
            direct.rows("drop role moving")


def test_who_appears_in_the_catalog(roles, serving):
    proxy = serving(roles.port, {"auth_query": dict(KEEPER, cache_time="300ms")}, "scram-sha-256")
    with Observer(roles) as direct:
        assert enter(proxy, "newcomer", "secret") == WRONG.format("newcomer")
        direct.rows("create role newcomer login password 'secret'")
        try:
            wait_until(lambda: enter(proxy, "newcomer", "secret") == "newcomer", what="known")
        finally:
            proxy.stop()
            direct.rows("drop role newcomer")


def test_nobody_can_be_asked(roles, serving):
    """That is no wrong password, and is told to all alike."""
    cannot = "the cluster cannot be asked for this user at the moment"
    away = serving(free_port(), {"auth_query": KEEPER, "connect_timeout": "300ms"}, "scram-sha-256")
    assert enter(away, "app", "app secret") == enter(away, "nobody", "x") == cannot
    refused = serving(roles.port, {"auth_query": {"user": "app", "password": "not it",
                                                  "database": "postgres"}}, "scram-sha-256")
    assert enter(refused, "app", "app secret") == enter(refused, "nobody", "x") == cannot
    may_not = serving(roles.port, {"auth_query": {"user": "app", "password": "app secret",
                                                  "database": "postgres"}}, "scram-sha-256")
    assert enter(may_not, "app", "app secret") == enter(may_not, "nobody", "x") == cannot
    assert "permission denied" in may_not.log()


def test_many_at_once_are_asked_for_once(roles, serving):
    query = "select rolname, secret from public.who($1)"
    proxy = serving(roles.port, {"auth_query": dict(KEEPER, query=query)}, "scram-sha-256")
    with Observer(roles) as direct, concurrent.futures.ThreadPoolExecutor(20) as pool:
        direct.rows("truncate lookups")
        results = list(pool.map(lambda _: enter(proxy, "app", "app secret"), range(20)))
        assert results == ["app"] * 20
        assert direct.rows("select count(*) from lookups") == [(1,)]


def test_configured_users_win(roles, serving):
    proxy = serving(roles.port, {"auth_query": KEEPER}, "scram-sha-256",
                    users={"app": {"password": "another", "backend_password": "app secret"},
                           "legacy": {"auth": "md5"}, "*": {"pool_mode": "session"}})
    assert enter(proxy, "app", "another") == "app"
    assert enter(proxy, "app", "app secret") == WRONG.format("app")
    assert enter(proxy, "legacy", "legacy secret") == "legacy"


def test_more_said_before_the_answer_is_there(roles, serving):
    """What comes while somebody is looked up waits, and a second start-up packet stays refused
    (CVE-2026-107350)."""
    proxy = serving(roles.port, {"auth_query": KEEPER}, "scram-sha-256")
    for first, user in (("app", "app"), ("nobody", "app")):
        with Connection(proxy.dir, proxy.port) as client:
            client.send(startup({"user": first, "database": "postgres"}) +
                        startup({"user": user, "database": "postgres"}))
            seen = client.until_closed()
            assert [kind for kind, _ in seen] == [b"R", b"E"]
            assert fields(seen[-1][1])["C"] == "08P01"
    with Connection(proxy.dir, proxy.port) as client:
        scram = Scram("app secret")
        first = scram.first()
        client.send(startup({"user": "app", "database": "postgres"}) +
                    message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
        assert client.receive()[0] == b"R"
        kind, body = client.receive()
        assert (kind, body[:4]) == (b"R", struct.pack("!I", 11))


def test_verifiers_of_gaussdb(roles, serving, fake):
    """Compared with the password in clear, which then gives the keys for the coordinator."""
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, pg_user="postgres"),
              Role("keeper", "keeper secret", SHA256, pg_user="postgres"))
    stored = cn.role("dbadmin").rolpassword
    query = f"select 'dbadmin', '{stored}' where $1::text = 'dbadmin'"
    proxy = serving(cn.port, {"auth_query": {"user": "keeper", "password": "keeper secret",
                                             "database": "postgres", "query": query}})
    for _ in range(2):
        assert enter(proxy, "dbadmin", "Gauss@123") == "postgres"
    for wrong in ("wrong", "x" * 1024):
        assert enter(proxy, "dbadmin", wrong) == WRONG.format("dbadmin")
    assert enter(proxy, "nobody", "Gauss@123") == WRONG.format("nobody")
    assert cn.role("dbadmin").wrong == 0


def test_validity_of_dws_accounts(serving, fake):
    """VALID BEGIN and VALID UNTIL, by the look-up that is the default: who is not within them is
    refused here, and costs no attempt there."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    times = {"always": (None, None), "within": (now - day, now + day), "early": (now + day, None),
             "late": (None, now - day), "both": (now + day, now - day)}
    cn = fake(Role("keeper", "keeper secret", pg_user="postgres"),
              *(Role(name, "Gauss@123", iterations=2048, pg_user="postgres", valid_begin=begin,
                     valid_until=until) for name, (begin, until) in times.items()))
    keeper = {"user": "keeper", "password": "keeper secret", "database": "postgres"}
    proxy = serving(cn.port, {"auth_query": dict(keeper, cache_time="300ms")})
    for name in ("always", "within"):
        assert enter(proxy, name, "Gauss@123") == "postgres"
        assert enter(proxy, name, "wrong") == WRONG.format(name)
    for name in ("early", "late", "both"):
        assert enter(proxy, name, "Gauss@123") == WRONG.format(name)
        assert cn.role(name).attempts == 0
    cn.role("early").valid_begin = now
    cn.role("always").valid_until = now
    wait_until(lambda: enter(proxy, "early", "Gauss@123") == "postgres", what="its time has come")
    wait_until(lambda: enter(proxy, "always", "Gauss@123") == WRONG.format("always"),
               what="its time is over")


# --- pass_through --------------------------------------------------------------------------------

@pytest.mark.parametrize("user", ["app", "other", "legacy"])
def test_the_server_says_who_is_right(roles, serving, user):
    """It asks by SCRAM, in clear and by md5."""
    password = f"{user} secret"
    proxy = serving(roles.port, {"pass_through": {}})
    for options in ({}, {}, {"host": proxy.dir, "sslmode": "disable"}):
        assert enter(proxy, user, password, **options) == user
    for wrong in ("wrong", "x" * 1024, password + " ", password[:-1]):
        assert enter(proxy, user, wrong) == WRONG.format(user)
    assert by_wire(proxy, user, "")[0] == "28P01"
    assert enter(proxy, user, password, sslmode="disable").startswith("a password in clear")
    assert enter(proxy, user, password) == user
    assert password not in proxy.log() and "wrong" not in proxy.log().replace("wrong_", "")


def test_nobody_by_pass_through(roles, serving):
    proxy = serving(roles.port, {"pass_through": {}}, databases={"only": {"database": "postgres"}})
    for user, password in (("nobody", "x"), ("gone", "gone secret"), ("bare", "x")):
        for name in ("only", "nowhere"):
            told = enter(proxy, user, password, dbname=name)
            # PostgreSQL itself trusts these: nothing is proven by that.
            assert told == WRONG.format(user), (user, name)
    assert enter(proxy, "app", "wrong", dbname="nowhere") == WRONG.format("app")
    assert enter(proxy, "app", "app secret", dbname="nowhere") == WRONG.format("app")
    assert enter(proxy, "app", "app secret", dbname="only") == "app"


def test_a_server_that_trusts_proves_nothing(roles, serving):
    proxy = serving(roles.port, {"pass_through": {}})
    for password in ("x", "app secret"):
        assert enter(proxy, "postgres", password) == WRONG.format("postgres")
    assert "client.nothing_proven" in proxy.log()


def test_what_is_proven_is_kept_for_a_time(roles, serving):
    """Within it the server is not asked; a new password is tried at once."""
    proxy = serving(roles.port, {"pass_through": {"cache_time": "1h"}})
    with Observer(roles) as direct:
        direct.rows("create role moving login password 'first'")
        roles.hba.insert(0, "host all moving 127.0.0.1/32 scram-sha-256")
        roles.write_hba()
        roles.reload()
        try:
            wait_until(lambda: enter(proxy, "moving", "first") == "moving", what="in")
            direct.rows("alter role moving password 'second'")
            assert enter(proxy, "moving", "first") == "moving"
            assert enter(proxy, "moving", "second") == "moving"
            assert enter(proxy, "moving", "first") == WRONG.format("moving")
        finally:
            proxy.stop()
            direct.rows("drop role moving")
            del roles.hba[0]
            roles.write_hba()
            roles.reload()


@pytest.mark.parametrize("kind", [SHA256, COMBINED, MD5])
def test_dws_says_who_is_right(serving, fake, kind):
    cn = fake(Role("dbadmin", "Gauss@123", kind, pg_user="postgres"))
    proxy = serving(cn.port, {"pass_through": {}})
    for _ in range(3):
        assert enter(proxy, "dbadmin", "Gauss@123") == "postgres"
    proven = cn.role("dbadmin").attempts
    assert proven <= 2 and cn.role("dbadmin").wrong == 0
    # The same one again does not get there.
    for _ in range(4):
        assert enter(proxy, "dbadmin", "wrong") == WRONG.format("dbadmin")
    assert cn.role("dbadmin").wrong == 1
    told = [enter(proxy, "dbadmin", f"wrong {i}") for i in range(6)]
    assert told[:2] == [WRONG.format("dbadmin")] * 2
    assert all(text.startswith("too many passwords of this user were refused") for text in told[2:])
    assert cn.role("dbadmin").wrong == 3 and not cn.role("dbadmin").locked
    assert enter(proxy, "dbadmin", "Gauss@123") == "postgres", "what is known to be right is"
    assert "Gauss@123" not in proxy.log()


@pytest.mark.parametrize("wrong", [lambda i: "wrong", lambda i: f"wrong {i}"], ids=["same", "each"])
def test_a_crowd_does_not_lock_the_account(serving, fake, wrong):
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, iterations=2048, pg_user="postgres"))
    proxy = serving(cn.port, {"pass_through": {}})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda i: enter(proxy, "dbadmin", wrong(i)), range(20)))
    assert "postgres" not in told
    assert cn.role("dbadmin").wrong == (1 if wrong(0) == wrong(1) else 3)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda i: enter(proxy, "dbadmin", "Gauss@123"), range(20)))
    # What was spent on others is missing to who comes with the right one.
    right = "postgres" if wrong(0) == wrong(1) else "too many passwords of this user were refused"
    assert all(text.startswith(right) for text in told), told
    assert not cn.role("dbadmin").locked


@pytest.mark.parametrize("kind", [SHA256, MD5])
def test_password_changed_at_the_coordinator(serving, fake, kind):
    """What is kept does not fit any more: with SHA256, not even one attempt is made with it."""
    cn = fake(Role("dbadmin", "Gauss@123", kind, pg_user="postgres"))
    proxy = serving(cn.port, {"pass_through": {"cache_time": "1h"}}, defaults={"pool_size": 2})
    assert enter(proxy, "dbadmin", "Gauss@123") == "postgres"
    # A session that is killed under a client's hands would be opened anew, with what is kept.
    wait_until(lambda: proxy.metric("dwspool_pool_backends", state="idle") == 1, what="it is idle")
    cn.role("dbadmin").set_password("Gauss@456")
    cn.kill_sessions()
    wait_until(lambda: not cn.sessions, what="no session left")
    told = enter(proxy, "dbadmin", "Gauss@123")
    assert told.startswith('the password of user "dbadmin" has changed on the server'
                           if kind == SHA256 else "Invalid username/password,login denied.")
    assert cn.role("dbadmin").wrong == (0 if kind == SHA256 else 1)
    assert enter(proxy, "dbadmin", "Gauss@456") == "postgres"
    assert enter(proxy, "dbadmin", "Gauss@123") == WRONG.format("dbadmin")
    assert cn.role("dbadmin").wrong <= 2


def test_account_that_is_locked_already(serving, fake):
    """In the coordinator's words: the right password would not help."""
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, pg_user="postgres"))
    cn.role("dbadmin").locked = True
    proxy = serving(cn.port, {"pass_through": {}})
    assert enter(proxy, "dbadmin", "Gauss@123") == "The account has been locked."


def test_account_that_is_not_valid_yet(serving, fake):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, pg_user="postgres", valid_begin=later))
    proxy = serving(cn.port, {"pass_through": {}})
    told = enter(proxy, "dbadmin", "Gauss@123")
    assert told == "The account is not within the period of validity."


def test_coordinator_is_away(serving):
    proxy = serving(free_port(), {"pass_through": {}, "connect_timeout": "300ms"})
    assert enter(proxy, "dbadmin", "x") == "the cluster cannot be asked for this user at the moment"


def test_second_coordinator_answers(serving, fake):
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, pg_user="postgres"))
    proxy = serving(free_port(), {"pass_through": {}, "dialect": "dws", "coordinators": [
        f"127.0.0.1:{free_port()}", f"127.0.0.1:{cn.port}"]})
    for _ in range(3):
        assert enter(proxy, "dbadmin", "Gauss@123") == "postgres"


def test_reload_keeps_those_who_are_in(roles, serving):
    proxy = serving(roles.port, {"pass_through": {}})
    connection = psycopg2.connect(proxy.dsn("app", password="app secret", sslmode="require"))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("select 1")
    proxy.config["defaults"]["pool_size"] = 3
    proxy.write_config()
    proxy.process.send_signal(1)
    wait_until(lambda: "config.reloaded" in proxy.log(), what="reloaded")
    cursor.execute("select current_user")
    assert cursor.fetchone() == ("app",)
    del proxy.config["clusters"]["main"]["pass_through"]
    proxy.config["users"] = {"other": {"password": "other secret"}}
    proxy.write_config()
    proxy.process.send_signal(1)
    wait_until(lambda: proxy.log().count("config.reloaded") == 2, what="reloaded")
    with pytest.raises(psycopg2.Error):
        for _ in range(50):
            cursor.execute("select 1")
            time.sleep(0.05)
    connection.close()
    assert enter(proxy, "app", "app secret") == WRONG.format("app")


def test_keys_of_configured_verifiers(roles, serving, pg):
    """A SCRAM verifier in the configuration does without a password for the server as well."""
    verifier = pg.psql("select rolpassword from pg_authid where rolname = 'app'")
    md5 = "md5" + hashlib.md5(b"legacy secretlegacy").hexdigest()
    proxy = serving(roles.port, {}, "scram-sha-256",
                    users={"app": {"password": verifier},
                           "legacy": {"password": md5, "auth": "md5"},
                           "other": {"password": verifier}})
    assert enter(proxy, "app", "app secret") == "app"
    assert enter(proxy, "legacy", "legacy secret") == "legacy"
    # This one the server wants in clear.
    assert "does not do for that" in enter(proxy, "other", "app secret")


def test_no_secret_is_shown(roles, serving):
    """Neither what clients bring nor what catalogs have, nor keys, in hexadecimal or otherwise."""
    for cluster in ({"auth_query": KEEPER}, {"pass_through": {}}):
        proxy = serving(roles.port, cluster, console={"admin_users": ["boss"]},
                        users={"boss": {"password": "planted secret"}})
        assert enter(proxy, "app", "app secret") == "app"
        enter(proxy, "app", "mistaken secret")
        with psycopg2.connect(proxy.dsn("boss", "dwspool", "planted secret",
                                        sslmode="require")) as console:
            console.autocommit = True
            shown = proxy.log() + proxy.http("/metrics")[1]
            with console.cursor() as cursor:
                for what in ("pools", "clients", "servers", "users", "databases", "config"):
                    cursor.execute(f"show {what}")
                    shown += str(cursor.fetchall())
        console.close()
        stored = roles.psql("select rolpassword from pg_authid where rolname = 'app'")
        for secret in ("app secret", "mistaken", "planted", "SCRAM-SHA-256$", stored[-40:]):
            assert secret not in shown
