"""{method} x {where the secret comes from} x {way in} x {right, wrong, unknown, expired, empty, 1 KB},
by several clients, towards PostgreSQL and the fake coordinator. Who is not right is told so by 28P01
or 28000 and nothing else, and no account at a coordinator has more failures than clients tried."""

import concurrent.futures
import datetime
import hashlib

import psycopg2
import pytest
from dwspool_testing.certificates import Authority
from dwspool_testing.programs import login_programs, run
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import Connection, fields
from fake_cn import Role
from fake_cn.verifiers import COMBINED, MD5, SHA256, TRUST

PASSWORD = "right Gauss@123"
LONG = "x" * 1024
# The roles of the server, by how it asks for their passwords, and one whose time is over.
ASKED = {"scram": "scram-sha-256", "md5ed": "md5", "clear": "password"}
EXPIRED = "expired"
WRONG = 'password authentication failed for user "{}"'
METHODS = ["scram-sha-256", "md5", "password"]
SOURCES = ["configured", "auth_query", "pass_through"]


@pytest.fixture(scope="module")
def server(pg):
    """The shared PostgreSQL, with these roles and their lines in pg_hba.conf."""
    before = list(pg.hba)
    pg.hba[:0] = [f"host all {name} 127.0.0.1/32 {how}" for name, how in ASKED.items()]
    pg.hba.insert(0, f"host all {EXPIRED} 127.0.0.1/32 scram-sha-256")
    pg.write_hba()
    pg.reload()
    for name in (*ASKED, EXPIRED):
        kind = "md5" if name == "md5ed" else "scram-sha-256"
        until = "valid until '2020-01-01'" if name == EXPIRED else ""
        pg.psql(f"set password_encryption = '{kind}';"
                f"create role {name} login password '{PASSWORD}' {until}")
    pg.psql("create role keeper_of_the_matrix login superuser")
    yield pg
    pg.psql(f"drop role {', '.join(ASKED)}, {EXPIRED}, keeper_of_the_matrix")
    pg.hba[:] = before
    pg.write_hba()
    pg.reload()


@pytest.fixture(scope="module")
def ca():
    authority = Authority().issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    yield authority
    authority.destroy()


def config(port, method, source, ca, users):
    cluster = {"coordinators": [f"127.0.0.1:{port}"]}
    if source == "auth_query":
        cluster["auth_query"] = {"user": "keeper_of_the_matrix", "database": "postgres"}
    elif source == "pass_through":
        cluster["pass_through"] = {}
    return {
        "auth_failure_limit": 0, "defaults": {"queue_timeout": "5s"},
        "clusters": {"main": cluster}, "databases": {"*": {"database": "postgres"}},
        "users": users if source == "configured" else {}, "access": [{"method": method}],
        "tls": {"certificate": ca.cert("server"), "key": ca.key("server")},
    }


def enter(proxy, user, password, way):
    """The SQLSTATE of the refusal, or "in" as whom; by psycopg2, which says no SQLSTATE itself."""
    options = {"tls": {"sslmode": "require"}, "clear": {"sslmode": "disable"},
               "unix": {"host": proxy.dir}}[way]
    if password == "":  # libpq does not send one
        assert way == "unix"
        with Connection(proxy.dir, proxy.port) as client:
            kind, body = client.log_in(user, "postgres", "")[-1]
            return fields(body)["C"] if kind == b"E" else "in"
    try:
        connection = psycopg2.connect(proxy.dsn(user, "postgres", password, **options))
    except psycopg2.OperationalError as error:
        text = str(error).strip().split("FATAL:  ")[-1]
        if text == WRONG.format(user):
            return "28P01"
        assert text.startswith(("a password in clear is taken by TLS only", "the server asks for",
                                "too many passwords of this user",
                                "The account is not within the period")), text
        return "28000"
    try:
        with connection.cursor() as cursor:
            cursor.execute("select current_user")
            return f"in as {cursor.fetchone()[0]}"
    finally:
        connection.close()


