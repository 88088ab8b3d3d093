"""Who may come in how: access rules, methods and kinds of secrets, with real clients."""

import getpass
import hashlib
import socket
import struct
import time

import psycopg2
import pytest

from dwspool_testing.certificates import Authority
from dwspool_testing.programs import login_programs, run
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Closed, Connection, cstr, fields, message, startup
from fake_cn import Role
from fake_cn.verifiers import COMBINED, MD5, SHA256

PASSWORD = "app secret"


@pytest.fixture(scope="module")
def ca():
    authority = Authority().issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    authority.issue("app")
    yield authority
    authority.destroy()


@pytest.fixture(scope="module")
def verifiers(pg):
    """What servers keep of the password, by kind."""
    from fake_cn.verifiers import derive
    scram = pg.psql("select rolpassword from pg_authid where rolname = 'app'")
    md5 = "md5" + hashlib.md5((PASSWORD + "app").encode()).hexdigest()
    keys = derive(PASSWORD.encode(), "ab" * 32, 10000)
    return {"plain": PASSWORD, "md5": md5, "scram": scram,
            "gauss": keys.stored(), "gauss combined": keys.stored(md5=md5)}


@pytest.fixture
def serving(pg, proxies, ca):
    def start(users, rules=None, port=None, **more):
        config = {
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{port or pg.port}"]}},
            "databases": {"*": {"database": "postgres"}}, "users": users,
            "tls": {"certificate": ca.cert("server"), "key": ca.key("server"),
                    "client_ca": ca.cert("ca")},
            **more,
        }
        if rules is not None:
            config["access"] = rules
        return proxies(config)

    return start


def enter(proxy, user="app", password=PASSWORD, **options):
    """"in", or the SQLSTATE and text of the refusal, as the client is told."""
    try:
        with psycopg2.connect(proxy.dsn(user, password=password, connect_timeout=10,
                                        **options)) as connection:
            with connection.cursor() as cursor:
                cursor.execute("select 40 + 2")
                return "in" if cursor.fetchone() == (42,) else "nonsense"
    except psycopg2.OperationalError as error:
        text = str(error).strip()
        return text.split("FATAL:  ")[-1]


WRONG = 'password authentication failed for user "{}"'
# Which kinds of secrets a method can check.
CHECKS = {
    "password": ["plain", "md5", "scram", "gauss", "gauss combined"],
    "md5": ["plain", "md5", "scram"],
    "scram-sha-256": ["plain", "scram"],
}


@pytest.mark.parametrize("method", CHECKS)
def test_methods_and_secrets(serving, verifiers, method):
    """{method} x {kind of secret} x {TLS, clear, Unix socket} x {right, wrong, unknown, empty, 1 KB}."""
    users = {kind.replace(" ", "_"): {"password": secret, "backend_user": "app",
                                      "backend_password": PASSWORD}
             for kind, secret in verifiers.items()}
    # An md5 hash belongs to the name.
    for kind in ("md5", "gauss_combined"):
        users[kind]["password"] = users[kind]["password"].replace(
            verifiers["md5"], "md5" + hashlib.md5((PASSWORD + kind).encode()).hexdigest())
    proxy = serving(users, [{"method": method}], auth_failure_limit=0)
    ways = {"tls": {"sslmode": "require"}, "clear": {"sslmode": "disable"},
            "unix": {"host": proxy.dir}}
    for way, options in ways.items():
        for kind in verifiers:
            user = kind.replace(" ", "_")
            refused = WRONG.format(user)
            right = "in" if kind in CHECKS[method] else refused
            if method == "password" and way == "clear":
                right = refused = "a password in clear is taken by TLS only"
            assert enter(proxy, user, **options).startswith(right), (way, kind)
            if kind in ("plain", "gauss") or way == "tls":
                for wrong in ("wrong", "x" * 1024, PASSWORD + " "):
                    assert enter(proxy, user, wrong, **options).startswith(refused), (way, kind)
        if method != "password" or way != "clear":
            assert enter(proxy, "nobody", **options) == WRONG.format("nobody")
    assert proxy.metric("dwspool_client_logins_total") > 0


def test_empty_passwords(serving):
    """Nobody gets in without one, whatever is configured."""
    for method in CHECKS:
        proxy = serving({"app": {"backend_password": PASSWORD}}, [{"method": method}])
        for password in (b"", b"x"):
            with Connection(proxy.dir, proxy.port) as client:
                client.send(startup({"user": "app", "database": "postgres"}))
                kind, body = client.receive()
                assert kind == b"R" and struct.unpack("!I", body[:4])[0] in (3, 5, 10)
                client.send(message(b"p", password + b"\0"))
                kind, body = client.receive()
                assert kind == b"E" and fields(body)["C"] in ("28P01", "08P01")


