"""Commits that hang on demand, so that a test can break the connection while one is in doubt."""

import contextlib
import itertools
import time

import psycopg2

from .proxy import wait_until

_keys = itertools.count(7_000_001)


def _connect(server, **options):
    connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres",
                                  dbname=options.pop("database", "postgres"), connect_timeout=5,
                                  application_name="holder", **options)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("set synchronous_commit to local; set lock_timeout to '10s'")
    return connection


class _Holder:
    """`server` is a Postgres. The context manager holds, and lets go at the end."""

    def __init__(self, server, database="postgres"):
        self.server = server
        self.database = database
        self.holding = False

    def __enter__(self):
        return self.hold()

    def __exit__(self, *_):
        self.close()

    def _rows(self, sql, values=None):
        """On a connection of its own: the server may have been killed since."""
        connection = _connect(self.server, database=self.database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def held(self):
        """The pids of the server's processes whose commit hangs."""
        return sorted(row[0] for row in self._rows(self.HELD, self._held_values()))

    def _held_values(self):
        return None

    def wait_held(self, count=1, timeout=10):
        """Until so many commits hang; returns their pids."""
        wait_until(lambda: len(self.held()) >= count, timeout, f"{count} held commits")
        return self.held()


class PendingCommits(_Holder):
    """Holds before the commit record: nothing is committed while it holds, and a server that dies
    meanwhile has never committed. A deferred constraint trigger of the table waits for a lock, so
    this is about transactions that wrote to the table, in autocommit, too."""

    HELD = ("select pid from pg_locks where locktype = 'advisory' and not granted and "
            "classid = 0 and objid = %s")

    def __init__(self, server, table, database="postgres"):
        super().__init__(server, database)
        self.table = table
        self.key = next(_keys)
        self.keeper = None
        self._rows(f"""
            create function hold_{self.key}() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock_shared({self.key}); return null; end $$;
            create constraint trigger hold_{self.key} after insert or update or delete
            on {table} deferrable initially deferred
            for each row execute function hold_{self.key}();
            alter table {table} enable always trigger hold_{self.key}""")

    def _held_values(self):
        return (self.key,)

    def hold(self):
        if not self.holding:
            self.keeper = _connect(self.server, database=self.database)
            with self.keeper.cursor() as cursor:
                cursor.execute("select pg_advisory_lock(%s)", (self.key,))
            self.holding = True
        return self

    def release(self):
        """They go on, also those whose client has gone."""
        if self.holding:
            self.keeper.close()
            self.holding = False
            with contextlib.suppress(psycopg2.OperationalError):  # it is dead, and so are they
                wait_until(lambda: not self.held(), what="end of the held commits")

    def close(self):
        self.release()
        with contextlib.suppress(psycopg2.Error):
            self._rows(f"drop function if exists hold_{self.key}() cascade")


class UnacknowledgedCommits(_Holder):
    """Holds behind the commit record: the transaction is committed for good, but nobody is told,
    and nobody sees it before it is released or the server has been started again. This is about
    every commit on the server: it waits for a standby that does not exist."""

    HELD = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
    STANDBY = "nobody_has_this_name"

    def hold(self):
        if not self.holding:
            self._rows(f"alter system set synchronous_standby_names = '{self.STANDBY}'")
            self._reload()
            self.holding = True
            self._try_out()
        return self

    def release(self):
        """They are acknowledged. Works, and is needed, after the server's restart as well."""
        if self.holding:
            self._rows("alter system reset synchronous_standby_names")
            self._reload()
            self.holding = False
            wait_until(lambda: not self.held(), what="end of the held commits")

    def close(self):
        with contextlib.suppress(psycopg2.OperationalError):  # it is dead, and so are they
            self.release()

    def _reload(self):
        self._rows("select pg_reload_conf()")

    def _try_out(self):
        """The server takes up its new configuration in its own time: until a commit hangs."""
        probe = psycopg2.connect(host="127.0.0.1", port=self.server.port, user="postgres",
                                 dbname=self.database, application_name="holder", async_=True)
        try:
            _finish(probe)
            cursor = probe.cursor()
            pid = probe.info.backend_pid
            deadline = time.time() + 10
            while time.time() < deadline:
                cursor.execute("select pg_logical_emit_message(true, 'holder', 'probe')")
                while probe.isexecuting():
                    if pid in self.held():
                        self._rows("select pg_terminate_backend(%s)", (pid,))
                        wait_until(lambda: pid not in self.held(), what="end of the probe")
                        return
                    _step(probe)
            raise AssertionError("commits are not held")
        finally:
            probe.close()


def _step(connection):
    with contextlib.suppress(psycopg2.Error):
        connection.poll()
    time.sleep(0.005)


def _finish(connection):
    while connection.poll() != psycopg2.extensions.POLL_OK:
        time.sleep(0.005)
