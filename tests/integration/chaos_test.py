"""A short storm of the ledger (tests/chaos) with faults: errors are allowed, violations are not."""

import os
import subprocess
import sys

import pytest

MAIN = os.path.join(os.path.dirname(__file__), "..", "chaos", "main.py")


def storm(*arguments):
    result = subprocess.run([sys.executable, MAIN, "--statement-timeout", "1", *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=180, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("threads", [1, 2])
def test_servers_and_dwspool_are_broken(threads):
    storm("--seconds", "7", "--clients", "6", "--workers", str(threads), "--faults",
          "terminate,server_kill9,cut,relay_commit,dwspool_drain,dwspool_kill9")


def test_data_nodes_change_over():
    storm("--seconds", "5", "--clients", "6", "--faults", "datanode,coordinator_death")
