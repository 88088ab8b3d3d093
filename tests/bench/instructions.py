#!/usr/bin/python3
"""How many instructions a proxy's own code and its libraries execute for a transaction, counted by
valgrind: dwspool at several levels of replay, and PgBouncer. Unlike CPU time the number hardly
differs between runs, but it leaves out the kernel, which is most of what a proxy costs.

usage: instructions.py DWSPOOL_BINARY [--only WORKLOAD[,...]]
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import bench
from bench import SCRIPTS, WORKLOADS, Postgres, Target, pgbench, show, wait_for

CLIENTS = 4
FEW, MANY = 100, 600  # transactions of each client; the difference counts
LEVELS = ["off", "transaction", "token"]


def under_valgrind(start):
    """What `start` starts runs under valgrind."""
    spawn = bench.spawn

    def counted(command, log):
        return spawn(["valgrind", "--tool=cachegrind", "--cache-sim=no",
                      "--cachegrind-out-file=/dev/null", *command], log)
    bench.spawn = counted
    try:
        return start()
    finally:
        bench.spawn = spawn


def executed(folder, start, options, transactions):
    """The instructions of one process from its start to its end."""
    target: Target = under_valgrind(start)
    try:
        wait_for(target, folder)
        load = pgbench(folder, target, [*options, "-c", str(CLIENTS)], None, transactions)
        output = load.communicate(timeout=300)[0]
        if load.returncode != 0:
            raise RuntimeError(output)
    finally:
        target.process.send_signal(signal.SIGTERM)
        target.process.wait(60)
    with open(os.path.join(folder, target.log), encoding="utf-8", errors="replace") as file:
        return int(re.findall(r"I\s+refs:\s+([\d,]+)", file.read())[-1].replace(",", ""))


def per_transaction(folder, start, options):
    few, many = (executed(folder, start, options, number) for number in (FEW, MANY))
    return (many - few) / (CLIENTS * (MANY - FEW))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--only", default="simple,psycopg2,writes,extended,prepared")
    arguments = parser.parse_args()
    os.environ["DWSPOOL_BINARY"] = arguments.binary

    folder = tempfile.mkdtemp(prefix="dwspool-bench-")
    os.chmod(folder, 0o777)  # PgBouncer runs as another user
    pg = Postgres({"max_connections": 100, "synchronous_commit": "off"}, name="bench").init().start()
    try:
        subprocess.run(["pgbench", "-q", "-i", "-s", "5", "-h", "127.0.0.1", "-p", str(pg.port),
                        "-U", "postgres", "postgres"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        subprocess.run([arguments.binary, "token", "install",
                        f"host=127.0.0.1 port={pg.port} user=postgres dbname=postgres"],
                       check=True, stdout=subprocess.DEVNULL)
        for name, text in SCRIPTS.items():
            with open(os.path.join(folder, name + ".sql"), "w", encoding="utf-8") as file:
                file.write(text)
        rows = []
        for name in arguments.only.split(","):
            options = WORKLOADS[name][1][:-2]  # without the number of clients
            mode = "session" if name == "prepared" else "transaction"
            counts = {f"replay: {level}": per_transaction(
                folder, lambda level=level: bench.start_dwspool(folder, pg, "counted",
                                                                replay=level), options)
                for level in LEVELS}
            counts["pgbouncer"] = per_transaction(
                folder, lambda: bench.start_pgbouncer(folder, pg, mode), options)
            off = counts["replay: off"]
            for target, count in counts.items():
                rows.append([name, target, f"{count:.0f}", f"{count - off:+.0f}"])
        show("Instructions per transaction, without the kernel's", rows,
             ["", "", "", "against off"])
    finally:
        pg.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
