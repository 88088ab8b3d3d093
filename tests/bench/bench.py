"""What a proxy costs, side by side: see run.sh."""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics

import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from dwspool_testing.ports import free_port  # noqa: E402
from dwspool_testing.postgres import Postgres  # noqa: E402
from dwspool_testing.proxy import binary  # noqa: E402
from dwspool_testing.wire import Connection, message, query  # noqa: E402

POOL = 16
IDLE_CLIENTS = 5000
BULK_MB = 256
COUNTED = 3000  # transactions of each client while system calls are counted

SCRIPTS = {
    "psycopg2": "\\set aid random(1, 500000)\nBEGIN;\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\nCOMMIT;\n",
    "writes": "\\set aid random(1, 500000)\nBEGIN;\n"
              "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"
              "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
              "INSERT INTO pgbench_history(tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, 1, now());\n"
              "COMMIT;\n",
}

# name -> (title, pgbench options); the two last ones move bulk data instead.
WORKLOADS = {
    "simple": ("SELECT, simple protocol, 16 clients", ["-S", "-c", "16"]),
    "psycopg2": ("BEGIN; SELECT; COMMIT (psycopg2's shape), 16 clients", ["-f", "psycopg2", "-c", "16"]),
    "writes": ("BEGIN; UPDATE; SELECT; INSERT; COMMIT, 16 clients", ["-f", "writes", "-c", "16"]),
    "extended": ("SELECT, extended protocol, 16 clients", ["-S", "-M", "extended", "-c", "16"]),
    "prepared": ("SELECT, prepared, 16 clients", ["-S", "-M", "prepared", "-c", "16"]),
    "oversubscribed": ("SELECT, 64 clients over a pool of 16", ["-S", "-c", "64"]),
    "select": (f"one SELECT of {BULK_MB} MB", None),
    "copy": (f"COPY in of {BULK_MB} MB", None),
}

SYSCALLS = ["recvfrom", "recvmsg", "read", "readv", "sendto", "sendmsg", "write", "writev",
            "epoll_wait", "epoll_pwait", "epoll_ctl", "poll"]
DATA_CALLS = ["recvfrom", "recvmsg", "read", "readv", "sendto", "sendmsg", "write", "writev"]


