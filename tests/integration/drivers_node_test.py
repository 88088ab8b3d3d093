"""node-postgres through dwspool. DWSPOOL_NODE_MODULES names the folder that has `pg`
(`npm install --prefix DIR pg@8` makes DIR/node_modules)."""

import os
import shutil

import pytest
from dwspool_testing.programs import run

SCRIPT = os.path.join(os.path.dirname(__file__), "drivers", "node_pg.js")
MODULES = os.environ.get("DWSPOOL_NODE_MODULES", "")


@pytest.fixture
def node():
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    if not os.path.isdir(os.path.join(MODULES, "pg")):
        pytest.skip("DWSPOOL_NODE_MODULES names no folder with the npm package pg: "
                    "npm install --prefix DIR pg@8 makes DIR/node_modules")
    return "node"


def check(node, proxy, mode):
    result = run([node, SCRIPT, str(proxy.port), mode], NODE_PATH=MODULES)
    lines = result.stdout.splitlines()
    assert len([line for line in lines if line.startswith("ok ")]) == 11 - (mode == "transaction"), result.stdout
    assert "FAILED" not in result.stdout, result.stdout


def test_node_postgres(node, trusting, mode):
    check(node, trusting(mode, shutdown_timeout="3s"), mode)


def test_node_postgres_with_few_backends(node, trusting):
    """Two are needed: for a client that sleeps or listens, and for the one that goes on."""
    proxy = trusting("auto", shutdown_timeout="3s", defaults={"pool_size": 2})
    check(node, proxy, "auto")
