"""Programs as applications have them: each a class with `round`, which is called again and again.
None of them knows of switchovers, and none handles an error."""

import importlib.util
import os
import select
import threading
import time

import psycopg
import psycopg2
import psycopg2.extensions
import psycopg2.extras
from dwspool_testing.wire import (Connection, bind, describe, execute, fields, parse, sync)

USER, PASSWORD = "dbadmin", "Gauss@123"
DOCUMENTED = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "demo", "python_dws.py")


def documented():
    """The program of the DWS documentation, as a module."""
    spec = importlib.util.spec_from_file_location("python_dws", DOCUMENTED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Program:
    """`table` is this program's own: of numbers, empty at first."""

    autocommit = False

    def __init__(self, port, table):
        self.port = port
        self.table = table
        self.connection = self.connect()

    def connect(self, **options):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER,
                                      password=PASSWORD, dbname="postgres", **options)
        if not options:
            connection.autocommit = self.autocommit
        return connection

    def run(self, sql, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def round(self, number):
        raise NotImplementedError

    def rows(self, rounds):
        """What is to be in the table in the end."""
        return list(range(rounds))

    def close(self):
        self.connection.close()


class OneStatement(Program):
    """The driver's BEGIN, one statement, COMMIT."""

    def round(self, number):
        self.run(f"insert into {self.table} values (%s)", (number,))
        self.connection.commit()
        assert self.run(f"select max(v) from {self.table}") == [(number,)]
        self.connection.commit()


class SeveralStatements(Program):
    """A transaction that reads, writes, and reads what it has written."""

    def round(self, number):
        assert self.run(f"select count(*) from {self.table}") == [(number,)]
        assert self.run(f"insert into {self.table} values (%s) returning v * 2",
                        (number,)) == [(2 * number,)]
        time.sleep(0.01)
        assert self.run(f"update {self.table} set v = v + 1 where v = %s returning v",
                        (number,)) == [(number + 1,)]
        self.run("savepoint s")
        self.run(f"delete from {self.table}")
        self.run("rollback to s")
        assert self.run(f"select count(*), max(v) from {self.table}") == [(number + 1, number + 1)]
        self.run(f"update {self.table} set v = v - 1 where v = %s", (number + 1,))
        self.connection.commit()


class Autocommit(Program):
    autocommit = True

    def round(self, number):
        self.run(f"insert into {self.table} values (%s)", (number,))
        assert self.run(f"select v from {self.table} where v >= %s", (number,)) == [(number,)]


class EndSelect(Program):
    """The detour that the DWS documentation recommends, for the coordinator's own retry."""

    def round(self, number):
        assert self.run(f"end; select count(*) from {self.table}") == [(number,)]
        self.connection.rollback()
        self.run(f"insert into {self.table} values (%s)", (number,))
        self.connection.commit()


class Asynchronous(Program):
    """poll() and a selector; such connections are in autocommit."""

    def connect(self):
        self.connection = super().connect(async_=True)
        self.wait()
        return self.connection

    def wait(self):
        while (state := self.connection.poll()) != psycopg2.extensions.POLL_OK:
            reads = [self.connection] if state == psycopg2.extensions.POLL_READ else []
            writes = [] if reads else [self.connection]
            select.select(reads, writes, [], 60)

    def run(self, sql, values=None):
        cursor = self.connection.cursor()
        cursor.execute(sql, values)
        self.wait()
        return cursor.fetchall() if cursor.description else []

    def round(self, number):
        self.run(f"insert into {self.table} values (%s)", (number,))
        assert self.run(f"select count(*) from {self.table}") == [(number + 1,)]


class ExecuteMany(Program):
    def round(self, number):
        values = [(5 * number + i,) for i in range(5)]
        with self.connection.cursor() as cursor:
            cursor.executemany(f"insert into {self.table} values (%s)", values[:3])
            psycopg2.extras.execute_values(cursor, f"insert into {self.table} values %s",
                                           values[3:])
        self.connection.commit()

    def rows(self, rounds):
        return list(range(5 * rounds))


class NamedCursor(Program):
    """DECLARE, FETCH, FETCH, CLOSE."""

    def round(self, number):
        self.run(f"insert into {self.table} values (%s)", (number,))
        with self.connection.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute(f"select g, v from generate_series(1, 20) g, {self.table} "
                           "where v = %s order by 1", (number,))
            assert list(cursor) == [(g, number) for g in range(1, 21)]
        self.connection.commit()


class Psycopg3(Program):
    """The extended protocol; after five times by a prepared statement."""

    def connect(self):
        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD,
                               dbname="postgres")

    def round(self, number):
        self.run(f"insert into {self.table} values (%s)", (number,))
        assert self.run(f"select count(*) from {self.table} where v <= %s",
                        (number,)) == [(number + 1,)]
        self.connection.commit()


class OneSync(Program):
    """As pgjdbc does it: BEGIN and the first statement are one batch of messages."""

    def connect(self):
        client = Connection("127.0.0.1", self.port, timeout=60)
        client.log_in(USER, password=PASSWORD)
        self.begin = parse("", "BEGIN") + bind("", "") + execute()
        return client

    def answers(self, data):
        self.connection.send(data)
        seen = self.connection.until_ready()
        for kind, body in seen:
            if kind == b"E":
                error = psycopg2.errors.lookup(fields(body)["C"])
                raise error(fields(body)["M"])
        return [body for kind, body in seen if kind == b"D"]

    def round(self, number):
        insert = (parse("", f"insert into {self.table} values ($1) returning v", [23])
                  + bind("", "", [number]) + describe("P", "") + execute())
        assert self.answers(self.begin + insert + sync())[0].endswith(str(number).encode())
        self.answers(parse("", "COMMIT") + bind("", "") + execute() + sync())


class Documented(Program):
    """The program of the documentation, in a loop over its functions, of which the last leaves
    two rows; nothing else is in this schema's table `test`."""

    def __init__(self, port, table):
        super().__init__(port, table)
        self.module = documented()

    def connect(self):
        return super().connect(options=f"-c search_path=documented_{self.port},public")

    def round(self, number):
        if number == 0:
            self.run(f"create schema if not exists documented_{self.port}")
            self.connection.commit()
        self.module.create_table(self.connection)
        self.module.insert_data(self.connection)
        self.module.select_data(self.connection)
        self.connection.commit()
        self.module.update_data(self.connection)
        self.connection.commit()
        self.module.delete_data(self.connection)
        assert self.run("select id, name from test order by id") == [
            (1, "numberupdated"), (2, "number2")]
        self.connection.commit()

    def rows(self, rounds):
        return []


PROGRAMS = (Documented, OneStatement, SeveralStatements, Autocommit, EndSelect, Asynchronous,
            ExecuteMany, NamedCursor, Psycopg3, OneSync)


class Runner(threading.Thread):
    """A program in a thread, until it is told to stop or has an error."""

    def __init__(self, program, port, table):
        super().__init__(name=program.__name__, daemon=True)
        self.program = program(port, table)
        self.rounds = 0
        self.longest = 0.0
        self.error = None
        self.stopping = False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                began = time.monotonic()
                self.program.round(self.rounds)
                self.longest = max(self.longest, time.monotonic() - began)
                self.rounds += 1
                time.sleep(0.02)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error  # for the test to judge

    def stop(self, patience):
        self.stopping = True
        self.join(patience)
        assert not self.is_alive(), f"{self.name} hangs in round {self.rounds}"
        return self
