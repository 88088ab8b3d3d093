"""The primary dies and its synchronous standby takes over, under clients in psycopg2's default mode
with transactions of several statements. At level `transaction` nobody notices, but for those whose
COMMIT was on its way: these are told that its outcome is unknown (08007). The ledger of tests/chaos
says whether all that was told is true.

A relay stands for the address of the primary. DWSPOOL_TEST_SWITCHOVERS: how many (1).
"""

import collections
import os
import sys
import time

import pytest
from dwspool_testing.proxy import Proxy
from dwspool_testing.relay import Relay
from dwspool_testing.rig import Rig

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "chaos"))
import history  # noqa: E402
from storm import Storm  # noqa: E402

SWITCHOVERS = int(os.environ.get("DWSPOOL_TEST_SWITCHOVERS", "1"))
CLIENTS = 20


def switched_over(directory, level):
    """A storm with the switchovers; {(kind, SQLSTATE): how many} of what clients were told."""
    # One standby for each switchover, and one more: the last primary has to have a synchronous one.
    with Rig(SWITCHOVERS + 1, synchronous=True) as rig, Relay(rig.primary.port) as relay, Proxy({
            "auth_method": "trust",
            "shutdown_timeout": "1s",
            "defaults": {"pool_size": CLIENTS + 2, "replay": level, "queue_timeout": "30s"},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{relay.port}"],
                                  "connect_timeout": "3s"}},
            "databases": {"*": {}},
            "users": {"*": {}}}) as proxy:
        storm = Storm(proxy.port, rig.primary.port, str(directory), seconds=3.5 + 3 * SWITCHOVERS,
                      clients=CLIENTS, drivers=("psycopg2",), pause=0.02,
                      statement_timeout_ms=5000)
        time.sleep(2)
        for _ in range(SWITCHOVERS):
            rig.wait_replicated()
            began = time.monotonic()
            relay.target_port = rig.switchover().port
            print(f"{level}: the switchover took {time.monotonic() - began:.2f} s")
            time.sleep(1.5)
        storm.server_port = rig.primary.port
        result = storm.finish()
        assert not result.violations, result.violations[:10]
        outcomes = collections.Counter(
            (operation.fate, operation.state) for operation in result.operations
            if operation.fate != history.OK and operation.state not in ("abandoned", "23514"))
        fates = result.fates()
        print(f"{level}: {len(result.operations)} operations, {fates['ok']} ok, "
              f"{dict(outcomes)}; of the unknown {result.unknown_done} took effect; the longest "
              f"took {history.longest_operation(result.operations):.2f} s")
        assert fates["ok"] > 10 * CLIENTS
        assert history.longest_operation(result.operations) > 0.2  # somebody was in it
        return outcomes


def test_only_commits_on_their_way_are_in_doubt(tmp_path):
    outcomes = switched_over(tmp_path, "transaction")
    # Two clients that want the same rows may meet in a deadlock, with and without a switchover.
    told = {state for _, state in outcomes} - {"40P01", "55P03"}
    assert told <= {"08007", "40001"}
    assert outcomes[history.UNKNOWN, "08007"] <= CLIENTS * SWITCHOVERS


@pytest.mark.parametrize("level", ["statement"])
def test_without_replay_of_transactions_they_fail(tmp_path, level):
    """The ledger would see it if the test above had no switchover in it."""
    outcomes = switched_over(tmp_path, level)
    assert outcomes[history.FAILED, "08006"] > 0
    assert {state for _, state in outcomes} - {"40P01", "55P03"} <= {"08006", "08007"}