def gets_in(method, source, user):
    """What the right password comes to over TLS."""
    if source == "configured":
        return True
    if source == "pass_through":
        return method == "password"  # nothing else brings the password
    if user == "md5ed":
        return method != "scram-sha-256"  # the catalog has an md5 hash
    return user == "scram"  # keys do not help where the server wants the password


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
def test_towards_postgresql(server, proxies, ca, method, source):
    users = {name: {"password": PASSWORD} for name in ASKED}
    proxy = proxies(config(server.port, method, source, ca, users))
    for user in ASKED:
        for way in ("tls", "clear", "unix"):
            right = f"in as {user}" if gets_in(method, source, user) else None
            wrong = "28P01"
            if method == "password" and way == "clear":
                right, wrong = "28000", "28000"
            outcome = enter(proxy, user, PASSWORD, way)
            assert outcome == right or (right is None and outcome in ("28P01", "28000")), \
                (user, way, outcome)
            for given in ("wrong", LONG, PASSWORD + " "):
                assert enter(proxy, user, given, way) == wrong, (user, way, given)
            for other in ("nobody", EXPIRED):
                assert enter(proxy, other, PASSWORD, way) == wrong, (other, way)
        assert enter(proxy, user, "", "unix") == "28P01"
    assert enter(proxy, "nobody", "", "unix") == "28P01"
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, what="nobody left")


def dws_gets_in(method, source, kind):
    if source == "auth_query" and kind == MD5:
        return method != "scram-sha-256"
    return source == "configured" or method == "password"


@pytest.mark.parametrize("kind", [SHA256, COMBINED, MD5])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
def test_towards_dws(proxies, fake, ca, method, source, kind):
    over = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    cn = fake(Role("dbadmin", PASSWORD, kind, iterations=2048, pg_user="postgres"),
              Role("bystander", PASSWORD, kind, iterations=2048, pg_user="postgres"),
              Role(EXPIRED, PASSWORD, kind, iterations=2048, pg_user="postgres", valid_until=over),
              Role("keeper_of_the_matrix", kind=TRUST, pg_user="postgres"))
    proxy = proxies(config(cn.port, method, source, ca, {"dbadmin": {"password": PASSWORD}}))
    works = dws_gets_in(method, source, kind)
    for way in ("tls", "unix"):
        assert enter(proxy, "dbadmin", PASSWORD, way) == ("in as postgres" if works else "28P01")
    tried = 0
    for given in ("wrong", LONG, PASSWORD + " ", "other"):
        for way in ("tls", "clear", "unix"):
            outcome = enter(proxy, "dbadmin", given, way)
            assert outcome in ("28P01", "28000"), (given, way)
        tried += 1
        assert cn.role("dbadmin").wrong <= min(tried, 3)
    assert enter(proxy, "dbadmin", "", "unix") == "28P01"
    assert enter(proxy, "nobody", PASSWORD, "tls") == "28P01"
    for given in (PASSWORD, "wrong"):
        for way in ("tls", "unix"):
            assert enter(proxy, EXPIRED, given, way) in ("28P01", "28000")
    assert cn.role(EXPIRED).wrong <= 1
    assert cn.role("dbadmin").wrong == (3 if source == "pass_through" and works else 0)
    assert (cn.role("bystander").attempts, cn.role("dbadmin").locked) == (0, False)
    if works:
        assert enter(proxy, "dbadmin", PASSWORD, "tls") == "in as postgres"