def test_rules(serving, ca):
    proxy = serving(
        {"app": {"password": PASSWORD}, "other": {"password": "other secret"}},
        [{"type": "local", "users": ["other"], "method": "reject"},
         {"type": "local", "method": "auto"},
         {"type": "hostnossl", "method": "reject"},
         {"type": "hostssl", "databases": ["strict"], "method": "auto",
          "client_certificate": "verify-full"},
         {"type": "hostssl", "databases": ["certified"], "method": "cert"},
         {"type": "hostssl", "address": "127.0.0.0/8", "users": ["app"], "method": "auto"}])
    own = dict(sslcert=ca.cert("app"), sslkey=ca.key("app"))
    assert enter(proxy, host=proxy.dir) == "in"
    refusal = enter(proxy, "other", "other secret", host=proxy.dir)
    assert refusal.startswith('no access rule lets user "other" into database "postgres" from a '
                              "Unix socket, without TLS")
    assert enter(proxy, sslmode="disable").startswith("no access rule")
    assert enter(proxy, sslmode="require") == "in"
    assert enter(proxy, "other", "other secret", sslmode="require").startswith("no access rule")
    assert enter(proxy, sslmode="require", dbname="strict") == WRONG.format("app")
    assert enter(proxy, sslmode="require", dbname="strict", **own) == "in"
    assert enter(proxy, password="wrong", sslmode="require", dbname="strict",
                 **own) == WRONG.format("app")
    assert enter(proxy, password="", sslmode="require", dbname="certified", **own) == "in"
    assert enter(proxy, "other", sslmode="require", dbname="certified",
                 **own) == WRONG.format("other")
    assert enter(proxy, sslmode="require", dbname="certified") == WRONG.format("app")
    assert proxy.metric("dwspool_client_refusals_total", reason="access") == 6


def test_hba_file_and_userlist(serving, tmp_path):
    """Both as PostgreSQL and PgBouncer have them."""
    hba, users = tmp_path / "pg_hba.conf", tmp_path / "userlist.txt"
    hba.write_text("# TYPE DATABASE USER ADDRESS METHOD\n"
                   "local all app scram-sha-256\n"
                   "hostssl all \"app\" 127.0.0.1/32 md5\n"
                   "host all all 0.0.0.0/0 reject\n")
    users.write_text('; users\n"app" "app secret"\n"other" "other secret"\n')
    proxy = serving({}, hba_file=str(hba), userlist_file=str(users))
    assert enter(proxy, host=proxy.dir) == "in"
    assert enter(proxy, sslmode="require") == "in"
    assert enter(proxy, sslmode="disable").startswith("no access rule")
    assert enter(proxy, "other", "other secret", host=proxy.dir).startswith("no access rule")


def test_peer(serving):
    me = getpass.getuser()
    proxy = serving({me: {"backend_user": "app", "backend_password": PASSWORD},
                     "app": {"password": PASSWORD}},
                    [{"type": "local", "method": "peer"}, {"method": "reject"}])
    assert enter(proxy, me, "", host=proxy.dir) == "in"
    assert enter(proxy, "app", host=proxy.dir) == WRONG.format("app")
    assert enter(proxy, "nobody", host=proxy.dir) == WRONG.format("nobody")


def test_channel_binding(serving):
    """libpq insists on it, or on not having it; both work."""
    proxy = serving({"app": {"password": PASSWORD}})
    for wish in ("disable", "prefer", "require"):
        assert enter(proxy, sslmode="require", channel_binding=wish) == "in"
    assert enter(proxy, password="wrong", sslmode="require",
                 channel_binding="require") == WRONG.format("app")


@pytest.mark.parametrize("kind", [SHA256, COMBINED, MD5])
def test_dws_behind_and_no_attempt_for_nothing(serving, fake, kind):
    """Wrong passwords of clients cost the account at the coordinator nothing."""
    cn = fake(Role("dbadmin", "Gauss@123", kind, pg_user="postgres"), tls=True)
    proxy = serving({"dbadmin": {"password": "Gauss@123"}}, port=cn.port)
    for _ in range(3):
        assert enter(proxy, "dbadmin", "wrong", sslmode="require") == WRONG.format("dbadmin")
    assert (cn.role("dbadmin").attempts, cn.role("dbadmin").wrong) == (0, 0)
    assert enter(proxy, "dbadmin", "Gauss@123", sslmode="require") == "in"
    assert (cn.role("dbadmin").attempts, cn.role("dbadmin").wrong) == (1, 0)
    wait_until(lambda: "tls=\"TLSv1.3" in proxy.log(), what="TLS to the coordinator")


