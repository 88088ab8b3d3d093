"""What the integration tests share: one PostgreSQL for all, a dwspool for each."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))  # fake_cn

from dwspool_testing.holders import PendingCommits, UnacknowledgedCommits  # noqa: E402
from dwspool_testing.place import Place  # noqa: E402
from dwspool_testing.postgres import Postgres  # noqa: E402
from dwspool_testing.proxy import Proxy  # noqa: E402
from fake_cn import FakeCn  # noqa: E402

USERS_SQL = """
create role app login password 'app secret';
create role other login password 'other secret';
set password_encryption = 'md5';
create role legacy login password 'legacy secret';
"""


@pytest.fixture(scope="session")
def pg():
    server = Postgres(
        hba=[
            "host all app 127.0.0.1/32 scram-sha-256",
            "host all other 127.0.0.1/32 password",
            "host all legacy 127.0.0.1/32 md5",
        ],
        name="tests",
        settings={"max_prepared_transactions": "10"},
    ).init().start()
    try:
        server.psql(USERS_SQL)
        yield server
    finally:
        server.destroy()


@pytest.fixture
def proxies():
    """Starts dwspools; all are stopped, and their logs shown if the test fails."""
    running = []

    def start(config, **kwargs):
        running.append(Proxy(config, **kwargs).start())
        return running[-1]

    yield start
    errors = []
    for proxy in running:
        print(f"--- log of dwspool {proxy.port} ---\n{proxy.log()[-6000:]}")
        try:
            proxy.destroy()
        except RuntimeError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def fake(pg):
    """Starts fake coordinators before the PostgreSQL; ends them, and looks how they fared."""
    running = []

    def start(*roles, **options):
        running.append(FakeCn(("127.0.0.1", pg.port), roles, **options))
        return running[-1]

    yield start
    for cn in running:
        print(json.dumps(cn.status()))
        cn.close()


@pytest.fixture
def trusting(pg, proxies):
    """A dwspool that trusts everybody, before a server that does, in the given pool mode."""

    def start(mode="auto", **overrides):
        config = {
            "auth_method": "trust",
            "defaults": {"pool_mode": mode, "pool_size": 4, **overrides.pop("defaults", {})},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"*": {}},
            "users": {"*": {}},
            **overrides,
        }
        return proxies(config)

    return start


MODES = ["session", "transaction", "auto"]


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="session", params=["postgres-auto", "postgres-session", "dws-auto",
                                         "dws-session"])
def place(pg, request):
    """What psycopg2's interface is tried on, one for all tests of it."""
    target, mode = request.param.split("-")
    with Place(pg, target, mode) as one:
        yield one


@pytest.fixture(params=["pending", "unacknowledged"])
def kind(request):
    return request.param


@pytest.fixture
def holder(rig, kind):
    """Holds COMMITs of the module's `rig`, table t: before they are written, or behind that."""
    if not rig.primary.running:
        rig.restart(rig.primary)
    rig.primary.rows("truncate t")
    made = (PendingCommits(rig.primary, "t") if kind == "pending"
            else UnacknowledgedCommits(rig.primary))
    try:
        yield made
    finally:
        made.close()
