"""SIGUSR2: another process takes over the listening sockets, and no client notices."""

import os
import signal
import socket
import subprocess
import time

import psycopg2
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.succession import Succession, children_of, is_running


@pytest.fixture
def succession(trusting):
    begun = []

    def start(**overrides):
        begun.append(Succession(trusting(shutdown_timeout="2s", **overrides)))
        return begun[-1]

    yield start
    for each in begun:
        each.end()


def pgbench(proxy, *options):
    return subprocess.Popen(
        ["pgbench", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres", "-n", "-S", "-c", "4", "-j", "1",
         *options, "postgres"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def accounts(pg):
    subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(pg.port), "-U", "postgres", "-i", "-q", "postgres"],
                   check=True, capture_output=True)
    yield
    pg.psql("drop table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers")


def test_pgbench_runs_across_handovers_without_an_error(accounts, succession):
    line = succession(handover_time="20s", workers=2)
    stays = pgbench(line.proxy, "-T", "5")         # the same four connections all the time
    comes = pgbench(line.proxy, "-C", "-T", "5")   # a connection for each transaction
    for _ in range(3):
        time.sleep(1)
        line.hand_over()
    for bench in (stays, comes):
        out, err = bench.communicate(timeout=30)
        assert bench.returncode == 0, err
        assert "number of failed transactions: 0" in out, out
        assert "error" not in err.lower(), err
    # Without clients, the old ones end long before handover_time.
    for pid in line.all[:-1]:
        wait_until(lambda: not is_running(pid), timeout=5, what="the end of the old process")  # noqa: B023
    assert is_running(line.pid)
    assert line.proxy.http("/readyz")[0] == 200
    assert line.proxy.process.wait(5) == 0
    line.proxy.process = None


def test_clients_that_stay_are_ended_at_a_transaction_boundary(succession):
    """Idle ones go to the new process; whoever cannot has its time."""
    line = succession(handover_time="300ms")
    bound = psycopg2.connect(line.proxy.dsn("postgres"))
    busy = psycopg2.connect(line.proxy.dsn("postgres"))
    with bound.cursor() as cursor:
        cursor.execute("create temp table t(); commit")
    with busy.cursor() as cursor:
        cursor.execute("select 1")
        line.hand_over()
        time.sleep(0.6)
        cursor.execute("select 2")  # its transaction goes on
        assert cursor.fetchone() == (2,)
        busy.commit()
    for connection in (bound, busy):
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("select 3")
    wait_until(lambda: not is_running(line.all[0]), timeout=5, what="the end of the old process")
    with psycopg2.connect(line.proxy.dsn("postgres")) as fresh:
        with fresh.cursor() as cursor:
            cursor.execute("select 4")
    fresh.close()


def test_a_unix_socket_is_handed_over_too(succession):
    line = succession(handover_time="0")
    path = f"{line.proxy.dir}/.s.PGSQL.{line.proxy.port}"
    before = os.stat(path).st_ino
    line.hand_over()
    wait_until(lambda: not is_running(line.all[0]), timeout=5, what="the end of the old process")
    assert os.stat(path).st_ino == before
    psycopg2.connect(host=line.proxy.dir, port=line.proxy.port, user="postgres", dbname="postgres").close()


def test_a_successor_that_cannot_start_changes_nothing(succession):
    line = succession()
    client = psycopg2.connect(line.proxy.dsn("postgres"))
    with open(line.proxy.config_path, "w", encoding="utf-8") as file:
        file.write("nonsense: true\n")
    os.kill(line.pid, signal.SIGUSR2)
    wait_until(lambda: "[process.handover_failed]" in line.proxy.log(), timeout=15, what="the failure")
    with client.cursor() as cursor:
        cursor.execute("select 1")
    client.close()
    psycopg2.connect(line.proxy.dsn("postgres")).close()
    assert line.proxy.http("/healthz")[0] == 200
    assert children_of(line.pid) == []
    line.proxy.write_config()
    line.hand_over()  # and the next time it works
    psycopg2.connect(line.proxy.dsn("postgres")).close()


def test_a_slow_scraper_holds_up_nobody_but_the_handover(succession):
    line = succession(handover_time="10s")
    with psycopg2.connect(line.proxy.dsn("postgres")) as client, client.cursor() as cursor:
        with socket.create_connection(("127.0.0.1", line.proxy.http_port)) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\n")  # and no end
            time.sleep(0.2)
            os.kill(line.pid, signal.SIGUSR2)
            for _ in range(10):
                begun = time.monotonic()
                cursor.execute("select 1")
                assert time.monotonic() - begun < 0.5
                time.sleep(0.05)
        wait_until(lambda: "[process.handed_over]" in line.proxy.log(), timeout=20, what="a handover")
        line.all.append(children_of(line.pid)[0])
        cursor.execute("select 1")
    client.close()
