"""Log-in, on both sides: who comes in, who does not, and what each is told."""

import hashlib
import re
import struct
import subprocess
import threading

import psycopg2
import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import (GSSENC_REQUEST, SSL_REQUEST, Closed, Connection, Scram, cstr,
                                  fields, message, startup)


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


def md5_of(user, password):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


@pytest.fixture(scope="module")
def verifier(pg):
    """What pg_authid holds for the role app ('app secret')."""
    return pg.psql("select rolpassword from pg_authid where rolname = 'app'")


@pytest.fixture
def proxy(proxies, pg, verifier):
    """Knows users of every kind. Towards the server: app by SCRAM, other in clear, legacy by md5;
    all others are trusted there, and so `postgres` stands for those who have no role."""
    as_postgres = {"backend_user": "postgres"}
    return proxies({
        "auth_method": "scram-sha-256",
        "client_login_timeout": "20s",
        "shutdown_timeout": "2s",
        "defaults": {"pool_size": 2, "queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {
            "postgres": {"cluster": "main"},
            "renamed": {"cluster": "main", "database": "template1"},
            "forced": {"cluster": "main", "database": "postgres", "user": "app",
                       "password": "app secret"},
            "absent": {"cluster": "main", "database": "not_on_the_server"},
        },
        "users": {
            "app": {"password": "app secret"},
            "other": {"password": "other secret", "auth": "md5"},
            "legacy": {"password": md5_of("legacy", "legacy secret"), "auth": "md5",
                       "backend_password": "legacy secret"},
            "verified": {"password": verifier, **as_postgres},
            "trusted": {"auth": "trust", **as_postgres},
            "plain_md5": {"password": "a secret", "auth": "md5", **as_postgres},
            "as_app": {"password": "p", "backend_user": "app", "backend_password": "app secret"},
        },
    })


def who(proxy, user, password=None, database="postgres", **options):
    connection = psycopg2.connect(proxy.dsn(user, database, password, **options))
    try:
        with connection.cursor() as cursor:
            cursor.execute("select current_user, current_database()")
            return cursor.fetchone()
    finally:
        connection.close()


def refused(proxy, user, password, database="postgres"):
    """(types of the messages, the last one's fields) of a log-in that is refused."""
    with Connection("127.0.0.1", proxy.port) as client:
        seen = client.log_in(user, database, password)
        assert seen[-1][0] == b"E", seen
        assert client.until_closed() == []
        return [kind for kind, _ in seen], fields(seen[-1][1])


# --- Clients -------------------------------------------------------------------------------------

@pytest.mark.parametrize("user, password, expected", [
    ("app", "app secret", "app"),            # plain secret, SCRAM, SCRAM towards the server
    ("other", "other secret", "other"),      # plain secret, md5, clear text towards the server
    ("legacy", "legacy secret", "legacy"),   # md5 secret, md5 both ways
    ("verified", "app secret", "postgres"),  # SCRAM verifier
    ("trusted", None, "postgres"),
    ("plain_md5", "a secret", "postgres"),
    ("as_app", "p", "app"),
])
def test_users_of_every_kind(proxy, user, password, expected):
    assert who(proxy, user, password) == (expected, "postgres")
    assert who(proxy, user, password) == (expected, "postgres")  # now with a backend at hand


def test_methods_asked_for(proxy):
    codes = {}
    for user in ("app", "verified", "other", "legacy", "plain_md5", "trusted"):
        with Connection("127.0.0.1", proxy.port) as client:
            client.send(startup({"user": user, "database": "postgres"}))
            kind, body = client.receive()
            assert kind == b"R"
            codes[user] = struct.unpack("!I", body[:4])[0]
    assert codes == {"app": 10, "verified": 10, "other": 5, "legacy": 5, "plain_md5": 5,
                     "trusted": 0}


def test_by_unix_socket(proxy):
    connection = psycopg2.connect(host=proxy.dir, port=proxy.port, user="app",
                                  password="app secret", dbname="postgres")
    connection.close()


