"""A PostgreSQL primary with streaming standbys, to be broken on purpose: killed, frozen, promoted,
rewound. Everything is under one temporary folder, and gone at the end."""

import atexit
import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psycopg2

from .postgres import BIN, Postgres, as_postgres
from .proxy import wait_until

SETTINGS = {
    "wal_log_hints": "on",  # for pg_rewind
    "hot_standby": "on",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "wal_keep_size": "512MB",  # pg_rewind reads back to the last checkpoint before the fork
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_status_interval": "1s",
    "wal_receiver_timeout": "5s",
    "wal_sender_timeout": "5s",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # in the folder: nothing stays behind after kill -9
    "max_stack_depth": "2MB",
}

# Outlives the test, even one that is killed: when its input ends it clears the folder away.
CLEARER = """
import os, shutil, signal, sys, time
folder = sys.argv[1]
sys.stdin.read()
while os.path.isdir(folder):
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/cwd").startswith(folder + "/"):
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
"""

PRIMARY, STANDBY, FORMER = "primary", "standby", "former"


class Node(Postgres):
    """One server of a rig. `role` is what it is meant to be: primary, standby, or former: a
    primary that was replaced and must be rewound before it may start again."""

    def __init__(self, name, parent, settings, hba=None):
        super().__init__(dict(SETTINGS, **settings), hba, name, parent)
        self.name = name
        self.role = STANDBY
        self.frozen = False
        self.upstream = None

    def __repr__(self):
        return f"<{self.name} {self.role} port {self.port}>"

    def write_settings(self):
        """The whole postgresql.conf: pg_rewind and pg_basebackup bring that of the other node."""
        lines = dict(self.settings, cluster_name=self.name)
        if self.upstream is not None:
            lines["primary_conninfo"] = (f"host=127.0.0.1 port={self.upstream.port} user=postgres "
                                         f"application_name={self.name} connect_timeout=2")
            lines["primary_slot_name"] = self.name
        path = os.path.join(self.data, "postgresql.conf")
        with open(path, "w", encoding="utf-8") as conf:
            for key, value in lines.items():
                value = str(value).replace("'", "''")
                conf.write(f"{key} = '{value}'\n")
        self.write_hba()

    def processes(self):
        """The pids of the postmaster and of all its children, also of those that outlived it: they
        all work in the data folder. The postmaster comes first."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{name}/cwd") == self.data:
                        found.append(int(name))
        first = self.pid()
        return sorted(found, key=lambda pid: (pid != first, pid))

    @property
    def running(self):
        """Whether there is a postmaster, frozen or not."""
        return self.pid() in self.processes()

    def signal_all(self, number):
        """Until no process comes up that has not had the signal."""
        done = set()
        while fresh := [pid for pid in self.processes() if pid not in done]:
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                done.add(pid)

    def wait_gone(self, timeout=10):
        wait_until(lambda: not self.processes(), timeout, f"end of {self}")

    def kill_all(self):
        """SIGKILL to everything, as if the machine had died. What would be gone then is: the
        shared memory, and the lock files, which count for as long as nobody reaps the dead."""
        self.signal_all(signal.SIGKILL)
        self.wait_gone()
        locks = [os.path.join(self.data, "postmaster.pid"),
                 os.path.join(self.dir, f".s.PGSQL.{self.port}.lock")]
        with contextlib.suppress(OSError, IndexError):
            with open(locks[0], encoding="utf-8") as file:
                segment = file.read().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], stderr=subprocess.DEVNULL, check=False)
        for lock in locks:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock)

    def connect(self, timeout=5, **options):
        """A direct connection as superuser, in autocommit."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres",
            connect_timeout=timeout, **{"application_name": "rig", **options})
        connection.autocommit = True
        return connection

    def rows(self, sql, values=None):
        """One statement on a connection of its own."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, sql, values=None):
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    def answers(self):
        try:
            return self.value("select true")
        except psycopg2.Error:
            return False

    def is_primary(self):
        """Whether it says so itself; False if it does not answer."""
        try:
            return not self.value("select pg_is_in_recovery()")
        except psycopg2.Error:
            return False

    def streams(self):
        """(port of the server that it receives from at the moment, timeline), or (None, None)."""
        try:
            rows = self.rows("select sender_port, received_tli from pg_stat_wal_receiver "
                             "where status = 'streaming'")
        except psycopg2.Error:
            rows = []
        return rows[0] if rows else (None, None)

    def streams_from(self):
        return self.streams()[0]

    def timeline(self):
        """Of a primary."""
        return int(self.value("select left(pg_walfile_name(pg_current_wal_lsn()), 8)"), 16)


class Rig:
    """One primary, `standbys` standbys. With `synchronous` a commit is acknowledged when one of
    the standbys has it, too. `settings` and `hba` are as in Postgres.

    All commands come back when what they say is done. `primary` is the node that was promoted
    last, `standbys` are those that follow it and have not been killed or stopped."""

    def __init__(self, standbys=2, synchronous=False, settings=None, hba=None):
        self.dir = tempfile.mkdtemp(prefix="dwspool-rig-")
        os.chmod(self.dir, 0o755)
        settings = dict(settings or {})
        names = [f"node{number}" for number in range(1, standbys + 2)]
        if synchronous:
            settings["synchronous_standby_names"] = f"ANY 1 ({', '.join(names)})"
        self.synchronous = synchronous
        self.nodes = [Node(name, self.dir, settings, hba) for name in names]
        self.primary = self.nodes[0]
        self.primary.role = PRIMARY
        self.lock = threading.RLock()
        self.clearer = subprocess.Popen([sys.executable, "-c", CLEARER, self.dir],
                                        stdin=subprocess.PIPE, cwd="/", start_new_session=True)
        atexit.register(self.destroy)

    def start(self):
        try:
            self.primary.init()
            self.primary.write_settings()
            self.primary.start()
            self._make_slots(self.primary)
            with concurrent.futures.ThreadPoolExecutor() as threads:
                list(threads.map(self._copy, self.nodes[1:]))
            self.wait_replicated(30)
        except BaseException:
            self.destroy()
            raise
        return self

    def destroy(self):
        """Ends and removes everything. May be called at any time, and again."""
        atexit.unregister(self.destroy)
        for node in self.nodes:
            node.signal_all(signal.SIGKILL)
        for node in self.nodes:
            node.kill_all()
        shutil.rmtree(self.dir, ignore_errors=True)
        if self.clearer.returncode is None:
            self.clearer.communicate()

    close = destroy

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is not None:
                for node in self.nodes:
                    print(f"--- log of {node} ---\n{node.log_tail(30)}")
        finally:
            self.destroy()

    @property
    def standbys(self):
        return [node for node in self.nodes if node.role == STANDBY and node.running]

    @property
    def down(self):
        """The nodes that do not run, and a former primary that does: for restart or rewind."""
        return [node for node in self.nodes if node.role == FORMER or not node.running]

    @property
    def coordinators(self):
        """All nodes, as dwspool's configuration wants them."""
        return [f"127.0.0.1:{node.port}" for node in self.nodes]

    # What breaks a node.

    def kill9(self, node, whole=True):
        """SIGKILL. Not `whole`: only to the postmaster; its children notice, and end as soon as
        they wait for something."""
        with self.lock:
            if whole:
                node.kill_all()
            else:
                os.kill(node.pid(), signal.SIGKILL)
                wait_until(lambda: not node.running, what=f"end of {node}")
            node.frozen = False

    def stop(self, node, mode="fast"):
        """`mode` is fast or immediate."""
        with self.lock:
            self.thaw(node)
            Postgres.stop(node, mode)
            try:
                node.wait_gone()  # after "immediate" children outlive their postmaster a little
            except AssertionError:
                raise RuntimeError(f"{node} does not stop:\n{node.log_tail()}") from None

    def freeze(self, node):
        """SIGSTOP to the postmaster and all its children: it keeps its connections, accepts new
        ones (the kernel does), and says nothing."""
        with self.lock:
            node.frozen = True
            node.signal_all(signal.SIGSTOP)

    def thaw(self, node):
        with self.lock:
            node.signal_all(signal.SIGCONT)
            node.frozen = False

    # What mends it.

    def restart(self, node, mode="fast"):
        """Stops it if it runs, and starts it in the role it had."""
        with self.lock:
            if node.role == FORMER:
                raise ValueError(f"{node} was replaced: it must be rewound")
            if node.running:
                self.stop(node, mode)
            else:
                node.kill_all()  # what a killed postmaster has left
            if node.role == STANDBY:
                node.upstream = self.primary
                node.write_settings()
            node.start()
            wait_until(node.answers, 20, f"an answer of {node}")
            if node.role == STANDBY and not self._streams(node, 10):
                self.rewind(node)

    def promote(self, node, follow=True):
        """Makes it the primary. The old one is not touched, and no primary any more for the rig;
        the other standbys follow the new one, if `follow`."""
        with self.lock:
            others = [other for other in self.standbys if other is not node]
            result = as_postgres(
                [f"{BIN}/pg_ctl", "-D", node.data, "-w", "-t", "30", "promote"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if result.returncode != 0:
                raise RuntimeError(f"{node}: {result.stdout}\n{node.log_tail()}")
            if self.primary is not node:
                self.primary.role = FORMER
            self.primary = node
            node.role = PRIMARY
            node.upstream = None
            self._make_slots(node)
            if follow:
                self._follow([other for other in others if not other.frozen])

    def rewind(self, node):
        """Brings a node that was primary, or that has gone another way, back as a standby of the
        primary: by pg_rewind, and if that fails by a new copy. True if pg_rewind could do it."""
        with self.lock:
            if node is self.primary:
                raise ValueError(f"{node} is the primary")
            if node.running:
                self.stop(node, "immediate" if node.frozen else "fast")
            else:
                node.kill_all()
            # pg_rewind reads the timeline from the control file, which a promotion leaves behind.
            self.primary.rows("checkpoint")
            result = as_postgres(
                [f"{BIN}/pg_rewind", "--no-sync", "-D", node.data, "--source-server",
                 f"host=127.0.0.1 port={self.primary.port} user=postgres dbname=postgres"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            with open(node.log_path, "a", encoding="utf-8") as log:
                log.write(result.stdout)
            if result.returncode == 0:
                try:
                    self._start_standby(node)
                    return True
                except (AssertionError, RuntimeError):
                    node.kill_all()
            shutil.rmtree(node.data)
            self._copy(node)
            return False

    def switchover(self):
        """Kills the primary and promotes the standby that has received most; the others follow.
        The old primary stays down until rewind(). Returns the new primary."""
        with self.lock:
            old = self.primary
            self.kill9(old)
            standbys = [node for node in self.standbys if not node.frozen]
            if not standbys:
                raise RuntimeError("there is no standby to promote")
            old.role = FORMER
            # What the kernel still has of the old primary's belongs to what they have received.
            wait_until(lambda: not any(node.streams_from() == old.port for node in standbys), 5,
                       "end of the old primary's streams")
            self.promote(max(standbys, key=lambda node: node.value(
                "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'")))
            return self.primary

    def wait_replicated(self, timeout=10):
        """Until all standbys have applied what the primary has written by now."""
        goal = self.primary.value("select pg_current_wal_lsn()")
        for node in self.standbys:
            if not node.frozen:
                wait_until(lambda node=node: self._has(node, goal), timeout,
                           f"replay of {goal} on {node}")

    # Inside.

    @staticmethod
    def _has(node, position):
        try:
            return node.value("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,))
        except psycopg2.OperationalError:
            return False

    def _make_slots(self, node):
        for other in self.nodes:
            if other is not node:
                node.rows("select pg_create_physical_replication_slot(%s) where not exists "
                          "(select from pg_replication_slots where slot_name = %s)",
                          (other.name, other.name))

    def _streams(self, node, timeout):
        """Whether it follows the primary. One that has gone past the fork streams the old timeline
        from it, for ever again."""
        goal = (self.primary.port, self.primary.timeline())
        deadline = time.time() + timeout
        while node.streams() != goal:
            if time.time() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _follow(self, nodes):
        for node in nodes:
            node.upstream = self.primary
            node.write_settings()
            node.reload()
        for node in nodes:
            if self._is_past_fork(node) or not self._streams(node, 3):
                self.rewind(node)

    def _is_past_fork(self, node):
        """Whether it has applied more of the old timeline than the new primary had."""
        history = self.primary.value(
            "select pg_read_file(%s)", (f"pg_wal/{self.primary.timeline():08X}.history",))
        fork = history.splitlines()[-1].split("\t")[1]
        return node.value("select pg_last_wal_replay_lsn() > %s::pg_lsn", (fork,))

    def _start_standby(self, node):
        node.role = STANDBY
        node.frozen = False
        node.upstream = self.primary
        slots = os.path.join(node.data, "pg_replslot")
        for name in os.listdir(slots):  # of its time as a primary: they would keep WAL for ever
            shutil.rmtree(os.path.join(slots, name))
        node.write_settings()
        with open(os.path.join(node.data, "standby.signal"), "w", encoding="utf-8"):
            pass
        node.start(timeout=10)
        wait_until(node.answers, 10, f"an answer of {node}")
        if not self._streams(node, 10):
            raise RuntimeError(f"{node} does not follow:\n{node.log_tail()}")

    def _copy(self, node):
        as_postgres(
            [f"{BIN}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.primary.port),
             "-U", "postgres", "-D", node.data, "-X", "stream", "--checkpoint=fast",
             "--no-sync"], check=True)
        self._start_standby(node)