class Target:
    """Something that listens, with the processes whose cost counts."""

    def __init__(self, name, port, process=None, log=None):
        self.name, self.port, self.process, self.log = name, port, process, log

    def cpu_ns(self):
        """CPU time of all threads, by the scheduler's exact count."""
        total = 0
        task = f"/proc/{self.process.pid}/task"
        for thread in os.listdir(task):
            with open(f"{task}/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def spawn(command, log):
    """Every proxy in a session of its own: the scheduler treats sessions alike."""
    with open(log, "wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def wait_for(target, folder):
    deadline = time.time() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", target.port)).close()
            return
        except OSError:
            if time.time() > deadline or target.process.poll() is not None:
                with open(os.path.join(folder, target.log), encoding="utf-8") as file:
                    raise RuntimeError(f"{target.name} does not listen: {file.read()}") from None
            time.sleep(0.05)


def start_dwspool(folder, pg, name="dwspool", **defaults):
    port = free_port()
    path = os.path.join(folder, f"{name}.yaml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({
            "listen": [{"host": "127.0.0.1", "port": port}], "auth_method": "trust",
            "max_client_conn": IDLE_CLIENTS + 500,
            "defaults": {"pool_mode": MODE, "pool_size": POOL, **defaults},
            "clusters": {"pg": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"*": {}}, "users": {"*": {}}}, file)
    return Target(name, port, spawn([binary(), "--config", path], path + ".log"),
                  f"{name}.yaml.log")


def start_pgbouncer(folder, pg, mode):
    port = free_port()
    path = os.path.join(folder, f"pgbouncer-{mode}.ini")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""[databases]
* = host=127.0.0.1 port={pg.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {POOL}
max_client_conn = {IDLE_CLIENTS + 500}
ignore_startup_parameters = extra_float_digits
""")
    with open(os.path.join(folder, "users.txt"), "w", encoding="utf-8") as file:
        file.write('"postgres" ""\n')
    name = "pgbouncer" if mode == "transaction" else f"pgbouncer ({mode})"
    command = ["pgbouncer", path]
    if os.geteuid() == 0:
        command[1:1] = ["-u", "postgres"]
    return Target(name, port, spawn(command, path + ".log"), f"pgbouncer-{mode}.ini.log")


def start_haproxy(folder, pg):
    port = free_port()
    path = os.path.join(folder, "haproxy.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen pg
  bind 127.0.0.1:{port}
  server pg 127.0.0.1:{pg.port}
""")
    return Target("haproxy", port, spawn(["haproxy", "-db", "-f", path], path + ".log"),
                  "haproxy.cfg.log")


def pgbench(folder, target, options, seconds, transactions=None):
    options = [os.path.join(folder, option + ".sql") if option in SCRIPTS else option
               for option in options]
    limit = ["-t", str(transactions)] if transactions else ["-T", str(seconds)]
    return subprocess.Popen(
        ["pgbench", "-n", "-j", "1", *options, *limit, "-h", "127.0.0.1", "-p", str(target.port),
         "-U", "postgres", "postgres"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pgbench_result(process):
    output, _ = process.communicate()
    done = re.search(r"actually processed: (\d+)", output)
    failed = re.search(r"failed transactions: (\d+)", output)
    if process.returncode != 0 or not done or done.group(1) == "0" or (failed and int(failed.group(1))):
        raise RuntimeError(output)
    latency = re.search(r"latency average = ([\d.]+)", output)
    return int(done.group(1)), float(latency.group(1))


def bulk_select(target):
    """Reads one large result; returns its megabytes."""
    rows = BULK_MB * 1000
    with Connection("127.0.0.1", target.port, timeout=300) as connection:
        connection.log_in()
        connection.send(query(f"select repeat('x', 1000) from generate_series(1, {rows})"))
        buffer = bytearray(1 << 20)
        total = 0
        tail = b""
        while True:
            got = connection.socket.recv_into(buffer)
            if not got:
                raise RuntimeError("the connection has ended")
            total += got
            tail = (tail + bytes(buffer[max(0, got - 6):got]))[-6:]
            if tail == b"Z\0\0\0\x05I":
                return total / 1e6


def bulk_copy(target):
    """Sends as much by COPY, in messages of 8 kB as psql does; returns its megabytes."""
    line = b"y" * 1023 + b"\n"
    chunk = message(b"d", line * 8) * 8
    count = BULK_MB * 1000 * 1000 // len(chunk)
    with Connection("127.0.0.1", target.port, timeout=300) as connection:
        connection.log_in()
        connection.ask("truncate bulk_copy")
        connection.send(query("copy bulk_copy from stdin"))
        assert connection.receive()[0] == b"G"
        for _ in range(count):
            connection.send(chunk)
        connection.send(message(b"c"))
        connection.until_ready()
    return count * len(chunk) / 1e6


def run_together(folder, targets, name, seconds):
    """One round: {target name: (cost per unit, units, latency)}. The unit is a transaction, or a
    gigabyte."""
    _, options = WORKLOADS[name]
    before = {t.name: t.cpu_ns() for t in targets if t.process}
    results = {}
    if options:
        running = [(t, pgbench(folder, t, options, seconds)) for t in targets]
        for target, process in running:
            results[target.name] = pgbench_result(process)
    else:
        move = bulk_select if name == "select" else bulk_copy

        def work(target):
            start = time.time()
            done = move(target) / 1000
            results[target.name] = (done, (time.time() - start) * 1000)

        # COPYs of the same table would wait for each other, and all at once only measure the disk.
        for target in targets:
            work(target)
    costs = {}
    for target in targets:
        units, latency = results[target.name]
        cost = None
        if target.process:
            cost = (target.cpu_ns() - before[target.name]) / units / 1000
        costs[target.name] = (cost, units, latency)
    return costs


def measure(folder, targets, name, rounds, seconds):
    run_together(folder, targets, name, 1) if WORKLOADS[name][1] else None
    return [run_together(folder, targets, name, seconds) for _ in range(rounds)]


def syscalls(folder, target, options):
    """{system call: calls per transaction}, by tracepoints, over a fixed number of transactions
    that is large enough for the log-ins of the clients not to show."""
    pgbench_result(pgbench(folder, target, options, 0, 50))  # backends, caches
    stats = os.path.join(folder, "perf.txt")
    events = ",".join(f"syscalls:sys_enter_{call}" for call in SYSCALLS)
    with subprocess.Popen(["perf", "stat", "-x", ",", "-e", events, "-p", str(target.process.pid),
                           "-o", stats], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as counter:
        time.sleep(1)
        done, _ = pgbench_result(pgbench(folder, target, options, 0, COUNTED))
        counter.send_signal(signal.SIGINT)
    counts = {}
    with open(stats, encoding="utf-8") as file:
        for line in file:
            fields = line.strip().split(",")
            if len(fields) > 2 and fields[0].isdigit():
                counts[fields[2].rsplit("_enter_", 1)[1]] = int(fields[0]) / done
    return counts


def idle_memory(target):
    """(bytes per idle client, CPU in percent of one core, seconds to log all in)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Connection("127.0.0.1", target.port) as first:  # what is needed once
        first.log_in()
        first.ask("select 1")
        time.sleep(0.5)
        base = target.rss_kib()
        start = time.time()
        clients = []
        for _ in range(IDLE_CLIENTS):
            client = Connection("127.0.0.1", target.port)
            client.log_in()
            clients.append(client)
        took = time.time() - start
        for client in clients:
            client.ask("select 1")
        time.sleep(1)
        grown = target.rss_kib() - base
        before = target.cpu_ns()
        time.sleep(4)
        idle = (target.cpu_ns() - before) / 4e9 * 100
        for client in clients:
            client.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return grown * 1024 / IDLE_CLIENTS, idle, took


def streaming_growth(target):
    """How much RSS grows, in KiB, while a gigabyte goes through."""
    bulk_select(target)
    base = target.rss_kib()
    peak = base
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, target.rss_kib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    moved = 0.0
    while moved < 1000:
        moved += bulk_select(target)
    done.set()
    watcher.join()
    return peak - base, moved


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def show(title, rows, header):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}")
    for row in [header, *rows]:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()


def report_costs(name, rounds, reference=None):
    title, options = WORKLOADS[name]
    reference = reference or REFERENCE[name]
    unit = "µs/tx" if options else "s/GB"
    rows = []
    for target in rounds[0]:
        cost = median([r[target][0] for r in rounds])
        if not options and cost is not None:
            cost /= 1e6
        ratios = [r[target][0] / r[reference][0] for r in rounds
                  if r[target][0] and r[reference][0]]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "-"
        units = sum(r[target][1] for r in rounds)
        rows.append([target, f"{cost:.2f}" if cost else "-", ratio,
                     f"{units:.0f}" if options else f"{units:.2f}",
                     f"{median([r[target][2] for r in rounds]):.3f}"])
    show(title, rows, ["", unit, f"x {reference}", "tx" if options else "GB", "latency ms"])

REFERENCE = {name: "pgbouncer" for name in WORKLOADS}
# Debian's PgBouncer 1.18 has no prepared statements in transaction mode: it is shown in session
# mode, where it only relays.
REFERENCE["prepared"] = "pgbouncer (session)"
MODE = "transaction"


def main():
    global MODE
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", default="", help="workloads, or syscalls, idle, stream, replay")
    parser.add_argument("--mode", default="transaction", help="dwspool's pool_mode")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1
    MODE = arguments.mode
    wanted = [w for w in arguments.only.split(",") if w] or [*WORKLOADS, "syscalls", "idle", "stream", "replay"]
    if arguments.quick and not arguments.only:
        wanted.remove("idle")
        wanted.remove("stream")
        wanted.remove("replay")

    folder = tempfile.mkdtemp(prefix="dwspool-bench-")
    os.chmod(folder, 0o755)
    pg = Postgres({"max_connections": 300, "synchronous_commit": "off", "max_wal_size": "4GB", "autovacuum": "off"},
                  name="bench").init().start()
    targets = []
    try:
        pg.psql("create unlogged table bulk_copy(t text)")
        subprocess.run(["pgbench", "-q", "-i", "-s", "5", "-h", "127.0.0.1", "-p", str(pg.port),
                        "-U", "postgres", "postgres"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for name, text in SCRIPTS.items():
            with open(os.path.join(folder, name + ".sql"), "w", encoding="utf-8") as file:
                file.write(text)
        dwspool = start_dwspool(folder, pg)
        bouncer = start_pgbouncer(folder, pg, "transaction")
        session_bouncer = start_pgbouncer(folder, pg, "session")
        haproxy = start_haproxy(folder, pg)
        targets = [dwspool, bouncer, session_bouncer, haproxy]
        for target in targets:
            wait_for(target, folder)
        direct = Target("direct", pg.port)
        version = subprocess.run([binary(), "--version"], stdout=subprocess.PIPE, text=True, check=True)
        print(f"{version.stdout.strip()} (pool_mode {MODE}), "
              + subprocess.run(["pgbouncer", "--version"], stdout=subprocess.PIPE, text=True,
                               check=True).stdout.splitlines()[0]
              + f"; {arguments.rounds} rounds of {arguments.seconds} s, all targets in the same seconds")

        for name in WORKLOADS:
            if name not in wanted:
                continue
            reference = session_bouncer if name == "prepared" else bouncer
            report_costs(name, measure(folder, [dwspool, reference, haproxy, direct], name,
                                       arguments.rounds, arguments.seconds))
        if "syscalls" in wanted:
            rows = []
            for name in ("simple", "psycopg2", "extended", "prepared"):
                for target in (dwspool, session_bouncer if name == "prepared" else bouncer, haproxy):
                    counts = syscalls(folder, target, WORKLOADS[name][1])
                    data = sum(counts.get(call, 0) for call in DATA_CALLS)
                    rows.append([name, target.name, f"{data:.2f}",
                                 f"{sum(counts.get(c, 0) for c in ('epoll_wait', 'epoll_pwait')):.2f}",
                                 f"{counts.get('epoll_ctl', 0):.3f}"])
            show("System calls per transaction, 16 clients", rows,
                 ["", "", "data", "epoll_wait", "epoll_ctl"])
        if "replay" in wanted:
            # What it costs to keep what a client says, when nothing ever fails.
            without = start_dwspool(folder, pg, "replay-off", replay="off")
            token = start_dwspool(folder, pg, "replay-token", replay="token")
            targets += [without, token]
            wait_for(without, folder)
            wait_for(token, folder)
            subprocess.run([binary(), "token", "install",
                            f"host=127.0.0.1 port={pg.port} user=postgres dbname=postgres"],
                           check=True, stdout=subprocess.DEVNULL)
            rows = []
            for name in ("simple", "psycopg2", "writes", "extended", "prepared"):
                report_costs(name, measure(folder, [dwspool, token, without], name,
                                           arguments.rounds, arguments.seconds), without.name)
                for target in (dwspool, token, without):
                    counts = syscalls(folder, target, WORKLOADS[name][1])
                    data = sum(counts.get(call, 0) for call in DATA_CALLS)
                    rows.append([name, target.name, f"{data:.2f}", f"{sum(counts.values()):.2f}"])
            show("System calls per transaction, 16 clients", rows, ["", "", "data", "all"])
        if "idle" in wanted:
            rows = []
            for target in (dwspool, bouncer):
                memory, cpu, took = idle_memory(target)
                rows.append([target.name, f"{memory / 1024:.2f}", f"{cpu:.2f}", f"{IDLE_CLIENTS / took:.0f}"])
            show(f"{IDLE_CLIENTS} idle clients, each after one query", rows,
                 ["", "KiB/client", "CPU %", "log-ins/s"])
        if "stream" in wanted:
            grown, moved = streaming_growth(dwspool)
            print(f"\nRSS grows by {grown} KiB while {moved / 1000:.1f} GB stream through dwspool")
    finally:
        for target in targets:
            target.process.send_signal(signal.SIGTERM if target.name != "haproxy" else signal.SIGINT)
        for target in targets:
            try:
                target.process.wait(5)
            except subprocess.TimeoutExpired:
                target.process.kill()
        pg.destroy()
        shutil.rmtree(folder, ignore_errors=True)

if __name__ == "__main__":
    main()
