"""The service under a real systemd: the package in a Debian that systemd-nspawn has booted."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import psycopg2
import pytest
from conftest import apart, descendants, status_of
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until

CGROUP = "/sys/fs/cgroup/dwspool-system-test"


class Machine:
    """A booted Debian, on the host's network; what is changed in it is gone with it."""

    def __init__(self, log_path):
        self.log_path = log_path
        script = f"""
            mkdir -p {CGROUP}
            echo $$ >{CGROUP}/cgroup.procs
            exec systemd-nspawn --quiet --register=no --keep-unit --volatile=overlay --boot \
              --directory "$1"
        """
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(apart(script, os.environ["DWSPOOL_SERVICE_ROOT"]),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.leader = wait_until(self._find_leader, timeout=60, what="systemd")
        wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip()
                   in ("running", "degraded"), timeout=120, what="the system is up")

    def _find_leader(self):
        assert self.process.poll() is None, pathlib.Path(self.log_path).read_text(encoding="utf-8")
        for pid in descendants(self.process.pid):
            if status_of(pid)["NSpid"].split()[-1] == "1" and status_of(pid)["Name"] == "systemd":
                return pid
        return None

    def run(self, *command, stdin=None, check=True):
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", "-C", "--", *command],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + self.journal()
        return done

    def write(self, path, text, mode="0644"):
        self.run("sh", "-c", f"mkdir -p $(dirname {path}); cat >{path}; chmod {mode} {path}", stdin=text)

    def show(self, name, unit="dwspool"):
        return self.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def journal(self):
        return self.run("journalctl", "-u", "dwspool", "-o", "cat", "--no-pager", check=False).stdout

    def main_pid(self):
        """As the host sees it."""
        inside = self.show("MainPID")
        return next((pid for pid in descendants(self.leader)
                     if status_of(pid)["NSpid"].split()[-1] == inside), None)

    def close(self):
        self.process.send_signal(signal.SIGTERM)  # which lets it shut down
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(apart(f"find {CGROUP} -depth -type d -exec rmdir {{}} +"), check=False)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = Machine(str(tmp_path_factory.mktemp("machine") / "console"))
    yield made
    made.close()


class Service:
    def __init__(self, machine, pg):
        self.machine, self.pg, self.port = machine, pg, free_port()
        self.config = {"listen": [f"127.0.0.1:{self.port}"], "auth_method": "trust",
                       "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
                       "databases": {"*": {}}, "users": {"*": {}}}

    def configure(self, drop_in="", **changes):
        self.config.update(changes)
        self.machine.write("/etc/dwspool/dwspool.yaml", json.dumps(self.config))
        if drop_in:
            self.machine.write("/etc/systemd/system/dwspool.service.d/test.conf", drop_in)
        self.machine.run("systemctl", "daemon-reload")

    def start(self):
        self.machine.run("systemctl", "start", "dwspool")

    def connect(self, user="postgres", **options):
        return psycopg2.connect(host="127.0.0.1", port=self.port, user=user, dbname="postgres", **options)


@pytest.fixture
def service(machine, pg):
    one = Service(machine, pg)
    one.configure()
    yield one
    print(machine.journal()[-6000:])
    machine.run("systemctl", "stop", "dwspool.socket", "dwspool.service", check=False)
    machine.run("systemctl", "reset-failed", check=False)
    machine.run("rm", "-rf", "/etc/systemd/system/dwspool.service.d", "/etc/systemd/system/dwspool.socket")
    machine.run("journalctl", "--rotate", check=False)
    machine.run("journalctl", "--vacuum-time=1s", check=False)


def ask(connection, sql="select 1"):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def open_files(pid):
    """The hard limit."""
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    return int(next(line for line in limits.splitlines() if "open files" in line).split()[4])


def test_it_is_up_when_systemctl_comes_back_and_may_do_little(service, machine):
    service.start()
    connection = service.connect()  # at once
    assert ask(connection) == 1
    connection.close()
    assert machine.show("ActiveState") == "active" and machine.show("NRestarts") == "0"
    status = status_of(machine.main_pid())
    uid = int(status["Uid"].split()[0])
    assert 61184 <= uid <= 65519  # one of DynamicUser's
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    # What the unit asks for, or what this host has.
    assert open_files(machine.main_pid()) == min(65536, open_files(machine.leader))


def test_a_bad_configuration_does_not_start_and_says_where(service, machine):
    service.configure(workers="many")
    assert machine.run("systemctl", "start", "dwspool", check=False).returncode != 0
    assert "workers" in machine.journal() and "/etc/dwspool/dwspool.yaml" in machine.journal()


def test_secrets_by_load_credential(service, machine):
    machine.write("/etc/dwspool/secrets/app", "app secret\n", "0600")
    service.configure("[Service]\nLoadCredential=app:/etc/dwspool/secrets/app\n",
                      auth_method="scram-sha-256",
                      users={"app": {"password_file": "${CREDENTIALS_DIRECTORY}/app"}})
    service.start()
    connection = service.connect("app", password="app secret")
    assert ask(connection, "select current_user::text") == "app"
    connection.close()


