"""The PROXY protocol: behind a load balancer, a client is who it is, and not the balancer."""

import socket
import struct
import threading
import time

import psycopg2
import pytest
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until

V2_START = b"\r\n\r\n\0\r\nQUIT\n"


def v1(address, port):
    return f"PROXY TCP4 {address} 127.0.0.1 {port} 6432\r\n".encode()


def v2(address, port, extension=b""):
    body = socket.inet_aton(address) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 6432) + extension
    return V2_START + b"\x21\x11" + struct.pack("!H", len(body)) + body


@pytest.fixture
def behind(trusting):
    """A dwspool that takes this machine for a load balancer."""

    def start(networks=("127.0.0.0/8",), **overrides):
        port = free_port()
        proxy = trusting(listen=[{"host": "127.0.0.1", "port": port, "proxy_protocol": list(networks)}],
                         console={"stats_users": ["postgres"]}, **overrides)
        proxy.port = port
        return proxy

    return start


class Balancer:
    """Sends the header, and then lets a driver go on: psycopg2 connects to it."""

    def __init__(self, target, header, cut=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(target, header, cut), daemon=True).start()

    def _serve(self, target, header, cut):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", target))
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if cut is None:  # in one segment with what the client says first
            server.sendall(header + client.recv(65536))
        else:
            server.sendall(header[:cut])
            time.sleep(0.05)
            server.sendall(header[cut:])

        def pump(source, sink):
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join(5)
        client.close()
        server.close()


@pytest.mark.parametrize("header, cut", [
    (v1("192.0.2.7", 4711), None), (v2("192.0.2.7", 4711), None), (v1("192.0.2.7", 4711), 9),
    (v2("192.0.2.7", 4711, b"\x04\0\x03abc"), 20),
])
def test_the_console_shows_the_client_and_not_the_balancer(behind, header, cut):
    proxy = behind()
    balancer = Balancer(proxy.port, header, cut)
    connection = psycopg2.connect(host="127.0.0.1", port=balancer.port, user="postgres", dbname="dwspool")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("show clients")
        row = dict(zip([column.name for column in cursor.description], cursor.fetchone()))
    connection.close()
    assert (row["addr"], row["port"]) == ("192.0.2.7", 4711)


def test_access_rules_mean_the_client(behind):
    proxy = behind(access=[{"type": "host", "address": "192.0.2.0/24", "method": "trust"}])
    for address, welcome in (("192.0.2.9", True), ("198.51.100.1", False)):
        balancer = Balancer(proxy.port, v2(address, 1))
        if welcome:
            psycopg2.connect(host="127.0.0.1", port=balancer.port, user="postgres", dbname="postgres").close()
        else:
            with pytest.raises(psycopg2.OperationalError, match="from 198.51.100.1"):
                psycopg2.connect(host="127.0.0.1", port=balancer.port, user="postgres", dbname="postgres")


def test_who_is_no_balancer_cannot_say_who_it_is(behind):
    proxy = behind(networks=["10.0.0.0/8"])
    psycopg2.connect(proxy.dsn("postgres")).close()  # needs no header
    with socket.create_connection(("127.0.0.1", proxy.port)) as liar:
        liar.settimeout(5)
        liar.sendall(v2("192.0.2.7", 4711))
        assert liar.recv(65536)[:1] in (b"E", b"")
    wait_until(lambda: "[client.protocol_violation]" in proxy.log(), what="a refusal")
    assert "192.0.2.7" not in proxy.log()


def test_a_balancer_must_send_a_header(behind):
    proxy = behind()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(proxy.dsn("postgres"))
    wait_until(lambda: "[client.proxy_header]" in proxy.log(), what="a line in the log")
    assert proxy.metric("dwspool_client_refusals_total", reason="protocol_violation") == 1
    # Its health checks: it connects and leaves, or speaks for itself.
    socket.create_connection(("127.0.0.1", proxy.port)).close()
    balancer = Balancer(proxy.port, V2_START + b"\x20\0\0\0")
    psycopg2.connect(host="127.0.0.1", port=balancer.port, user="postgres", dbname="postgres").close()
