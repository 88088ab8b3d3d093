#!/usr/bin/python3
"""What a TLS client that does nothing costs, beside PgBouncer: memory for each, and how many log in
within a second. The certificate is swapped while they are connected, and half of them come again.

usage: tls_idle.py DWSPOOL_BINARY [--clients 2000]
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from dwspool_testing.certificates import Authority  # noqa: E402
from dwspool_testing.ports import free_port  # noqa: E402
from dwspool_testing.postgres import Postgres  # noqa: E402
from dwspool_testing.proxy import Proxy, wait_until  # noqa: E402
from dwspool_testing.wire import SSL_REQUEST, startup  # noqa: E402


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def context(ca):
    made = ssl.create_default_context(cafile=ca.cert("ca"))
    made.check_hostname = False
    return made


def log_in(port, tls):
    """A client that is in, and idle."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as all drivers do
    connection.sendall(SSL_REQUEST)
    assert connection.recv(1) == b"S"
    client = tls.wrap_socket(connection)
    client.sendall(startup({"user": "postgres", "database": "postgres"}))
    data = b""
    while not data.endswith(b"Z" + struct.pack("!I", 5) + b"I"):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return client


def measure(name, pid, port, ca, count, swap=None):
    tls = context(ca)
    log_in(port, tls).close()
    time.sleep(0.3)
    before = rss_kib(pid)
    began = time.monotonic()
    clients = [log_in(port, tls) for _ in range(count)]
    took = time.monotonic() - began
    time.sleep(1)
    each = (rss_kib(pid) - before) * 1024 / count
    if swap:
        swap()
    for client in clients[::2]:
        client.close()
    clients = clients[1::2] + [log_in(port, tls) for _ in clients[::2]]
    for client in clients:
        client.sendall(b"Q" + struct.pack("!I", 13) + b"select 1\0")
        assert client.recv(65536)
    again = (rss_kib(pid) - before) * 1024 / count
    for client in clients:
        client.close()
    print(f"{name:<10} {each:>10.0f} {again:>18.0f} {count / took:>14.0f}")


def pgbouncer(pg, ca, folder):
    port = free_port()
    for name in (ca.cert("server"), ca.key("server")):
        shutil.copy(name, folder)
    config = os.path.join(folder, "pgbouncer.ini")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"[databases]\n* = host=127.0.0.1 port={pg.port}\n[pgbouncer]\n"
                   f"listen_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
                   "auth_type=trust\nauth_file=users\npool_mode=transaction\n"
                   "max_client_conn=10000\ndefault_pool_size=5\nclient_tls_sslmode=require\n"
                   "client_tls_cert_file=server.crt\nclient_tls_key_file=server.key\n")
    with open(os.path.join(folder, "users"), "w", encoding="utf-8") as file:
        file.write('"postgres" ""\n')
    for root, _, names in os.walk(folder):
        for each in [root, *(os.path.join(root, name) for name in names)]:
            shutil.chown(each, "postgres")
    log = open(os.path.join(folder, "log"), "wb")
    process = subprocess.Popen(["/usr/sbin/pgbouncer", config], cwd=folder, stdout=log, stderr=log,
                               user="postgres")
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="pgbouncer")
    return process, port


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--clients", type=int, default=2000)
    options = parser.parse_args()
    os.environ["DWSPOOL_BINARY"] = os.path.abspath(options.binary)
    ca = Authority().issue("server", "localhost").issue("next", "localhost")
    pg = Postgres(name="idle").init().start()
    folder = tempfile.mkdtemp(prefix="dwspool-idle-")
    print(f"{'':<10} {'bytes each':>10} {'half of them again':>18} {'log-ins per s':>14}")
    try:
        proxy = Proxy({
            "max_client_conn": 10000, "auth_method": "trust", "log": {"level": "info"},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "defaults": {"pool_mode": "transaction", "pool_size": 5},
            "databases": {"*": {}}, "users": {"*": {}},
            "tls": {"mode": "require", "certificate": ca.cert("server"), "key": ca.key("server")},
        })
        with proxy:
            def swap():
                for suffix in (ca.cert, ca.key):
                    shutil.copy(suffix("next"), suffix("server"))
                proxy.process.send_signal(signal.SIGHUP)
                wait_until(lambda: "[tls.reloaded]" in proxy.log(), what="the reload")

            measure("dwspool", proxy.process.pid, proxy.port, ca, options.clients, swap)
        process, port = pgbouncer(pg, ca, folder)
        try:
            measure("pgbouncer", process.pid, port, ca, options.clients)
        finally:
            process.terminate()
            process.wait()
    finally:
        pg.destroy()
        ca.destroy()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
