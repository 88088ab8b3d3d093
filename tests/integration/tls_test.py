"""TLS towards clients: every mode, real clients, and bytes that must not be believed."""

import os
import shutil
import signal
import socket
import ssl
import struct

import psycopg2
import pytest

from dwspool_testing.certificates import Authority
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import SSL_REQUEST, query, startup

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


@pytest.fixture(scope="module")
def ca():
    authority = Authority()
    authority.issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    authority.issue("next", "localhost", "DNS:localhost,IP:127.0.0.1", days=3)
    authority.issue("app")
    authority.issue("mail", "somebody", "email:app@example,DNS:app")
    authority.issue("revoked", "app")
    yield authority
    authority.destroy()


@pytest.fixture
def secure(pg, proxies, ca):
    """A dwspool with TLS towards clients."""

    def start(mode=None, **tls):
        section = dict(certificate=ca.cert("server"), key=ca.key("server"), **tls)
        if mode:
            section["mode"] = mode
        if mode and mode.startswith("verify"):
            section.setdefault("client_ca", ca.cert("ca"))
        if mode == "disable":
            section = {"mode": mode}
        return proxies({
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"*": {"database": "postgres"}},
            "users": {"app": {"password": "app secret"}},
            "tls": section,
        })

    return start


def connect(proxy, user="app", password="app secret", **options):
    return psycopg2.connect(proxy.dsn(user, password=password, connect_timeout=10, **options))


def works(proxy, **options):
    with connect(proxy, **options) as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        return connection.info.ssl_in_use


def outcome(proxy, **options):
    try:
        return "tls" if works(proxy, **options) else "clear"
    except psycopg2.OperationalError as error:
        text = str(error)
        if "TLS is required" in text:
            return "required"
        if "does not support SSL" in text:
            return "unsupported"
        return "refused" if "SSL" in text or "password" in text or "closed" in text else text


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(secure, ca, mode):
    """What the listener wants, with what a client may want."""
    proxy = secure(mode)
    own = dict(sslcert=ca.cert("app"), sslkey=ca.key("app"))
    found = {wish: outcome(proxy, sslmode=wish) for wish in ("disable", "prefer", "require")}
    with_certificate = outcome(proxy, sslmode="verify-full", sslrootcert=ca.cert("ca"), **own)
    if mode == "disable":
        assert found == {"disable": "clear", "prefer": "clear", "require": "unsupported"}
        assert with_certificate == "unsupported"
    elif mode in ("allow", "prefer"):
        assert found == {"disable": "clear", "prefer": "tls", "require": "tls"}
        assert with_certificate == "tls"
    elif mode == "require":
        assert found == {"disable": "required", "prefer": "tls", "require": "tls"}
        assert with_certificate == "tls"
    else:
        # With TLS 1.3 libpq hears of the refusal when it thinks that hands are shaken.
        assert found == {"disable": "required", "prefer": "refused", "require": "refused"}
        assert with_certificate == "tls"
    # A Unix socket needs no TLS, and has none.
    assert outcome(proxy, host=proxy.dir, sslmode="prefer") == "clear"


def test_certificates_of_clients(secure, ca):
    crl = ca.revoke("revoked")
    strangers = Authority("somebody else's ca").issue("app")
    try:
        for mode in ("verify-ca", "verify-full"):
            proxy = secure(mode, client_crl=crl)

            def shown(name, of=ca):
                return outcome(proxy, sslmode="require", sslcert=of.cert(name),
                               sslkey=of.key(name))

            assert shown("app") == "tls"
            assert shown("mail") == "tls"  # by its alternative name
            assert shown("server") == ("tls" if mode == "verify-ca" else "refused")
            assert shown("revoked") == "refused"
            assert shown("app", strangers) == "refused"
            wait_until(lambda: "certificate revoked" in proxy.log(), what="the reason in the log")
            assert proxy.metric("dwspool_client_refusals_total", reason="tls") >= 2
    finally:
        strangers.destroy()


def test_versions_and_ciphers(secure, ca):
    proxy = secure("require", min_version="1.3")
    assert outcome(proxy, sslmode="require", ssl_max_protocol_version="TLSv1.2") == "refused"
    with connect(proxy, sslmode="require") as connection:
        assert connection.info.ssl_attribute("protocol") == "TLSv1.3"
    proxy = secure("require", max_version="1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384",
                   curves="prime256v1")
    with connect(proxy, sslmode="require") as connection:
        assert connection.info.ssl_attribute("protocol") == "TLSv1.2"
        assert connection.info.ssl_attribute("cipher") == "ECDHE-ECDSA-AES256-GCM-SHA384"
    wait_until(lambda: "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384" in proxy.log(), what="the log line")


