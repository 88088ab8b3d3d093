"""Clients of the ledger, all at once, for a bounded time; then what the checker says about it."""

import dataclasses
import glob
import multiprocessing
import os
import subprocess
import time

import checker
import client
import history
import ledger

LIBPQ = "libpq"
ALL_DRIVERS = (*client.DRIVERS, LIBPQ)


@dataclasses.dataclass
class Options:
    """What each client is told."""

    port: int
    since: float
    until: float
    seed: int
    statement_timeout_ms: int = 3000
    operations: int = 20000
    pause: float = 0.005


@dataclasses.dataclass
class Result:
    operations: list
    violations: list
    unknown_done: int  # how many of unknown fate took effect

    def fates(self):
        """{fate: how many}"""
        counted = {history.OK: 0, history.FAILED: 0, history.UNKNOWN: 0}
        for operation in self.operations:
            counted[operation.fate] += 1
        return counted


class Storm:
    """Runs `clients` clients against `port`; their logs go to `directory`. The server itself, for
    the tables, is at `server_port`, which may change until finish()."""

    def __init__(self, port, server_port, directory, seconds, clients=5, seed=0,
                 drivers=ALL_DRIVERS, **options):
        self.server_port = server_port
        self.directory = directory
        self.processes = []
        ledger.create(server_port, seconds)
        since = time.monotonic()
        self.options = Options(port, since, since + seconds, seed, **options)
        for number in range(1, clients + 1):
            self._start(number, drivers[(number - 1) % len(drivers)])

    def _start(self, number, driver):
        path = os.path.join(self.directory, f"client-{number}.jsonl")
        options = self.options
        if driver != LIBPQ:
            # Not forked: this process has threads.
            process = multiprocessing.get_context("spawn").Process(
                target=client.main, args=(number, driver, options, path), daemon=True)
            process.start()
            self.processes.append(process)
            return
        timeout = options.statement_timeout_ms
        name = client.application_name(number)
        conninfo = (f"host=127.0.0.1 port={options.port} user=ledger dbname=postgres "
                    f"application_name={name} connect_timeout=5 sslmode=disable "
                    f"options='-c statement_timeout={timeout} -c lock_timeout={timeout // 2}'")
        self.processes.append(subprocess.Popen(
            [os.environ["DWSPOOL_CHAOS_CLIENT"], str(number), name, conninfo, path,
             str(options.until - time.monotonic()), str(options.seed * 1000 + number),
             str(int(options.pause * 1000))]))

    def remaining(self):
        return self.options.until - time.monotonic()

    def stop(self, patience):
        """Waits for the clients; who does not end by itself is killed."""
        deadline = time.monotonic() + patience
        for process in self.processes:
            left = max(0.0, deadline - time.monotonic())
            if isinstance(process, subprocess.Popen):
                try:
                    process.wait(left)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            else:
                process.join(left)
                if process.is_alive():
                    process.kill()
                    process.join()

    def finish(self):
        """Waits for the end of it all, and until what was left behind has had time to happen."""
        longest_statement = self.options.statement_timeout_ms / 1000
        self.stop(max(0.0, self.remaining()) + 2 * longest_statement + 5)
        ledger.wait_quiet(self.server_port, 2 * longest_statement)
        operations = history.read(sorted(glob.glob(f"{self.directory}/client-*.jsonl")))
        tables = ledger.read_tables(self.server_port)
        return Result(operations, checker.check(operations, tables),
                      checker.unknown_done(operations, tables))
