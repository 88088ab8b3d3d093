"""A switchover under load, seen by two crowds of the same psycopg2 program: one connects to dwspool,
the other to the servers themselves, by libpq's list of hosts.

usage: switchover.py DWSPOOL_PORT PRIMARY_PORT STANDBY_PORT DATABASE USER PASSWORD_FILE COMMAND

COMMAND is run by the shell in the middle of it: it ends the primary and promotes the standby.
Exit status 1 if dwspool let an error through that its documentation does not announce, or if what
the programs were told is not what the tables hold.
"""

import collections
import subprocess
import sys
import threading
import time

import psycopg2

CLIENTS = 8
BEFORE = 2.0  # seconds of load before the switchover
AFTER = 3.0  # and behind it
# What doc/replay.md announces: a COMMIT was on its way, and whether it took effect is unknown; a
# transaction was run again and saw something else.
ANNOUNCED = {"08007", "40001"}


class Crowd:
    """Programs in psycopg2's default mode: a transaction of two statements, again and again."""

    def __init__(self, name, dsn):
        self.name, self.dsn = name, dsn
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.committed, self.unknown = [], []
        self.errors = collections.Counter()
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True)
                        for number in range(CLIENTS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def work(self, number):
        connection = None
        count = 0
        while not self.stop.is_set():
            count += 1
            key = f"{self.name} {number} {count}"
            began = time.monotonic()
            committing = False
            try:
                if connection is None:
                    connection = psycopg2.connect(self.dsn)
                with connection.cursor() as cursor:
                    cursor.execute("insert into payments values (%s)", (key,))
                    cursor.execute("update balance set amount = amount + 1 where client = %s",
                                   (f"{self.name} {number}",))
                    committing = True
                    connection.commit()
                with self.lock:
                    self.committed.append(key)
                    self.slowest = max(self.slowest, time.monotonic() - began)
            except psycopg2.Error as error:
                # Without a server's word on it, a COMMIT that was sent may have taken effect.
                state = error.pgcode or ("no SQLSTATE, in COMMIT" if committing else "no SQLSTATE")
                with self.lock:
                    self.errors[state] += 1
                    if committing:
                        self.unknown.append(key)
                if connection is not None and connection.closed:
                    connection = None
                elif connection is not None:
                    connection.rollback()
            time.sleep(0.01)

    def report(self):
        errors = ", ".join(f"{number} x {state}" for state, number in self.errors.items()) or "none"
        print(f"  {self.name:9} {len(self.committed):5} transactions committed, the slowest took "
              f"{self.slowest:.1f} s; errors: {errors}")


def main():
    port, primary, standby, database, user, password_file, command = sys.argv[1:]
    password = open(password_file, encoding="utf-8").read()
    login = f"dbname={database} user={user} password={password}"
    through = f"host=127.0.0.1 port={port} {login}"
    crowds = [Crowd("dwspool", through),
              Crowd("direct", f"host=127.0.0.1,127.0.0.1 port={primary},{standby} {login} "
                              "target_session_attrs=read-write")]
    with psycopg2.connect(through) as connection, connection.cursor() as cursor:
        cursor.execute("create table payments (id text)")
        cursor.execute("create table balance (client text primary key, amount bigint)")
        for crowd in crowds:
            cursor.executemany("insert into balance values (%s, 0)",
                               [(f"{crowd.name} {number}",) for number in range(CLIENTS)])
    connection.close()

    for crowd in crowds:
        crowd.start()
    time.sleep(BEFORE)
    began = time.monotonic()
    subprocess.run(command, shell=True, check=True)
    print(f"  the primary is gone, the standby promoted; that took {time.monotonic() - began:.1f} s")
    time.sleep(AFTER)
    for crowd in crowds:
        crowd.finish()
        crowd.report()

    connection = psycopg2.connect(through)
    with connection, connection.cursor() as cursor:
        cursor.execute("select id, count(*) from payments group by id")
        rows = dict(cursor.fetchall())
        cursor.execute("select sum(amount) from balance")
        balance = int(cursor.fetchone()[0])
    connection.close()
    lost, twice, unannounced = [], [], []
    for crowd in crowds:
        lost += [key for key in crowd.committed if key not in rows]
        told = {*crowd.committed, *crowd.unknown}
        unannounced += [key for key in rows if key.startswith(crowd.name) and key not in told]
    twice = [key for key, number in rows.items() if number > 1]
    print(f"  {len(rows)} rows: {len(lost)} lost, {len(twice)} twice, {len(unannounced)} that were "
          f"reported as failed; the balance says {balance}")
    unexpected = [state for state in crowds[0].errors if state not in ANNOUNCED]
    if lost or twice or unannounced or balance != len(rows) or unexpected:
        print(f"  that is wrong: {lost[:3]} {twice[:3]} {unannounced[:3]} {unexpected}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
