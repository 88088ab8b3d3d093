"""The checker, end to end: each unsafe proxy is found out by real clients on a real server, and a
safe one is not accused."""

import pytest
from dwspool_testing.postgres import Postgres

from storm import Storm
from unsafe import VARIANTS, Unsafe

DRIVERS = ("psycopg2", "psycopg2-autocommit")


@pytest.fixture(scope="module")
def server():
    with_server = Postgres(name="unsafe").init().start()
    try:
        yield with_server
    finally:
        with_server.destroy()


def run(server, proxy, directory):
    """A short storm through this proxy, on empty tables."""
    server.psql("drop owned by ledger; drop role ledger" if server.psql(
        "select 1 from pg_roles where rolname = 'ledger'") else "select 1")
    server.psql("drop schema public cascade; create schema public; "
                "grant all on schema public to public")
    try:
        return Storm(proxy.port, server.port, str(directory), seconds=3, clients=4,
                     drivers=DRIVERS, statement_timeout_ms=500, pause=0.002).finish()
    finally:
        proxy.close()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_found_out(server, tmp_path, variant):
    proxy = variant(server.port)
    result = run(server, proxy, tmp_path)
    assert proxy.taken > 0
    found = {violation.kind for violation in result.violations}
    assert found & VARIANTS[variant], f"{found}, {proxy.taken} times, {result.fates()}"


def test_a_safe_one_is_not_accused(server, tmp_path):
    result = run(server, Unsafe(server.port), tmp_path)
    assert result.violations == []
    assert result.fates()["ok"] > 100
    assert result.fates()["unknown"] == 0
