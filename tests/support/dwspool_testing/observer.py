"""A look at the server past dwspool: what is connected, what runs; and roles of a test's own."""

import itertools

import psycopg2

from .proxy import wait_until

_numbers = itertools.count(1)


class Observer:
    """A direct connection to the server, as superuser, in autocommit."""

    def __init__(self, pg):
        self.pg = pg
        self.connection = psycopg2.connect(host="127.0.0.1", port=pg.port, user="postgres",
                                           dbname="postgres", application_name="observer")
        self.connection.autocommit = True
        self.rows("set lock_timeout to '10s'")

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def rows(self, sql, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql, values=None):
        """The only value of the only row; None without a row."""
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    def role(self, **options):
        """A new role, which no other test uses: its backends are this test's backends."""
        name = f"role_{next(_numbers)}"
        password = options.get("password")
        self.rows(f"create role {name} login superuser" +
                  (f" password '{password}'" if password else ""))
        return name

    def table(self, columns):
        """A new table, which no other test uses. It stays: a test's client may hold a lock on it
        to the end, and the server goes away with the tests."""
        name = f"table_{next(_numbers)}"
        self.rows(f"create table {name}({columns})")
        return name

    def pids(self, user):
        """The backends of this user."""
        return sorted(row[0] for row in self.rows(
            "select pid from pg_stat_activity where usename = %s and backend_type = "
            "'client backend'", (user,)))

    def running(self, pattern, user=None):
        """How many backends run a statement that is like the pattern."""
        return self.value(
            "select count(*) from pg_stat_activity where state = 'active' and query like %s "
            "and (%s::text is null or usename = %s) and pid <> pg_backend_pid()",
            (pattern, user, user))

    def wait_running(self, pattern, count=1, user=None):
        wait_until(lambda: self.running(pattern, user) == count, what=f"running: {pattern}")

    def terminate(self, user):
        """Ends all backends of the user, and waits until they are gone."""
        pids = self.pids(user)
        self.rows("select pg_terminate_backend(pid) from unnest(%s) as pid", (pids,))
        wait_until(lambda: not set(pids) & set(self.pids(user)), what="the backends' end")
        return pids