def test_reload(service, machine):
    service.start()
    connection = service.connect()
    before = machine.show("MainPID")
    service.configure(users={"postgres": {}}, access=[{"users": ["postgres"], "method": "trust"}])
    machine.run("systemctl", "reload", "dwspool")
    wait_until(lambda: "config.reloaded" in machine.journal(), what="the reload")
    assert ask(connection) == 1 and machine.show("MainPID") == before
    connection.close()
    with pytest.raises(psycopg2.OperationalError, match="no access rule"):
        service.connect("other")


def test_another_process_takes_over(service, machine):
    service.start()
    connection = service.connect()
    before = machine.show("MainPID")
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR2", "dwspool")
    wait_until(lambda: machine.show("MainPID") != before, timeout=30, what="another main process")
    fresh = service.connect()
    assert ask(fresh) == 1
    # Its client has gone to the new one.
    wait_until(lambda: machine.run("kill", "-0", before, check=False).returncode != 0, timeout=30,
               what="the end of the old one")
    assert machine.show("ActiveState") == "active" and machine.show("NRestarts") == "0"
    for client in (connection, fresh):
        assert ask(client) == 1
        client.close()
    machine.run("systemctl", "stop", "dwspool")
    assert machine.show("Result") == "success"


def test_reload_or_restart_with_another_file(service, machine):
    service.start()
    connection = service.connect()
    before = machine.show("MainPID")
    machine.run("systemctl", "reload-or-restart", "dwspool")
    time.sleep(1)
    assert machine.show("MainPID") == before  # the same file: a reload
    machine.run("cp", "/usr/sbin/dwspool", "/usr/sbin/dwspool.new")
    machine.run("mv", "/usr/sbin/dwspool.new", "/usr/sbin/dwspool")
    machine.run("systemctl", "reload-or-restart", "dwspool")
    wait_until(lambda: machine.show("MainPID") not in (before, "0"), timeout=30, what="another main process")
    assert ask(connection) == 1
    assert machine.show("ActiveState") == "active" and machine.show("NRestarts") == "0"
    connection.close()


def test_an_upgrade_of_the_package_drops_nobody(service, machine):
    service.start()
    connection = service.connect()
    before = machine.show("MainPID")
    machine.run("dpkg", "-i", "--force-confold", "/opt/dwspool.deb")
    wait_until(lambda: machine.show("MainPID") not in (before, "0"), timeout=30, what="the new version")
    assert ask(connection) == 1
    connection.close()
    assert ask(service.connect()) == 1


def test_a_process_that_hangs_is_started_anew(service, machine):
    service.configure("[Service]\nWatchdogSec=2s\n")
    service.start()
    time.sleep(3)
    assert machine.show("NRestarts") == "0"  # it gives signs of life
    os.kill(machine.main_pid(), signal.SIGSTOP)
    wait_until(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active",
               timeout=60, what="the restart")
    assert ask(service.connect()) == 1


def test_a_process_that_dies_is_started_anew(service, machine):
    service.start()
    os.kill(machine.main_pid(), signal.SIGKILL)
    wait_until(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active",
               timeout=30, what="the restart")
    assert ask(service.connect()) == 1


def test_stop_waits_for_transactions(service, machine):
    service.start()
    connection = service.connect()
    ask(connection)
    stopping = threading.Thread(target=lambda: machine.run("systemctl", "stop", "dwspool"))
    stopping.start()
    wait_until(lambda: machine.show("ActiveState") == "deactivating", what="it is being stopped")
    time.sleep(0.5)
    assert stopping.is_alive()
    assert ask(connection, "select 2") == 2
    connection.commit()
    stopping.join(30)
    assert not stopping.is_alive()
    assert machine.show("Result") == "success" and machine.show("ExecMainStatus") == "0"


def test_sockets_of_systemd_outlive_the_process(service, machine):
    machine.run("sh", "-c", "sed 's/^ListenStream=.*/ListenStream=127.0.0.1:"
                f"{service.port}/' /lib/systemd/system/dwspool.socket >/etc/systemd/system/dwspool.socket")
    service.configure()
    machine.run("systemctl", "start", "dwspool.socket")
    assert machine.show("ActiveState") == "inactive"
    connection = service.connect()  # which starts it
    assert ask(connection) == 1
    connection.close()
    assert machine.show("ActiveState") == "active"
    stop, refused = threading.Event(), []

    def knock():
        while not stop.is_set():
            try:
                service.connect().close()
            except psycopg2.OperationalError as error:
                if "refused" in str(error):
                    refused.append(str(error))
            time.sleep(0.02)

    thread = threading.Thread(target=knock)
    thread.start()
    machine.run("systemctl", "restart", "dwspool")
    stop.set()
    thread.join(30)
    assert refused == []
    assert ask(service.connect()) == 1


def test_the_health_of_it_by_http(service, machine):
    port = free_port()
    service.configure(http=f"127.0.0.1:{port}")
    service.start()
    with socket.create_connection(("127.0.0.1", port), 5) as http:
        http.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in http.recv(64)
    # The binary's own view of its limits: no complaint about open files for the default.
    assert "process.file_limit" not in machine.journal()
