"""dwspool as systemd sees it: sockets that are open before it is, the watchdog, what it says."""

import os
import signal
import socket
import subprocess
import threading
import time

import psycopg2
import pytest
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import Proxy, binary, wait_until


class Manager:
    """Listens at $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.messages = []  # (when, text)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except OSError:
                return
            self.messages.append((time.monotonic(), text))

    def said(self, word):
        return [when for when, text in self.messages if word in text]


@pytest.fixture
def service(pg, tmp_path):
    """Starts dwspool by a command of one's own; it is ended by SIGTERM."""
    running = []

    def start(listen, prefix=(), env=(), **config):
        proxy = Proxy({"auth_method": "trust", "listen": listen, "shutdown_timeout": "1s",
                       "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
                       "databases": {"*": {}}, "users": {"*": {}}, **config})
        proxy.write_config()
        manager = Manager(str(tmp_path / f"notify{len(running)}"))
        with open(proxy.log_path, "wb") as log:
            process = subprocess.Popen(
                [*prefix, binary(), "--config", proxy.config_path], stdout=log, stderr=log,
                env=dict(os.environ, NOTIFY_SOCKET=str(tmp_path / f"notify{len(running)}"), **dict(env)))
        running.append((proxy, process, manager))
        return proxy, process, manager

    yield start
    for proxy, process, manager in running:
        print(proxy.log()[-4000:])
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        manager.socket.close()
        proxy.destroy()


def test_it_is_started_by_the_first_client(service, tmp_path):
    """systemd-socket-activate does what systemd does with a .socket unit."""
    port = free_port()
    path = f"{tmp_path}/.s.PGSQL.{port}"
    prefix = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", path,
              "-E", "NOTIFY_SOCKET"]
    proxy, process, manager = service([{"host": "127.0.0.1", "port": port},
                                       {"unix_dir": str(tmp_path), "port": port}], prefix)
    time.sleep(0.3)
    assert manager.said("READY=1") == []
    wait_until(lambda: os.path.exists(path), what="the socket")
    psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
    assert manager.said("READY=1")
    psycopg2.connect(host=str(tmp_path), port=port, user="postgres", dbname="postgres").close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert os.path.exists(path)  # it is the service manager's
    assert "[listener.unused]" not in proxy.log()


def test_a_socket_that_the_configuration_does_not_name_is_closed(service):
    port, other = free_port(), free_port()
    prefix = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", f"127.0.0.1:{other}"]
    proxy, _, _ = service([{"host": "127.0.0.1", "port": port}], prefix)
    wait_until(lambda: "Listening" in proxy.log(), what="the activation")
    psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
    assert "[listener.unused]" in proxy.log()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", other)).close()
        # Its backlog may have taken one while both ends were open; none is taken now.
        time.sleep(0.2)
        socket.create_connection(("127.0.0.1", other)).close()


def test_the_watchdog_hears_of_it_while_it_is_well(service):
    port = free_port()
    _, process, manager = service([{"host": "127.0.0.1", "port": port}], env={"WATCHDOG_USEC": "400000"}.items())
    wait_until(lambda: len(manager.said("WATCHDOG=1")) >= 4, what="signs of life")
    signs = manager.said("WATCHDOG=1")
    assert max(after - before for before, after in zip(signs, signs[1:])) < 0.4
    process.send_signal(signal.SIGSTOP)  # a process that hangs says nothing
    time.sleep(0.1)
    count = len(manager.said("WATCHDOG=1"))
    time.sleep(0.6)
    assert len(manager.said("WATCHDOG=1")) == count


def test_the_watchdog_of_another_process_is_not_ours(service):
    port = free_port()
    _, _, manager = service([{"host": "127.0.0.1", "port": port}],
                            env={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}.items())
    wait_until(lambda: manager.said("READY=1"), what="ready")
    time.sleep(0.3)
    assert manager.said("WATCHDOG=1") == []


def test_a_reload_is_announced_with_its_moment(service):
    """As Type=notify-reload wants it."""
    port = free_port()
    _, process, manager = service([{"host": "127.0.0.1", "port": port}])
    wait_until(lambda: manager.said("READY=1"), what="ready")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(manager.said("READY=1")) == 2, what="the end of the reload")
    text = next(text for _, text in manager.messages if "RELOADING=1" in text)
    moment = int(text.split("MONOTONIC_USEC=")[1].split()[0]) / 1e6
    assert abs(moment - time.clock_gettime(time.CLOCK_MONOTONIC)) < 5
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: manager.said("STOPPING=1"), what="the word")


def test_who_hands_over_names_the_new_main_process(service):
    port = free_port()
    proxy, process, manager = service([{"host": "127.0.0.1", "port": port}], handover_time="0",
                                      env={"WATCHDOG_USEC": "400000"}.items())
    wait_until(lambda: manager.said("READY=1"), what="ready")
    process.send_signal(signal.SIGUSR2)
    wait_until(lambda: manager.said("MAINPID="), timeout=15, what="the new process")
    text = next(text for _, text in manager.messages if "MAINPID=" in text)
    successor = int(text.split("MAINPID=")[1].split()[0])
    try:
        assert process.wait(10) == 0
        assert manager.said("STOPPING=1") == []  # the service goes on
        signs = len(manager.said("WATCHDOG=1"))
        wait_until(lambda: len(manager.said("WATCHDOG=1")) > signs, what="the successor's sign of life")
        psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
    finally:
        os.kill(successor, signal.SIGTERM)
    wait_until(lambda: "dwspool has ended" in proxy.log().rsplit("handed_over", 1)[1], what="its end")


def test_secrets_come_as_credentials(service, tmp_path):
    """What LoadCredential= does: files in a folder that only the service sees."""
    port = free_port()
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "app-password").write_text("app secret\n", encoding="utf-8")
    _, _, manager = service([{"host": "127.0.0.1", "port": port}],
                            env={"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}.items(),
                            auth_method="scram-sha-256",
                            users={"app": {"password_file": "${CREDENTIALS_DIRECTORY}/app-password"}})
    wait_until(lambda: manager.said("READY=1"), what="ready")
    with psycopg2.connect(host="127.0.0.1", port=port, user="app", dbname="postgres",
                          password="app secret") as connection:
        connection.cursor().execute("select 1")
    connection.close()
