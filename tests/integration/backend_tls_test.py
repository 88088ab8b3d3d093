"""TLS towards servers: sslmode as libpq means it, and servers that lie."""

import os
import pwd
import shutil
import socket
import threading
import time

import psycopg2
import pytest

from dwspool_testing.certificates import Authority
from dwspool_testing.middleman import Middleman
from dwspool_testing.postgres import Postgres
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import (SSL_REQUEST, Connection, cancel_request, fields, message,
                                  query)
from fake_cn.verifiers import SHA256
from fake_cn import Role


@pytest.fixture(scope="module")
def ca():
    authority = Authority()
    authority.issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    authority.issue("certified")
    yield authority
    authority.destroy()


@pytest.fixture(scope="module")
def tls_pg(ca):
    """A PostgreSQL with TLS; who may come in how is in its pg_hba.conf."""
    server = Postgres(name="tls", settings={"ssl": "on"}, hba=[
        "hostssl all certified 127.0.0.1/32 cert",
        "hostssl all only_tls 127.0.0.1/32 scram-sha-256",
        "hostnossl all only_clear 127.0.0.1/32 scram-sha-256",
        "host all only_tls 127.0.0.1/32 reject",
        "host all only_clear 127.0.0.1/32 reject",
        "host all either 127.0.0.1/32 scram-sha-256",
    ])
    server.init()
    account = pwd.getpwnam("postgres")
    for source, name in ((ca.cert("server"), "server.crt"), (ca.key("server"), "server.key"),
                         (ca.cert("ca"), "root.crt")):
        path = os.path.join(server.data, name)
        shutil.copy(source, path)
        os.chmod(path, 0o600)
        if os.geteuid() == 0:
            os.chown(path, account.pw_uid, account.pw_gid)
    with open(os.path.join(server.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
        conf.write("ssl_ca_file = 'root.crt'\n")
    server.start()
    try:
        server.psql("create role certified login; create role only_tls login password 'secret';"
                    "create role only_clear login password 'secret';"
                    "create role either login password 'secret'")
        yield server
    finally:
        server.destroy()


@pytest.fixture
def before(proxies):
    """A dwspool that trusts its clients, before the server at this port."""

    def start(port, tls=None, conninfo=None, host="127.0.0.1", users=("either",), patience="10s",
              **cluster):
        cluster = dict(cluster, coordinators=[f"{host}:{port}"])
        if conninfo:
            cluster = {"conninfo": conninfo}
        if tls is not None:
            cluster["tls"] = tls
        return proxies({
            "clusters": {"main": cluster}, "databases": {"*": {}},
            "defaults": {"queue_timeout": patience}, "auth_method": "trust",
            "users": {name: {"auth": "trust", "backend_password": "secret"} for name in users},
        })

    return start


def how(proxy, user="either"):
    """Whether the backend of a new session is encrypted; or why there is none."""
    try:
        with psycopg2.connect(proxy.dsn(user)) as connection, connection.cursor() as cursor:
            cursor.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            return "tls" if cursor.fetchone()[0] else "clear"
    except psycopg2.OperationalError as error:
        return str(error)


@pytest.mark.parametrize("mode,with_tls,without", [
    ("disable", "clear", "clear"), ("allow", "clear", "clear"), ("prefer", "tls", "clear"),
    ("require", "tls", "does not support TLS"), ("verify-ca", "tls", "does not support TLS"),
    ("verify-full", "tls", "does not support TLS"),
])
def test_every_mode(before, tls_pg, pg, ca, mode, with_tls, without):
    section = {"mode": mode}
    if mode.startswith("verify"):
        section["root_certificate"] = ca.cert("ca")
    assert how(before(tls_pg.port, section)) == with_tls
    patience = "10s" if without == "clear" else "1s"
    assert without in how(before(pg.port, section, users=("postgres",), patience=patience),
                          "postgres")
    # A Unix socket has no TLS, whatever the mode.
    assert how(before(tls_pg.port, section, host=tls_pg.dir)) == "clear"


def test_the_other_way(before, tls_pg):
    """What pg_hba.conf lets in only by one way is tried by the other, where libpq would."""
    users = ("only_tls", "only_clear")
    rows = {"disable": ("no encryption", "clear"), "allow": ("tls", "clear"),
            "prefer": ("tls", "clear"), "require": ("tls", "pg_hba.conf")}
    for mode, (only_tls, only_clear) in rows.items():
        proxy = before(tls_pg.port, {"mode": mode}, users=users)
        assert only_tls in how(proxy, "only_tls") or "reject" in how(proxy, "only_tls")
        assert only_clear in how(proxy, "only_clear")


def test_verification(before, tls_pg, ca):
    stranger = Authority("another ca")
    try:
        trusted, other = ca.cert("ca"), stranger.cert("ca")
        assert how(before(tls_pg.port, {"mode": "verify-full", "root_certificate": trusted},
                          host="localhost")) == "tls"
        answer = how(before(tls_pg.port, {"mode": "verify-ca", "root_certificate": other},
                            patience="1s"))
        assert "certificate verify failed" in answer
        # As in libpq: with a root certificate, require is verify-ca.
        assert "certificate verify failed" in how(
            before(tls_pg.port, {"mode": "require", "root_certificate": other}, patience="1s"))
        assert how(before(tls_pg.port, {"mode": "prefer", "root_certificate": other})) == "clear"
        local = f"port={tls_pg.port} sslrootcert={trusted}"
        assert how(before(0, conninfo=f"host=localhost {local} sslmode=verify-full")) == "tls"
        assert how(before(0, conninfo=f"host=localhost hostaddr=127.0.0.1 {local} "
                                      "sslmode=verify-full")) == "tls"
        assert "mismatch" in how(before(0, conninfo=f"host=elsewhere hostaddr=127.0.0.1 {local} "
                                                    "sslmode=verify-full", patience="1s"))
    finally:
        stranger.destroy()


def test_our_certificate(before, tls_pg, ca):
    tls = {"mode": "require", "certificate": ca.cert("certified"), "key": ca.key("certified")}
    proxy = before(tls_pg.port, tls, users=("certified",))
    assert how(proxy, "certified") == "tls"
    assert proxy.metric("dwspool_certificate_not_after_timestamp_seconds",
                        use="cluster main") > 0


def test_sessions_move_between_workers_with_their_tls(proxies, tls_pg):
    proxy = proxies({
        "workers": 2, "auth_method": "trust", "databases": {"*": {}},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{tls_pg.port}"],
                              "tls": {"mode": "require"}}},
        "defaults": {"pool_size": 1, "pool_mode": "transaction"},
        "users": {"either": {"backend_password": "secret"}},
    })
    assert [how(proxy) for _ in range(6)] == ["tls"] * 6
    assert proxy.metric("dwspool_backends_opened_total") == 1


