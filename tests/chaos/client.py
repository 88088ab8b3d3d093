"""A client of the ledger, in a process of its own: psycopg2 or psycopg 3, in autocommit or with the
transactions that the driver begins by itself."""

import contextlib
import random
import signal
import time

import ledger
from fate import judge
from history import FAILED, IDS_PER_CLIENT, OK, Log

IN_TRANSACTION = 2  # libpq's PQTRANS_INTRANS
DRIVERS = ("psycopg2", "psycopg2-autocommit", "psycopg3", "psycopg3-autocommit")

# kind of operation: how often
MIX = {"insert": 6, "insert_many": 3, "several_in_one": 2, "transfer": 4, "append": 3, "count": 4,
       "mixed": 3, "read": 6, "read_in_transaction": 3, "abandon": 1, "refused": 1}


def application_name(number):
    """Half of the clients have the same settings, so that backends change hands without more ado;
    for the others dwspool has to make settings anew each time."""
    return f"ledger-{number}" if number % 2 else "ledger"


def sqlstate_of(error):
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or ""


class Client:
    def __init__(self, number, driver, options, log):
        name, _, mode = driver.partition("-")
        if name == "psycopg2":
            import psycopg2 as module
        else:
            import psycopg as module
        self.module = module
        # psycopg 3 stumbles over a connection that is lost behind ParseComplete: two results.
        self.errors = (module.Error, ValueError)
        self.autocommit = mode == "autocommit"
        self.number = number
        self.name = application_name(number)
        self.options = options
        self.log = log
        self.random = random.Random(f"{options.seed} {number}")
        self.connection = None
        self.operations = 0
        self.ids = number * IDS_PER_CLIENT
        self.recent = []
        self.decisive = False  # something was sent that may have committed
        self.seen = []

    # The connection.

    def connect(self):
        """Tries until it works or the time is over."""
        while time.monotonic() < self.options.until:
            try:
                self.connection = self.module.connect(
                    host="127.0.0.1", port=self.options.port, user="ledger", dbname="postgres",
                    application_name=self.name, connect_timeout=5, sslmode="disable",
                    options=f"-c statement_timeout={self.options.statement_timeout_ms} "
                            f"-c lock_timeout={self.options.statement_timeout_ms // 2}")
                self.connection.autocommit = self.autocommit
                return
            except self.errors as error:
                self.log.connect_failed(sqlstate_of(error), str(error))
                time.sleep(self.random.uniform(0.02, 0.15))

    def disconnect(self):
        if self.connection is not None:
            with contextlib.suppress(*self.errors):
                self.connection.close()
        self.connection = None

    def recover(self, error):
        """After an error: ROLLBACK, or a new connection."""
        if self.connection.closed or not isinstance(error, self.module.Error):
            self.disconnect()
            return
        try:
            if self.autocommit:
                if self.connection.info.transaction_status != 0:
                    self.execute("rollback")
            else:
                self.connection.rollback()
        except self.errors:
            self.disconnect()

    # Steps.

    def think(self):
        """Within a transaction, applications do other things, too."""
        status = self.connection.info.transaction_status
        if status == IN_TRANSACTION and self.random.random() < 0.15:
            time.sleep(self.random.uniform(0, 8 * self.options.pause))

    def execute(self, sql, values=None):
        self.think()
        cursor = self.connection.cursor()
        cursor.execute(sql, values)
        return [list(row) for row in cursor.fetchall()] if cursor.description else []

    @contextlib.contextmanager
    def operation(self, kind, *effects):
        self.operations += 1
        self.decisive = False
        self.seen = []
        self.log.begin(self.operations, kind, effects)
        try:
            yield
        except self.errors as error:
            state = sqlstate_of(error)
            self.log.end(self.operations, judge(state, str(error), self.decisive), self.seen,
                         state, str(error))
            self.recover(error)
        else:
            self.log.end(self.operations, OK, self.seen)

    @contextlib.contextmanager
    def transaction(self):
        if self.autocommit:
            self.execute("begin")
        yield
        self.think()
        self.decisive = True
        if self.autocommit:
            self.execute("commit")
        else:
            self.connection.commit()

    def alone(self, sql, values):
        """One write: outside of a transaction, where the driver lets it."""
        if self.autocommit:
            self.decisive = True
            return self.execute(sql, values)
        with self.transaction():
            return self.execute(sql, values)

    def new_id(self):
        self.ids += 1
        return self.ids

    def new_row(self):
        row = self.new_id()
        self.recent = [*self.recent[-30:], row]
        return row

    # What is read.

    def read_own(self, pending=()):
        low = self.recent[0] if self.recent else self.number * IDS_PER_CLIENT
        rows = self.execute("select id from ledger_rows where client = %s and id >= %s",
                            (self.number, low))
        self.seen.append(["own", low, [row for row, in rows], list(pending)])

    def read_echo(self):
        token = self.random.randrange(1 << 40)
        rows = self.execute("select %s::bigint, current_setting('application_name')", (token,))
        self.seen.append(["echo", [[token, self.name]], rows])

    def read_list(self, number, own=None):
        rows = self.execute("select items from ledger_lists where id = %s", (number,))
        self.seen.append(["list", number, ledger.parse_list(rows[0][0]), own])

    def read_counter(self, number, pending=0):
        rows = self.execute("select value from ledger_counters where id = %s", (number,))
        self.seen.append(["counter", number, rows[0][0], pending])

    def read_sum(self):
        rows = self.execute("select sum(balance)::bigint from ledger_accounts")
        self.seen.append(["sum", rows[0][0]])

    def read_something(self):
        self.random.choice([
            self.read_own, self.read_echo, self.read_sum,
            lambda: self.read_list(self.some_list()),
            lambda: self.read_counter(self.some_counter()),
        ])()

    def some_list(self):
        period = int((time.monotonic() - self.options.since) / ledger.LIST_SECONDS)
        last = ledger.list_count(self.options.until - self.options.since) - 1
        return min(last, period * ledger.LISTS + self.random.randrange(ledger.LISTS))

    def some_counter(self):
        return self.random.randint(1, ledger.COUNTERS)

    # What is written.

    def write_row(self, row):
        self.execute("insert into ledger_rows values (%s, %s)", (row, self.number))

    def write_append(self, number, item):
        rows = self.execute("update ledger_lists set items = items || ' ' || %s::text "
                            "where id = %s returning items", (str(item), number))
        self.seen.append(["list", number, ledger.parse_list(rows[0][0]), item])

    # Operations.

    def insert(self):
        row = self.new_row()
        with self.operation("insert", ["row", row]):
            self.alone("insert into ledger_rows values (%s, %s)", (row, self.number))

    def insert_many(self):
        rows = [self.new_row() for _ in range(self.random.randint(2, 4))]
        with self.operation("insert_many", *(["row", row] for row in rows)), self.transaction():
            for row in rows:
                self.write_row(row)
            if self.random.random() < 0.3:
                self.read_own(rows)

    def several_in_one(self):
        """Several statements in one text; without a transaction of the driver's it is its own."""
        rows = [self.new_row() for _ in range(2)]
        texts = [f"insert into ledger_rows values ({row}, {self.number})" for row in rows]
        if self.autocommit and self.random.random() < 0.5:
            texts = ["begin", *texts, "commit"]
        with self.operation("several_in_one", *(["row", row] for row in rows)):
            self.alone("; ".join(texts), None)

    def transfer(self):
        identity, amount = self.new_id(), self.random.randint(1, 20)
        source, target = self.random.sample(range(1, ledger.ACCOUNTS + 1), 2)
        with self.operation("transfer", ["transfer", identity, source, target, amount]):
            with self.transaction():
                for account, change in sorted([(source, -amount), (target, amount)]):
                    self.execute("update ledger_accounts set balance = balance + %s where id = %s",
                                 (change, account))
                self.execute("insert into ledger_transfers values (%s, %s, %s, %s)",
                             (identity, source, target, amount))
                if self.random.random() < 0.3:
                    self.read_sum()

    def append(self):
        number, item = self.some_list(), self.new_id()
        with self.operation("append", ["append", number, item]):
            if self.autocommit and self.random.random() < 0.5:
                self.decisive = True
                self.write_append(number, item)
            else:
                with self.transaction():
                    self.write_append(number, item)
                    if self.random.random() < 0.3:
                        self.read_list(number, item)

    def count(self):
        counter = self.some_counter()
        with self.operation("count", ["count", counter, 1]):
            rows = self.alone("update ledger_counters set value = value + 1 where id = %s "
                              "returning value", (counter,))
            self.seen.append(["counter", counter, rows[0][0], 1])

    def mixed(self):
        """Of everything a little, in one transaction."""
        row, item = self.new_row(), self.new_id()
        counter, number = self.some_counter(), self.some_list()
        with self.operation("mixed", ["row", row], ["count", counter, 2],
                            ["append", number, item]), self.transaction():
            self.write_row(row)
            self.execute("update ledger_counters set value = value + 2 where id = %s", (counter,))
            self.read_something_of(row, counter)
            self.write_append(number, item)

    def read_something_of(self, row, counter):
        if self.random.random() < 0.5:
            self.read_own([row])
        else:
            self.read_counter(counter, 2)

    def read(self):
        with self.operation("read"):
            if self.autocommit:
                self.read_something()
            else:
                with self.transaction():
                    self.read_something()

    def read_in_transaction(self):
        with self.operation("read_in_transaction"), self.transaction():
            for _ in range(3):
                self.read_something()

    def abandon(self):
        """Written, and rolled back."""
        row = self.new_row()
        self.operations += 1
        self.seen = []
        self.log.begin(self.operations, "abandon", [["row", row]])
        text = ""
        try:
            if self.autocommit:
                self.execute("begin")
            self.write_row(row)
            if self.autocommit:
                self.execute("rollback")
            else:
                self.connection.rollback()
        except self.errors as error:
            text = str(error)
            self.recover(error)
        self.log.end(self.operations, FAILED, self.seen, "abandoned", text)

    def refused(self):
        """A write that the server refuses when it is to be committed."""
        row = self.new_row()
        with self.operation("refused", ["row", row]):
            self.alone("insert into ledger_rows values (%s, %s, true)", (row, self.number))

    # All of it.

    def run(self):
        kinds = list(MIX)
        weights = list(MIX.values())
        while time.monotonic() < self.options.until and self.operations < self.options.operations:
            if self.connection is None or self.connection.closed:
                self.disconnect()
                self.connect()
                continue
            getattr(self, self.random.choices(kinds, weights)[0])()
            if self.random.random() < 0.01:
                self.disconnect()  # as applications do, now and then
            time.sleep(self.random.uniform(0, 2 * self.options.pause))
        self.disconnect()


def main(number, driver, options, path):
    """The body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = Log(path, number, driver)
    Client(number, driver, options, log).run()
    log.close()