def raw(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def everything(connection):
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return data


@pytest.mark.parametrize("smuggled", [query("select 1"), b"\0", startup({"user": "app"}),
                                      b"\x16\x03\x01"])
def test_bytes_in_clear_before_the_handshake_cve_2021_3935(secure, smuggled):
    """PgBouncer CVE-2021-3935, Odyssey CVE-2021-43766: what somebody in between put behind the
    request for TLS would be taken for what the client says by TLS."""
    proxy = secure("prefer")
    with raw(proxy) as connection:
        connection.sendall(SSL_REQUEST + smuggled)
        answer = everything(connection)
        assert answer[:1] == b"E" and b"08P01" in answer and b"unencrypted data" in answer


def client_context(alpn=None):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def test_tls_only_once(secure):
    proxy = secure("prefer")
    with raw(proxy) as connection:
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        with client_context().wrap_socket(connection) as inner:
            inner.sendall(SSL_REQUEST)
            assert b"08P01" in everything(inner)


@pytest.mark.parametrize("alpn,welcome", [(["postgresql"], True), (["http/1.1", "postgresql"], True),
                                          (["http/1.1"], False), (None, False)])
def test_direct_tls(secure, alpn, welcome):
    """The handshake at once, without asking; who does not say what for by ALPN is refused."""
    proxy = secure("require")
    with raw(proxy) as connection:
        try:
            with client_context(alpn).wrap_socket(connection) as inner:
                inner.sendall(startup({"user": "app", "database": "postgres"}))
                answer = inner.recv(9)
                assert (answer == b"R" + struct.pack("!II", 23 + 0, 10)[:8]
                        or answer[:1] == b"R") is welcome
                if welcome:
                    assert inner.selected_alpn_protocol() == "postgresql"
        except (ssl.SSLError, ConnectionError):
            assert not welcome


def test_no_tickets(secure):
    """Nothing is left of a session by which another one could go on."""
    proxy = secure("prefer")
    with raw(proxy) as connection:
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        with client_context().wrap_socket(connection) as inner:
            inner.sendall(startup({"user": "app"}))
            inner.recv(1)
            assert inner.session is None or not inner.session.has_ticket


def test_handshakes_that_never_end(secure):
    """Garbage, a handshake cut short, and one that stalls: no harm to anybody else."""
    proxy = secure("prefer")
    stalled = [raw(proxy) for _ in range(20)]
    for number, connection in enumerate(stalled):
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        connection.sendall([b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.0\r\n\r\n"][number % 2])
    assert outcome(proxy, sslmode="require") == "tls"
    for connection in stalled:
        connection.close()
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, what="no client left")


def test_large_results_and_slow_readers(secure):
    """More than any buffer holds, in both directions, and by a client that does not read."""
    proxy = secure("require")
    with connect(proxy, sslmode="require") as connection, connection.cursor() as cursor:
        text = os.urandom(2_000_000).hex()
        cursor.execute("select length(%s), md5(%s)", (text, text))
        size, digest = cursor.fetchone()
        assert size == len(text)
        cursor.execute("select repeat('x', 20000) from generate_series(1, 1000)")
        assert sum(len(row[0]) for row in cursor.fetchall()) == 20_000_000
        with open("/dev/null", "w", encoding="utf-8") as sink:
            cursor.copy_expert("copy (select generate_series(1, 300000)) to stdout", sink)
        del digest
    with raw(proxy) as connection:
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"


def test_cancel_of_a_client_with_tls(secure):
    """libpq 15 cancels in clear, also with sslmode=require."""
    proxy = secure("require")
    with connect(proxy, sslmode="require") as connection, connection.cursor() as cursor:
        cursor.execute("set statement_timeout = '20s'")
        import threading
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("select pg_sleep(30)")
        timer.join()
        connection.rollback()


def test_certificates_are_swapped_under_live_connections(pg, proxies, ca, tmp_path):
    cert, key = str(tmp_path / "server.crt"), str(tmp_path / "server.key")

    def put(name):
        shutil.copy(ca.cert(name), cert)
        shutil.copy(ca.key(name), key)
        os.chmod(key, 0o600)

    put("server")
    proxy = proxies({
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
        "databases": {"*": {}}, "users": {"app": {"password": "app secret"}},
        "tls": {"mode": "require", "certificate": cert, "key": key},
    })

    def ends():
        return proxy.metric("dwspool_certificate_not_after_timestamp_seconds", use="clients")

    first = ends()
    with connect(proxy, dbname="postgres", sslmode="require") as connection:
        cursor = connection.cursor()
        cursor.execute("select pg_backend_pid()")
        put("next")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[tls.reloaded]" in proxy.log(), what="the reload")
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        assert ends() == pytest.approx(first + 86400, abs=60)
        with connect(proxy, dbname="postgres", sslmode="verify-full", sslrootcert=ca.cert("ca")):
            pass
        # A broken file changes nothing.
        with open(cert, "w", encoding="utf-8") as file:
            file.write("no certificate")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[tls.reload_failed]" in proxy.log(), what="the complaint")
        with connect(proxy, dbname="postgres", sslmode="verify-full", sslrootcert=ca.cert("ca")):
            pass
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,)