def test_large_answers(before, tls_pg):
    proxy = before(tls_pg.port, {"mode": "require"})
    with psycopg2.connect(proxy.dsn("either")) as connection, connection.cursor() as cursor:
        text = "x" * 3_000_000
        cursor.execute("select %s || 'y'", (text,))
        assert cursor.fetchone()[0] == text + "y"
        cursor.execute("select repeat('z', 1000) from generate_series(1, 20000)")
        assert sum(len(row[0]) for row in cursor) == 20_000_000


def test_cancel_goes_over_tls_too(before, tls_pg):
    with Middleman(("127.0.0.1", tls_pg.port)) as middle:
        proxy = before(middle.port, {"mode": "require"})
        with Connection("127.0.0.1", proxy.port) as client:
            client.log_in("either")
            client.send(query("select pg_sleep(20)"))
            time.sleep(0.3)
            with socket.create_connection(("127.0.0.1", proxy.port)) as other:
                other.sendall(cancel_request(client.pid, client.secret))
                answer = client.until_ready()
            assert [fields(body)["C"] for kind, body in answer if kind == b"E"] == ["57014"]
        assert middle.cancels == 0, "a key that came by TLS went out in clear"
        assert middle.connections == 2


def lying_server(answer):
    """Answers every request for TLS with these bytes; a list of what else it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    first = connection.recv(1000)
                    if first == SSL_REQUEST:
                        connection.sendall(answer)
                        heard.append(connection.recv(1000))
                    else:
                        heard.append(first)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return listener, heard


FAKE_LOGIN = message(b"R", b"\0\0\0\0") + message(b"K", b"\0\0\0\1abcd") + message(b"Z", b"I")
FAKE_ERROR = message(b"E", b"SFATAL\0C28P01\0Mplease send your password to evil.example\0\0")


@pytest.mark.parametrize("mode", ["prefer", "require"])
@pytest.mark.parametrize("answer", [b"S" + FAKE_LOGIN, b"N" + FAKE_LOGIN],
                         ids=["behind S", "behind N"])
def test_bytes_behind_the_answer_cve_2021_43767(before, mode, answer):
    """Odyssey CVE-2021-43767, PostgreSQL CVE-2021-23222: what somebody in between adds in clear
    would be taken for what the server says."""
    listener, heard = lying_server(answer)
    with listener:
        proxy = before(listener.getsockname()[1], {"mode": mode}, patience="1s")
        assert "in clear behind its answer" in how(proxy)
        assert set(heard) <= {b""}, "it was talked to"


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_an_error_in_place_of_the_answer_is_not_believed(before, mode):
    """PostgreSQL CVE-2024-10977."""
    listener, heard = lying_server(FAKE_ERROR)
    with listener:
        proxy = before(listener.getsockname()[1], {"mode": mode}, patience="1s")
        answer = how(proxy)
        assert "evil" not in answer and "evil" not in proxy.log()
        in_clear = [packet for packet in heard if packet]
        assert bool(in_clear) is (mode == "prefer")


def test_one_wrong_password_counts_once(fake, before):
    """libpq's prefer and allow try a wrong password twice, by TLS and in clear."""
    for mode in ("allow", "prefer"):
        cn = fake(Role("either", "another secret", SHA256, pg_user="postgres"), tls=True)
        proxy = before(cn.port, {"mode": mode})
        assert "password" in how(proxy) or "Invalid" in how(proxy)
        assert cn.role("either").wrong == 1
        assert cn.counts["tls"] == (mode == "prefer")


def test_dws(fake, before, ca):
    """TLS of a coordinator, whose certificate holds no name; also where it is required."""
    for mode in ("allow", "prefer", "require"):
        cn = fake(Role("either", "secret", SHA256, pg_user="postgres"), tls=True, require_ssl=True)
        proxy = before(cn.port, {"mode": mode})
        with psycopg2.connect(proxy.dsn("either")) as connection, connection.cursor() as cursor:
            cursor.execute("select 1")
        assert cn.counts["tls"] == 1
        wait_until(lambda: "method=gaussdb-sha256" in proxy.log(), what="the log-in")