@pytest.mark.parametrize("kind", [SHA256, MD5])
def test_password_changed_under_a_pool_at_work(proxies, fake, kind):
    """Twenty clients want backends at once with a password that was good a moment ago."""
    cn = fake(Role("dbadmin", PASSWORD, kind, iterations=2048, pg_user="postgres"))
    proxy = proxies({
        "auth_method": "trust", "defaults": {"pool_size": 20, "queue_timeout": "5s"},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{cn.port}"]}},
        "databases": {"*": {"database": "postgres"}}, "users": {"dbadmin": {"password": PASSWORD}},
    })
    clients = [psycopg2.connect(proxy.dsn("dbadmin")) for _ in range(20)]
    for client in clients:
        client.autocommit = True
    cn.role("dbadmin").set_password("another")
    cn.kill_sessions()
    wait_until(lambda: not cn.sessions, what="no session left")

    def ask(client):
        with client.cursor() as cursor:
            try:
                cursor.execute("select 1")
            except psycopg2.Error as error:
                return error.pgcode
            return "in"

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, clients)) == {"28P01"}
    assert 1 <= cn.role("dbadmin").wrong <= 3 and not cn.role("dbadmin").locked
    for client in clients:
        client.close()


# --- Other clients -------------------------------------------------------------------------------

@pytest.mark.parametrize("source, method", [("auth_query", "scram-sha-256"),
                                            ("pass_through", "password")])
def test_other_drivers(server, proxies, ca, tmp_path, source, method):
    """node-postgres and pgjdbc, and psql. How each says it is the driver's, what it says is not."""
    proxy = proxies(config(server.port, method, source, ca, {}))
    attempts = [("scram", PASSWORD), ("scram", "wrong"), ("scram", LONG), ("nobody", PASSWORD),
                (EXPIRED, PASSWORD)]
    found = list(login_programs(tmp_path))
    for command, variables in found:
        words = [word for user, password in attempts for word in (user, password, "tls")]
        result = run([*command, str(proxy.port), *words], **variables)
        assert result.stdout.split() == ["in", *["28P01"] * 4], (command[0], result.stderr)
    for user, password in attempts:
        result = run(["psql", "-X", "-At", "-w", "-c", "select current_user",
                      f"host=127.0.0.1 port={proxy.port} user={user} dbname=postgres "
                      "sslmode=require"], check=False, PGPASSWORD=password)
        if (user, password) == attempts[0]:
            assert result.stdout == "scram\n", result.stderr
        else:
            assert result.returncode == 2 and WRONG.format(user) in result.stderr


@pytest.mark.parametrize("source", ["auth_query", "pass_through"])
def test_other_drivers_towards_dws(fake, proxies, ca, tmp_path, source):
    """None of which could log in there by itself."""
    cn = fake(Role("dbadmin", PASSWORD, SHA256, iterations=2048, pg_user="postgres"),
              Role("keeper_of_the_matrix", kind=TRUST, pg_user="postgres"))
    proxy = proxies(config(cn.port, "password", source, ca, {}))
    attempts = [("dbadmin", PASSWORD), ("dbadmin", "wrong"), ("nobody", PASSWORD)]
    found = list(login_programs(tmp_path))
    for command, variables in found:
        words = [word for user, password in attempts for word in (user, password, "tls")]
        result = run([*command, str(proxy.port), *words], **variables)
        assert result.stdout.split() == ["in", "28P01", "28P01"], (command[0], result.stderr)
    for user, password in attempts:
        result = run(["psql", "-X", "-At", "-w", "-c", "select current_user",
                      f"host=127.0.0.1 port={proxy.port} user={user} dbname=postgres "
                      "sslmode=require"], check=False, PGPASSWORD=password)
        if (user, password) == attempts[0]:
            assert result.stdout == "postgres\n", result.stderr
        else:
            assert result.returncode == 2 and WRONG.format(user) in result.stderr
    assert cn.role("dbadmin").wrong == (1 if source == "pass_through" else 0)


def test_methods_and_hashes_that_do_not_fit(server, proxies, ca):
    """A hash is no password, wherever it comes from."""
    stored = server.psql("select rolpassword from pg_authid where rolname = 'scram'")
    md5 = "md5" + hashlib.md5((PASSWORD + "md5ed").encode()).hexdigest()
    for source in SOURCES[1:]:
        for method in METHODS:
            proxy = proxies(config(server.port, method, source, ca, {}))
            for user, text in (("scram", stored), ("md5ed", md5)):
                assert enter(proxy, user, text, "tls") == "28P01", (source, method, user)