def test_dws_by_psycopg2_with_and_without_dwspool(serving, fake):
    """The reason why this exists: stock libpq does not know GaussDB's SHA256."""
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, pg_user="postgres"))
    with pytest.raises(psycopg2.OperationalError,
                       match="none of the server's SASL authentication mechanisms are supported"):
        psycopg2.connect(host="127.0.0.1", port=cn.port, user="dbadmin", password="Gauss@123",
                         dbname="postgres")
    proxy = serving({"dbadmin": {"password": "Gauss@123"}}, port=cn.port)
    assert enter(proxy, "dbadmin", "Gauss@123") == "in"


def failing(proxy):
    began = time.monotonic()
    text = enter(proxy, password="wrong", sslmode="disable")
    return text, time.monotonic() - began


def test_failures_take_longer_and_longer_and_end(serving):
    proxy = serving({"app": {"password": PASSWORD}}, auth_failure_limit=5)
    results = [failing(proxy) for _ in range(5)]
    assert {text for text, _ in results} == {WRONG.format("app")}
    assert results[4][1] > results[0][1] + 0.3
    text, took = failing(proxy)
    assert text.startswith("too many failed log-ins from 127.0.0.1") and took < 0.2
    assert enter(proxy).startswith("too many failed log-ins"), "the right one does not help"
    assert enter(proxy, host=proxy.dir) == "in"


def test_who_waits_for_a_refusal_holds_nobody_up(serving):
    proxy = serving({"app": {"password": PASSWORD}})
    for _ in range(4):
        failing(proxy)
    waiting = []
    for _ in range(10):
        client = Connection("127.0.0.1", proxy.port)
        client.send(startup({"user": "app"}))
        client.receive()
        client.send(message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!I", 20) + b"n,,n=,r=abcdefghijkl"))
        client.receive()
        waiting.append(client)
    began = time.monotonic()
    assert enter(proxy) == "in"
    assert time.monotonic() - began < 1
    for client in waiting:
        client.close()


@pytest.mark.parametrize("kind", [b"p", b"Q", b"X", b"R", b"d", b"\0"])
def test_every_message_before_the_password_cve_2015_4054(serving, kind):
    """PgBouncer CVE-2015-4054, CVE-2026-107350: nothing but the answer, and a start-up packet once."""
    proxy = serving({"app": {"password": PASSWORD}}, [{"method": "password"}])
    for first in (b"", startup({"user": "app"})):
        with Connection(proxy.dir, proxy.port) as client:
            client.send(first + message(kind, b"wrong\0"))
            try:
                seen = client.until_closed()
            except (Closed, socket.timeout):
                seen = []
            assert all(kind in (b"R", b"E") for kind, _ in seen)
            assert not any(kind == b"R" and body == b"\0\0\0\0" for kind, body in seen)
    with Connection(proxy.dir, proxy.port) as client:
        client.send(startup({"user": "nobody", "database": "nowhere"}))
        assert client.receive()[0] == b"R"
        client.send(startup({"user": "app"}))
        assert client.receive()[0] == b"E"
    assert enter(proxy, host=proxy.dir) == "in"


def test_psql(serving):
    """By libpq of its own process: with TLS, channel binding and a password of the environment."""
    proxy = serving({"app": {"password": PASSWORD}})
    result = run(["psql", "-X", "-At", "-c", "select 1",
                  f"host=127.0.0.1 port={proxy.port} user=app dbname=postgres sslmode=require "
                  "channel_binding=require"], PGPASSWORD=PASSWORD)
    assert result.stdout == "1\n"


# (user, password, way), and what comes of it by each method.
ATTEMPTS = [("app", PASSWORD, "tls"), ("app", PASSWORD, "clear"), ("app", "wrong", "tls"),
            ("app", "x" * 1024, "clear"), ("nobody", PASSWORD, "tls"),
            ("nobody", PASSWORD, "clear")]
OUTCOMES = {
    "scram-sha-256": ["in", "in", "28P01", "28P01", "28P01", "28P01"],
    "md5": ["in", "in", "28P01", "28P01", "28P01", "28P01"],
    "password": ["in", "28000", "28P01", "28000", "28P01", "28000"],
}


def test_other_drivers(serving, tmp_path):
    """node-postgres and pgjdbc, right and wrong, by every method."""
    words = [word for attempt in ATTEMPTS for word in attempt]
    found = list(login_programs(tmp_path))
    if not found:
        pytest.skip("there is neither node with pg nor java with pgjdbc")
    for method, outcomes in OUTCOMES.items():
        proxy = serving({"app": {"password": PASSWORD}}, [{"method": method}],
                        auth_failure_limit=0)
        for command, variables in found:
            result = run([*command, str(proxy.port), *words], **variables)
            assert result.stdout.split() == outcomes, (method, command[0], result.stderr)