@pytest.mark.parametrize("user", ["app", "other", "legacy", "verified", "plain_md5"])
@pytest.mark.parametrize("password", ["wrong", "", "x" * 1024, "app secre", "süß", "\x01"])
def test_wrong_passwords(proxy, user, password):
    _, error = refused(proxy, user, password)
    assert error["S"] == error["V"] == "FATAL"
    assert error["C"] == "28P01"
    assert error["M"] == f'password authentication failed for user "{user}"'
    assert set(error) == {"S", "V", "C", "M"}


def test_hash_is_no_password(proxy, verifier):
    for user, text in (("legacy", md5_of("legacy", "legacy secret")), ("verified", verifier)):
        assert refused(proxy, user, text)[1]["C"] == "28P01"


def test_libpq_sees_why(proxy):
    with pytest.raises(psycopg2.OperationalError, match='failed for user "app"'):
        who(proxy, "app", "wrong")
    with pytest.raises(psycopg2.OperationalError, match='failed for user "nobody"'):
        who(proxy, "nobody", "wrong")


def test_long_right_password(proxies, pg):
    password = "long " * 200
    proxy = proxies({
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"], "user": "postgres"}},
        "databases": {"*": {}},
        "users": {"scram": {"password": password},
                  "md5": {"password": password, "auth": "md5"}},
    })
    assert who(proxy, "scram", password) == ("postgres", "postgres")
    assert who(proxy, "md5", password) == ("postgres", "postgres")
    for user in ("scram", "md5"):
        assert refused(proxy, user, password[:-1])[1]["C"] == "28P01"


def transcript(port, user, password, nonce):
    """All bytes of a refused log-in, in which all that must be random is made equal."""
    parts = []
    with Connection("127.0.0.1", port) as client:
        client.send(startup({"user": user, "database": "postgres"}))
        scram = Scram(password)
        scram.nonce = nonce
        try:
            while True:
                kind, body = client.receive()
                if kind == b"R" and body[:4] == struct.pack("!I", 10):
                    first = scram.first()
                    client.send(message(b"p", cstr("SCRAM-SHA-256") +
                                        struct.pack("!I", len(first)) + first))
                elif kind == b"R" and body[:4] == struct.pack("!I", 11):
                    client.send(message(b"p", scram.final(body[4:])))
                    # r=<ours><random>,s=<salt of the user>,i=<count>
                    text = body.decode("latin1")
                    text = re.sub(r"r=[^,]*", lambda m: f"r={len(m[0])}", text)
                    body = re.sub(r"s=[^,]*", lambda m: f"s={len(m[0])}", text).encode("latin1")
                elif kind == b"R" and body[:4] == struct.pack("!I", 5):
                    client.send(message(b"p", b"md5" + b"0" * 32 + b"\0"))
                    body = body[:4] + b"salt"
                parts.append(kind + struct.pack("!I", len(body)) + body)
        except Closed:
            return b"".join(parts).replace(user.encode(), b"USER")


@pytest.mark.parametrize("known", ["app", "verified"])
def test_unknown_users_look_like_known_ones(proxy, known):
    wrong = [transcript(proxy.port, user, "wrong", "n" * 24) for user in (known, "x" * len(known))]
    assert wrong[0] == wrong[1]


def test_unknown_users_look_like_known_ones_by_md5(proxies, pg):
    proxy = proxies({
        "auth_method": "md5",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"plain": {"password": "x"}, "hashd": {"password": md5_of("hashd", "x")}},
    })
    wrong = [transcript(proxy.port, user, "wrong", "") for user in ("plain", "hashd", "nobod")]
    assert wrong[0] == wrong[1] == wrong[2]


