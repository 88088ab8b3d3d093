"""A dwspool under test: started with a configuration, ready when it says so, gone at stop()."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from .ports import free_port


def binary() -> str:
    path = os.environ.get("DWSPOOL_BINARY")
    if not path:
        raise RuntimeError("DWSPOOL_BINARY names no dwspool to test")
    return path


@functools.cache
def is_sanitized() -> bool:
    """Whether the binary is instrumented: it then needs more memory, and more time."""
    with open(binary(), "rb") as file:
        content = file.read()
    return b"__asan_init" in content or b"__tsan_init" in content


class Proxy:
    """`config` is the configuration as Python dicts; listen and http are added if absent. `program`:
    the file that is run, if it is not the one under test itself."""

    def __init__(self, config, wrapper=None, env=None, program=None):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="dwspool-proxy-")
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.http_port = free_port()
        self.config = dict(config)
        self.config.setdefault("listen", [
            {"host": "127.0.0.1", "port": self.port},
            {"unix_dir": self.dir, "port": self.port},
        ])
        self.config.setdefault("http", {"host": "127.0.0.1", "port": self.http_port})
        self.config.setdefault("log", {"level": "debug"})
        self.wrapper = list(wrapper or [])
        self.env = dict(env or {})
        self.process = None

    @property
    def config_path(self):
        return os.path.join(self.dir, "dwspool.yaml")

    @property
    def log_path(self):
        return os.path.join(self.dir, "log")

    def write_config(self):
        # JSON is YAML.
        with open(self.config_path, "w", encoding="utf-8") as file:
            json.dump(self.config, file, indent=1)

    def start(self, timeout=30):
        self.write_config()
        # Ready is what systemd would be told.
        path = os.path.join(self.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(0.1)
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    self.wrapper + [self.program or binary(), "--config", self.config_path],
                    stdout=log, stderr=log, env=dict(os.environ, NOTIFY_SOCKET=path, **self.env),
                )
            deadline = time.time() + timeout
            while True:
                try:
                    if b"READY=1" in notify.recv(4096):
                        break
                except TimeoutError:
                    pass
                if self.process.poll() is not None or time.time() > deadline:
                    raise RuntimeError("dwspool does not start:\n" + self.log())
        os.unlink(path)
        return self

    def stop(self, timeout=20):
        """Ends it as systemd would; returns the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("dwspool does not end:\n" + self.log()) from None
        status = self.process.returncode
        self.process = None
        return status

    def destroy(self):
        try:
            status = self.stop()
            if status not in (0, None):
                raise RuntimeError(f"dwspool ended with status {status}:\n{self.log()}")
            text = self.log()
            for sign in ("ERROR: AddressSanitizer", "runtime error:", "ThreadSanitizer"):
                if sign in text:
                    raise RuntimeError(f"a sanitizer complains:\n{text[-20000:]}")
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("--- log of dwspool ---\n" + self.log()[-6000:])
        self.destroy()

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def dsn(self, user="postgres", database="postgres", password=None, **options):
        parts = dict(host="127.0.0.1", port=self.port, user=user, dbname=database)
        if password is not None:
            parts["password"] = password
        parts.update(options)
        return " ".join(f"{key}='{value}'" for key, value in parts.items())

    def http(self, path):
        """(status, body) of a GET."""
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        """{series: value} of /metrics, the series as written."""
        _, body = self.http("/metrics")
        values = {}
        for line in body.splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                values[series] = float(value)
        return values

    def metric(self, name, **labels):
        """The sum of all series of that name with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value for series, value in self.metrics().items()
            if series.split("{")[0] == name and all(label in series for label in wanted)
        )

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def cpu_seconds(self):
        """User and system time of all threads so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition, timeout=10.0, what="condition"):
    """Polls until condition() is true; the last value is returned."""
    deadline = time.time() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.time() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s (last: {value!r})")
        time.sleep(0.02)
