"""The image of the Dockerfile, run as it is meant to be: not as root, on a read-only root file system,
without rights, as process 1, configured by a mount and the environment."""

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time

import psycopg2
import pytest
from conftest import apart, descendants, status_of
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until

IMAGE = "localhost/dwspool:test"


def buildah(*arguments):
    store = shlex.split(os.environ["DWSPOOL_IMAGE_STORE"])
    return subprocess.run(["buildah", *store, *arguments], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


@pytest.fixture(scope="module")
def image():
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]


@pytest.fixture(scope="module")
def root():
    container = buildah("from", "--pull-never", IMAGE)
    yield buildah("mount", container)
    buildah("rm", container)


class Container:
    """As `docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -v CONFIG:ro`."""

    def __init__(self, image, root, folder, config, environment=()):
        self.folder, self.name = folder, f"dwspool-{os.getpid()}-{folder.name}"
        self.port, self.http_port = free_port(), free_port()
        (folder / "etc").mkdir()
        self.write({"listen": [f"*:{self.port}"], "http": f"*:{self.http_port}", **config})
        bundle = {
            "ociVersion": "1.0.2",
            "root": {"path": root, "readonly": True},
            "hostname": "dwspool",
            "process": {
                "terminal": False, "cwd": "/", "noNewPrivileges": True,
                "user": dict(zip(("uid", "gid"), map(int, image["User"].split(":")))),
                "args": image["Entrypoint"] + (image.get("Cmd") or []),
                "env": image["Env"] + list(environment),
                "capabilities": {kind: [] for kind in (
                    "bounding", "effective", "inheritable", "permitted", "ambient")},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}],
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/etc/dwspool", "type": "bind", "source": str(folder / "etc"),
                 "options": ["rbind", "ro"]},
            ],
            # The host's network, where the database is; the rest is its own.
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
        }
        (folder / "config.json").write_text(json.dumps(bundle), encoding="utf-8")
        self.log_path = folder / "log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.crun("run", "--bundle", str(folder), self.name),
                                            stdout=log, stderr=log)
        wait_until(lambda: self.process.poll() is not None or "process.started" in self.log(),
                   what="it starts")
        assert self.process.poll() is None, self.log()

    def write(self, config):
        self.config = config
        (self.folder / "etc" / "dwspool.yaml").write_text(json.dumps(config), encoding="utf-8")

    def crun(self, *arguments):
        return apart('exec crun --cgroup-manager=disabled "$@"', "--root", str(self.folder / "state"),
                     *arguments)

    def exec(self, *command):
        return subprocess.run(self.crun("exec", self.name, *command), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def signal(self, number):
        subprocess.run(self.crun("kill", self.name, str(int(number))), check=True)

    @property
    def pid(self):
        """Of its process 1, as the host sees it."""
        return next(pid for pid in descendants(self.process.pid)
                    if status_of(pid)["NSpid"].split()[-1] == "1")

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def connect(self, user="postgres", **options):
        return psycopg2.connect(host="127.0.0.1", port=self.port, user=user, dbname="postgres", **options)

    def close(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait(20)


@pytest.fixture
def start(image, root, pg, tmp_path):
    running = []

    def run(environment=(), **config):
        folder = tmp_path / f"c{len(running)}"
        folder.mkdir()
        os.chmod(tmp_path, 0o755)
        running.append(Container(image, root, folder, {
            "auth_method": "trust", "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"*": {}}, "users": {"*": {}}, **config}, environment))
        return running[-1]

    yield run
    for container in running:
        print(container.log())
        container.close()


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_what_the_image_says_of_itself(image, root):
    assert image["User"] == "65432:65432"
    assert image["StopSignal"] == "SIGTERM"
    assert image["Entrypoint"] == ["/usr/sbin/dwspool", "--config", "/etc/dwspool/dwspool.yaml"]
    assert set(image["ExposedPorts"]) == {"6432/tcp", "9187/tcp"}
    assert all(entry.startswith("PATH=") for entry in image["Env"])  # no credential
    # Nothing that was needed to build it only.
    for name in ("usr/bin/g++", "usr/bin/cmake", "usr/include/uv.h", "src"):
        assert not os.path.lexists(os.path.join(root, name)), name
    mine = [path for path in pathlib.Path(root).rglob("*")
            if not path.is_symlink() and path.lstat().st_uid == 65432]
    assert mine == []  # who runs it owns nothing in it


def test_it_runs_as_nobody_on_a_read_only_root(start):
    container = start()
    connection = container.connect()
    assert ask(connection, "select 1") == 1
    connection.close()
    status = status_of(container.pid)
    assert status["Uid"].split() == ["65432"] * 4 and status["Gid"].split() == ["65432"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    mounts = pathlib.Path(f"/proc/{container.pid}/mounts").read_text(encoding="ascii").splitlines()
    by_place = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    assert "ro" in by_place["/"] and "ro" in by_place["/etc/dwspool"]
    # It has raised its limit of open files as far as it may.
    limits = pathlib.Path(f"/proc/{container.pid}/limits").read_text(encoding="ascii")
    assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["4096"] * 2


def test_a_secret_comes_by_the_environment(start):
    container = start(auth_method="scram-sha-256", users={"app": {"password": "${APP_PASSWORD}"}},
                      environment=["APP_PASSWORD=app secret"])
    connection = container.connect("app", password="app secret")
    assert ask(connection, "select current_user") == "app"
    connection.close()
    assert "app secret" not in container.log()


def test_the_image_knows_whether_it_is_well(start, image):
    # The image asks at 9187, which may be taken on this host.
    container = start()
    check = image["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    command = [word.replace(":9187/", f":{container.http_port}/") for word in check[1:]]
    assert container.exec(*command).returncode == 0
    assert container.exec("/usr/sbin/dwspool", "--version").stdout.startswith("dwspool ")
    assert container.exec(*(word.replace("healthz", "nothing") for word in command)).returncode != 0


def test_sigterm_ends_process_1_at_transaction_boundaries(start):
    container = start()
    busy, idle = container.connect(), container.connect()
    ask(busy, "select 1")
    container.signal(signal.SIGTERM)
    wait_until(lambda: "process.stopping" in container.log(), what="the signal arrives")
    with pytest.raises(OSError):
        for _ in range(50):
            socket.create_connection(("127.0.0.1", container.port), 1).close()
            time.sleep(0.05)
    with pytest.raises(psycopg2.OperationalError):
        ask(idle, "select 1")
    assert container.process.poll() is None
    assert ask(busy, "select 2") == 2
    busy.commit()
    assert container.process.wait(20) == 0
    assert "process.stopped" in container.log()


def test_sighup_reads_the_mounted_configuration_anew(start):
    container = start()
    connection = container.connect()
    container.write({**container.config, "users": {"*": {}, "x": {}}, "console": {"stats_users": ["x"]}})
    container.signal(signal.SIGHUP)
    wait_until(lambda: "config.reloaded" in container.log(), what="the reload")
    assert ask(connection, "select 1") == 1
    connection.close()
    psycopg2.connect(host="127.0.0.1", port=container.port, user="x", dbname="dwspool").close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_the_other_signals_reach_process_1_too(start, number):
    container = start()
    connection = container.connect()
    container.signal(number)
    assert container.process.wait(20) == 0
    connection.close()