def test_challenge_of_an_unknown_user_does_not_change(proxy):
    """Else a second attempt would tell."""
    def salt(user):
        with Connection("127.0.0.1", proxy.port) as client:
            client.send(startup({"user": user, "database": "postgres"}))
            client.receive()
            first = Scram("x").first
            data = f"n,,n=,r={'n' * 18}".encode()
            assert first
            client.send(message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(data)) + data))
            kind, body = client.receive()
            assert kind == b"R"
            return re.search(rb",s=([^,]*),i=(\d+)", body).groups()

    assert salt("nobody") == salt("nobody")
    assert salt("nobody") != salt("nobody2")
    assert salt("app") == salt("app")
    assert salt("app")[1] == salt("nobody")[1]


def test_unknown_user_learns_nothing_about_databases(proxy):
    assert refused(proxy, "nobody", "x", "no_such_database") == refused(proxy, "nobody", "x")
    kinds, error = refused(proxy, "app", "wrong", "no_such_database")
    assert error["C"] == "28P01", kinds


def test_unknown_databases(proxy):
    _, error = refused(proxy, "app", "app secret", "no_such_database")
    assert (error["S"], error["C"]) == ("FATAL", "3D000")
    assert error["M"] == 'database "no_such_database" does not exist'
    # Known to dwspool, unknown to the server: the server's own words.
    _, error = refused(proxy, "app", "app secret", "absent")
    assert (error["S"], error["C"]) == ("FATAL", "3D000")
    assert error["M"] == 'database "not_on_the_server" does not exist'


def test_no_user_at_all(proxy):
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(startup({"database": "postgres"}))
        (kind, body), = client.until_closed()
        assert (kind, fields(body)["C"]) == (b"E", "28000")


def test_trusting_only_whom_it_knows(proxies, pg):
    proxy = proxies({
        "auth_method": "trust",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"postgres": {}},
    })
    assert who(proxy, "postgres") == ("postgres", "postgres")
    kinds, error = refused(proxy, "nobody", None)
    assert (kinds, error["C"]) == ([b"E"], "28P01")


@pytest.mark.parametrize("value", ["true", "on", "1", "yes", "database"])
def test_replication_is_refused(proxy, value):
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(startup({"user": "trusted", "database": "postgres", "replication": value}))
        (kind, body), = client.until_closed()
        assert kind == b"E"
        assert (fields(body)["S"], fields(body)["C"]) == ("FATAL", "0A000")


def test_no_replication_is_no_replication(proxy):
    for value in ("false", "off", "no", "0"):
        with Connection("127.0.0.1", proxy.port) as client:
            assert client.log_in("trusted", replication=value)[-1][0] == b"Z"


def test_overlong_names(proxies, pg, observer):
    """Names are cut at 63 bytes, as the server does it."""
    name = "u" * 63
    observer.rows(f"create role {name} login")
    proxy = proxies({
        "auth_method": "trust", "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"*": {}},
    })
    assert who(proxy, name + "tail")[0] == name
    with Connection("127.0.0.1", proxy.port) as client:
        seen = client.log_in("postgres", "d" * 5000)
        assert (seen[-1][0], fields(seen[-1][1])["C"]) == (b"E", "3D000")
        assert len(fields(seen[-1][1])["M"]) < 200
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(startup({"user": "u" * 65536, "database": "postgres"}))
        seen = client.until_closed()
        assert [fields(body)["C"] for kind, body in seen if kind == b"E"] == ["08P01"]
    assert who(proxy, "postgres")[0] == "postgres"


# --- Protocol ------------------------------------------------------------------------------------

@pytest.mark.parametrize("minor, options", [(2, {}), (9999, {}), (0, {"_pq_.x": "1"}),
                                            (2, {"_pq_.x": "1", "_pq_.y": "2"})])
def test_newer_protocols_are_negotiated(proxy, minor, options):
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(startup({"user": "trusted", "database": "postgres", **options},
                            (3 << 16) | minor))
        kind, body = client.receive()
        assert kind == b"v"
        newest, count = struct.unpack("!II", body[:8])
        assert newest == 3 << 16
        assert count == len(options)
        assert body[8:] == b"".join(cstr(name) for name in options)
        rest = client.until_ready()
        assert rest[0] == (b"R", b"\0\0\0\0")
        assert [message_ for message_ in client.ask("select 1") if message_[0] == b"D"]


