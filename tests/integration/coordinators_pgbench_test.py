"""Three coordinators under pgbench, which gives a client up at its first error: one is killed, comes
back, falls silent and speaks again, and pgbench hears of nothing. It reads only, so that what was
under way on the lost one is run again."""

import re
import subprocess
import time

import pytest
from clusters_test import config_of, counts, is_even, trio  # noqa: F401 (a fixture)
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import Relay

CLIENTS = 14
POOL = 9
SECONDS = 14


class Pgbench:
    """In the background; a line for each second."""

    def __init__(self, proxy, path):
        self.output = path.open("w+")
        self.process = subprocess.Popen(
            ["pgbench", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres", "-n", "-S",
             "-c", str(CLIENTS), "-j", "1", "-R", "600", "-T", str(SECONDS), "-P", "1", "postgres"],
            stdout=self.output, stderr=subprocess.STDOUT)

    def end(self):
        self.process.wait(SECONDS + 30)
        self.output.seek(0)
        return self.output.read()


@pytest.fixture
def pgbench(tmp_path):
    running = []

    def start(proxy):
        running.append(Pgbench(proxy, tmp_path / "pgbench"))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()


def check(bench):
    """No client has met an error."""
    text = bench.end()
    print(text)
    assert bench.process.returncode == 0, text
    assert "aborted" not in text and "error" not in text.replace("error(s)", "")
    assert int(re.search(r"number of transactions actually processed: (\d+)", text)[1]) > 0
    assert re.search(r"number of failed transactions: 0 ", text)


def test_killed_and_back(trio, proxies, pgbench):  # noqa: F811
    ports = [server.port for server in trio]
    for server in trio:
        subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres",
                        "-i", "-q", "postgres"], check=True, timeout=60, capture_output=True)
    proxy = proxies(config_of([f"127.0.0.1:{port}" for port in ports], cluster={"warm_up": 0},
                              pool_size=POOL, min_pool_size=POOL))
    bench = pgbench(proxy)
    wait_until(lambda: is_even(proxy, ports, POOL), 5, "even spread")
    for _ in range(2):
        trio[1].stop("immediate")
        wait_until(lambda: sum(counts(proxy, ports)) >= POOL, 3, "as many as before")
        trio[1].start()
        returned = time.monotonic()
        wait_until(lambda: counts(proxy, ports)[1] > 0, 3, "first connection")
        recovery = time.monotonic() - returned
        print(f"first connection {recovery:.2f} s after it was back")
        assert recovery < 1
        wait_until(lambda: is_even(proxy, ports, POOL), 6, "even spread again")
    check(bench)


def test_silent_and_back(trio, proxies, pgbench):  # noqa: F811
    for server in trio:
        subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres",
                        "-i", "-q", "postgres"], check=True, timeout=60, capture_output=True)
    with Relay(trio[2].port) as relay:
        ports = [trio[0].port, trio[1].port, relay.port]
        proxy = proxies(config_of(
            [f"127.0.0.1:{port}" for port in ports], pool_size=POOL, min_pool_size=POOL,
            cluster={"warm_up": 0, "probe": {"timeout": "300ms", "interval": "300ms",
                                             "dead_after": "2s"}}))
        bench = pgbench(proxy)
        wait_until(lambda: is_even(proxy, ports, POOL), 5, "even spread")
        relay.rule("black_hole", frame=None, times=None)
        wait_until(lambda: "cluster.host_dead" in proxy.log(), 6)
        wait_until(lambda: sum(counts(proxy, ports)) >= POOL, 3, "as many as before")
        relay.clear()
        returned = time.monotonic()
        wait_until(lambda: counts(proxy, ports)[2] > 0, 3, "first connection")
        recovery = time.monotonic() - returned
        print(f"first connection {recovery:.2f} s after it spoke again")
        assert recovery < 2  # a probe that is under way has its timeout first
        wait_until(lambda: is_even(proxy, ports, POOL), 6, "even spread again")
        check(bench)
