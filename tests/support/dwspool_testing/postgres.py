"""A throwaway PostgreSQL 15 server: everything under one temporary folder, gone at stop()."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from .ports import free_port

BIN = "/usr/lib/postgresql/15/bin"


def as_postgres(command, **kwargs):
    """PostgreSQL refuses to run as root: then it is run as the user postgres."""
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        kwargs.setdefault("user", account.pw_uid)
        kwargs.setdefault("group", account.pw_gid)
        kwargs.setdefault("extra_groups", [])
    kwargs.setdefault("cwd", "/")
    env = dict(os.environ, LC_ALL="C", HOME="/nonexistent")
    env.pop("PGHOST", None)
    return subprocess.run(command, env=env, **kwargs)


class Postgres:
    """`settings` are lines of postgresql.conf; `hba` lines come before the trusting default; its
    folder is made in `parent`."""

    def __init__(self, settings=None, hba=None, name="pg", parent=None):
        self.dir = tempfile.mkdtemp(prefix=f"dwspool-{name}-", dir=parent)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.dir, account.pw_uid, account.pw_gid)
        os.chmod(self.dir, 0o755)
        self.data = os.path.join(self.dir, "data")
        self.port = free_port()
        self.settings = dict(
            listen_addresses="127.0.0.1",
            port=self.port,
            unix_socket_directories=self.dir,
            fsync="off",
            max_connections=200,
            password_encryption="scram-sha-256",
            log_line_prefix="%m [%p] %q%u@%d %a ",
            timezone="UTC",
            log_timezone="UTC",
        )
        self.settings.update(settings or {})
        self.hba = list(hba or [])

    def init(self):
        as_postgres(
            [f"{BIN}/initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-N",
             "--locale=C", "-E", "UTF8"],
            check=True, stdout=subprocess.DEVNULL,
        )
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            for key, value in self.settings.items():
                conf.write(f"{key} = '{value}'\n")
        self.write_hba()
        return self

    def write_hba(self):
        path = os.path.join(self.data, "pg_hba.conf")
        with open(path, "w", encoding="utf-8") as hba:
            for line in self.hba:
                hba.write(line + "\n")
            hba.write("local all all trust\nhost all all 127.0.0.0/8 trust\n")
            hba.write("local replication all trust\nhost replication all 127.0.0.1/32 trust\n")

    def start(self, timeout=60):
        result = as_postgres(
            [f"{BIN}/pg_ctl", "-D", self.data, "-l", self.log_path, "-w", "-t", str(timeout),
             "start"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        if result.returncode != 0:
            raise RuntimeError("PostgreSQL does not start:\n" + self.log_tail())
        return self

    def stop(self, mode="fast"):
        as_postgres(
            [f"{BIN}/pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def kill(self):
        """kill -9 of the postmaster; its children notice and end by themselves."""
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            deadline = time.time() + 10
            while time.time() < deadline:
                if subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.DEVNULL,
                                  check=False).returncode != 0:
                    break
                time.sleep(0.05)

    def pid(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                return int(file.readline())
        except (FileNotFoundError, ValueError):
            return None

    def reload(self):
        os.kill(self.pid(), signal.SIGHUP)

    def destroy(self):
        self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)

    def standby(self, name="standby", settings=None):
        """A streaming standby of this server, not started yet."""
        copy = Postgres(dict(self.settings, **(settings or {})), self.hba, name)
        copy.settings.update(port=copy.port, unix_socket_directories=copy.dir)
        as_postgres(
            [f"{BIN}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
             "-D", copy.data, "-R", "-X", "stream", "-c", "fast"],
            check=True,
        )
        with open(os.path.join(copy.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write(f"port = {copy.port}\nunix_socket_directories = '{copy.dir}'\n")
        return copy

    def psql(self, sql, database="postgres", user="postgres"):
        """Runs SQL straight on the server; returns its bare output."""
        result = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
             str(self.port), "-U", user, "-d", database, "-c", sql],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(result.stdout)
        return result.stdout.strip()

    @property
    def log_path(self):
        return os.path.join(self.dir, "log")

    def log_tail(self, lines=40):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"