@pytest.mark.parametrize("version", [0, 1 << 16, 2 << 16, 4 << 16, 0x7fffffff, 0xffffffff,
                                     80877102 + 3])
def test_other_protocols_are_refused(proxy, version):
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(startup({"user": "trusted"}, version))
        (kind, body), = client.until_closed()
        assert kind == b"E"
        assert fields(body)["S"] == "FATAL"


def test_encryption_requests_in_libpqs_order(proxy):
    with Connection("127.0.0.1", proxy.port) as client:
        client.send(GSSENC_REQUEST)
        assert client.receive_bytes(1) == b"N"
        client.send(SSL_REQUEST)
        assert client.receive_bytes(1) == b"N"
        assert client.log_in("trusted")[-1][0] == b"Z"
    with pytest.raises(psycopg2.OperationalError, match="SSL"):
        who(proxy, "app", "app secret", sslmode="require")
    assert who(proxy, "app", "app secret", sslmode="prefer")[0] == "app"


def test_second_startup_packet_is_refused(proxy):
    for user, stage in (("app", "password"), ("trusted", "session")):
        with Connection("127.0.0.1", proxy.port) as client:
            packet = startup({"user": user, "database": "postgres"})
            client.send(packet)
            if stage == "password":
                client.receive()
            else:
                client.until_ready()
            client.send(startup({"user": "trusted", "database": "postgres"}))
            seen = client.until_closed()
            assert [(kind, fields(body)["C"]) for kind, body in seen] == [(b"E", "08P01")]


def test_startup_packet_in_the_middle_of_scram(proxy):
    """CVE-2026-107350 of PgBouncer: it let one in as anybody."""
    for database in ("postgres", "no_such_database"):
        with Connection("127.0.0.1", proxy.port) as client:
            scram = Scram("app secret")
            client.send(startup({"user": "app", "database": database}))
            client.receive()
            first = scram.first()
            client.send(message(b"p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(first)) +
                                first))
            client.receive()
            client.send(startup({"user": "verified", "database": "postgres"}))
            seen = client.until_closed()
            assert [(kind, fields(body)["C"]) for kind, body in seen] == [(b"E", "08P01")]


# --- Start-up options ----------------------------------------------------------------------------

def settings(connection, *names):
    with connection.cursor() as cursor:
        values = []
        for name in names:
            cursor.execute(f"show {name}")
            values.append(cursor.fetchone()[0])
    connection.rollback()
    return values


@pytest.mark.parametrize("mode", ["session", "auto"])
def test_startup_options_belong_to_the_session(trusting, observer, mode):
    proxy = trusting(mode)
    role = observer.role()
    connection = psycopg2.connect(proxy.dsn(
        role, options="-c search_path=pg_catalog -c IntervalStyle=sql_standard --work-mem=7MB "
        "-c application_name=from\\\\ options -cstatement_timeout=1min", client_encoding="LATIN1"))
    names = ("search_path", "intervalstyle", "work_mem", "application_name", "statement_timeout",
             "client_encoding")
    expected = ["pg_catalog", "sql_standard", "7MB", "from options", "1min", "LATIN1"]
    assert settings(connection, *names) == expected
    if mode == "auto":
        other = psycopg2.connect(proxy.dsn(role))
        assert settings(other, *names) != expected
        other.close()
        observer.terminate(role)  # another backend has them as well
        assert settings(connection, *names) == expected
    # RESET goes back to them, not to the server's defaults.
    with connection.cursor() as cursor:
        cursor.execute("set work_mem to '9MB'; set intervalstyle to 'postgres'")
        connection.commit()
        cursor.execute("reset work_mem")
        connection.commit()
        cursor.execute("reset intervalstyle")
        connection.commit()
        assert settings(connection, *names) == expected
    connection.close()


@pytest.mark.parametrize("sql", [
    "reset all", "discard all",
    "begin; reset work_mem; commit",
    "select 1; reset work_mem",
])
def test_resets_of_other_forms_go_back_to_the_startup_options(trusting, observer, sql):
    proxy = trusting("auto")
    connection = psycopg2.connect(proxy.dsn(options="-c work_mem=7MB"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        assert settings(connection, "work_mem") == ["7MB"]
    finally:
        connection.close()


def test_spelling_of_reported_settings_is_the_servers(trusting, pg):
    proxy = trusting("auto")
    options = {"client_encoding": "'utf-8'", "datestyle": "iso,dmy", "TimeZone": "europe/berlin",
               "IntervalStyle": "ISO_8601"}
    with Connection("127.0.0.1", pg.port) as direct, Connection("127.0.0.1", proxy.port) as through:
        assert direct.log_in(**options)[-1][0] == through.log_in(**options)[-1][0] == b"Z"
        assert direct.parameters == through.parameters


@pytest.mark.parametrize("options, code", [
    ("-c nonsense_parameter=1", "42704"),
    ("-c work_mem=much", "22023"),
    ("-c DateStyle=nonsense", "22023"),
    ("-c max_connections=5", "55P02"),
    ("-x", None), ("-c", None), ("-c =", None), ("-c ''=1", None), ("--", None), ("-c a", None),
    ("-c 'x;drop table y'=1", None),
])
def test_bad_startup_options(trusting, pg, options, code):
    proxy = trusting("auto")
    for _ in range(2):
        with Connection("127.0.0.1", proxy.port) as client:
            seen = client.log_in(options=options)
            assert seen[-1][0] == b"E", seen
            error = fields(seen[-1][1])
            assert error["S"] == "FATAL"
            assert error["M"]
            if code:
                assert error["C"] == code
                with Connection("127.0.0.1", pg.port) as direct:
                    assert error["M"] == fields(direct.log_in(options=options)[-1][1])["M"]
    assert who(proxy, "postgres")[0] == "postgres"


@pytest.mark.parametrize("name", ["nonsense_parameter", "work_mem", "nonsense"])
def test_bad_startup_parameters(trusting, pg, name):
    proxy = trusting("auto")
    with Connection("127.0.0.1", proxy.port) as client, Connection("127.0.0.1", pg.port) as direct:
        error = fields(client.log_in(**{name: "much"})[-1][1])
        expected = fields(direct.log_in(**{name: "much"})[-1][1])
        for field in "SCM":
            assert error[field] == expected[field]


def test_values_cannot_smuggle_sql(trusting):
    proxy = trusting("auto")
    for value in ("x'; select 1/0; --", "x\\'; select 1/0; --", "$$;select 1/0", "a\"b"):
        with Connection("127.0.0.1", proxy.port) as client:
            seen = client.log_in(application_name=value)
            assert seen[-1][0] == b"Z", seen
            rows = [body[6:].decode() for kind, body in client.ask("show application_name")
                    if kind == b"D"]
            assert rows == [value]


# --- Backends ------------------------------------------------------------------------------------

def test_two_databases_are_two_pools(proxy, observer):
    role = "app"
    assert who(proxy, role, "app secret", "postgres") == (role, "postgres")
    assert who(proxy, role, "app secret", "renamed") == (role, "template1")
    found = observer.rows("select datname, count(*) from pg_stat_activity where usename = 'app' "
                          "group by 1 order by 1")
    assert found == [("postgres", 1), ("template1", 1)]
    assert proxy.metric("dwspool_pool_backends", database="postgres", user="app") == 1
    assert proxy.metric("dwspool_pool_backends", database="renamed", user="app") == 1


def test_forced_backend_user(proxy, observer):
    for user, password in (("other", "other secret"), ("verified", "app secret"),
                           ("trusted", None)):
        assert who(proxy, user, password, "forced") == ("app", "postgres")
    assert len(observer.pids("app")) == 1


def count_failures(pg, user):
    with open(pg.log_path, encoding="utf-8", errors="replace") as log:
        return log.read().count(f'FATAL:  password authentication failed for user "{user}"')


@pytest.mark.parametrize("user, workers", [("app", 1), ("other", 1), ("legacy", 1), ("app", 3)])
def test_wrong_backend_password_is_tried_once(proxies, pg, user, workers):
    """DWS locks an account for a day after ten failures."""
    proxy = proxies({
        "auth_method": "trust", "workers": workers,
        "defaults": {"pool_size": 10, "queue_timeout": "10s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {user: {"backend_password": "wrong"}},
    })
    before = count_failures(pg, user)
    errors = []

    def knock():
        with Connection("127.0.0.1", proxy.port) as client:
            errors.append(fields(client.log_in(user)[-1][1]))

    for _ in range(2):
        threads = [threading.Thread(target=knock) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(errors) == 40
    for error in errors:
        assert error["C"] == "28P01"
        assert error["S"] == "FATAL"
        assert error["M"] == f'password authentication failed for user "{user}"'
    assert count_failures(pg, user) - before == 1


def test_wrong_backend_password_does_not_hold_other_users(proxies, pg):
    proxy = proxies({
        "auth_method": "trust",
        "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"app": {"backend_password": "wrong"},
                  "fine": {"backend_user": "app", "backend_password": "app secret"},
                  "other": {"backend_password": "other secret"}},
    })
    with pytest.raises(psycopg2.OperationalError):
        who(proxy, "app")
    assert who(proxy, "other")[0] == "other"


def test_same_backend_user_with_another_password(proxies, pg):
    proxy = proxies({
        "auth_method": "trust",
        "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}},
        "users": {"app": {"backend_password": "wrong"},
                  "fine": {"backend_user": "app", "backend_password": "app secret"}},
    })
    with pytest.raises(psycopg2.OperationalError):
        who(proxy, "app")
    assert who(proxy, "fine")[0] == "app"


def test_no_backend_password_at_all(proxies, pg):
    proxy = proxies({
        "auth_method": "trust", "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"*": {}},
    })
    for user in ("app", "other", "legacy"):
        _, error = refused(proxy, user, None)
        assert error["C"].startswith("28")
        assert user in error["M"]


def test_unknown_role_on_the_server(proxies, pg):
    proxy = proxies({
        "auth_method": "trust", "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"*": {}},
    })
    _, error = refused(proxy, "no_such_role", None)
    assert (error["C"], error["M"]) == ("28000", 'role "no_such_role" does not exist')


def test_no_secret_is_shown(proxy):
    who(proxy, "app", "app secret")
    who(proxy, "as_app", "p")
    with pytest.raises(psycopg2.OperationalError):
        who(proxy, "app", "a wrong one")
    shown = proxy.log() + proxy.http("/metrics")[1]
    with open(f"/proc/{proxy.process.pid}/cmdline", encoding="utf-8") as file:
        shown += file.read()
    for secret in ("app secret", "other secret", "legacy secret", "a wrong one", "SCRAM-SHA-256$",
                   md5_of("legacy", "legacy secret")):
        assert secret not in shown


def test_log_in_timeout(proxies, pg):
    proxy = proxies({
        "auth_method": "scram-sha-256", "client_login_timeout": "300ms",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"app": {"password": "app secret"}},
    })
    silent = Connection("127.0.0.1", proxy.port)
    half = Connection("127.0.0.1", proxy.port)
    half.send(startup({"user": "app", "database": "postgres"}))
    half.receive()
    ready = psycopg2.connect(proxy.dsn("app", password="app secret"))
    assert silent.until_closed() == []
    half.until_closed()
    assert proxy.metric("dwspool_client_refusals_total", reason="login_timeout") == 2
    wait_until(lambda: proxy.metric("dwspool_clients") == 1, what="one client left")
    with ready.cursor() as cursor:
        cursor.execute("select 1")
    ready.close()
    silent.close()
    half.close()


def test_psql_without_a_password_says_so(proxy):
    result = subprocess.run(["psql", "-X", "-w", "-c", "select 1",
                             f"host=127.0.0.1 port={proxy.port} user=app dbname=postgres"],
                            capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2
    assert "no password supplied" in result.stderr
