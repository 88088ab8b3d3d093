"""`dwspool check`: what it finds, and what it advises."""

import json
import subprocess

import pytest
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import binary
from fake_cn import Role


def check(proxy, *options):
    done = subprocess.run([binary(), "check", "--config", proxy.config_path, *options], capture_output=True, text=True,
                          check=False, timeout=60)
    assert "secret" not in done.stdout + done.stderr
    return done


@pytest.fixture
def checked(pg, proxies):
    def start(**overrides):
        return proxies({
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"postgres": {}},
            "users": {"app": {"password": "app secret"}},
            **overrides,
        })

    return start


def test_all_is_well(checked):
    done = check(checked(), "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["good"] is True
    coordinator, *through = found["checks"]
    assert coordinator["target"] == "CN"
    assert coordinator["role"] == "primary"
    assert coordinator["method"] == "scram-sha-256"
    assert coordinator["dialect"] == "postgres"
    assert coordinator["server_version"].startswith("15")
    assert int(coordinator["settings"]["max_connections"]) > 1
    assert abs(coordinator["clock_ahead_seconds"]) < 1
    assert 0 < coordinator["round_trip_milliseconds"] < 1000
    assert coordinator["advice"] == []
    assert "stock_client" not in coordinator
    assert [row["target"] for row in through] == ["dwspool", "dwspool"]  # TCP and Unix socket
    assert all(row["good"] for row in through)


def test_the_table_says_what_to_change(checked, pg):
    done = check(checked(defaults={"pool_size": 5000}))
    assert done.returncode == 0  # advice is no failure
    assert "What to change:" in done.stdout
    assert f"127.0.0.1:{pg.port}: the pool may open" in done.stdout
    assert "lower pool_size" in done.stdout


def test_failures_say_why(checked, pg):
    away = free_port()
    proxy = checked(clusters={"main": {"coordinators": [f"127.0.0.1:{pg.port}", f"127.0.0.1:{away}"]}},
                    users={"app": {"password": "app secret"}, "other": {"password": "not its secret"}})
    done = check(proxy, "--json")
    assert done.returncode == 1
    rows = {(row["target"], row["address"], row["user"]): row for row in json.loads(done.stdout)["checks"]}
    assert rows["CN", f"127.0.0.1:{pg.port}", "app"]["good"]
    refused = rows["CN", f"127.0.0.1:{away}", "app"]
    assert (refused["good"], refused["reachable"]) == (False, False)
    assert "Connection refused" in refused["detail"]
    wrong = rows["CN", f"127.0.0.1:{pg.port}", "other"]
    assert (wrong["good"], wrong["reachable"]) == (False, True)
    assert "28P01" in wrong["detail"]
    # And as a table, for people.
    assert check(proxy).stdout.count("FAILED") >= 2


def test_before_dws_it_says_what_a_stock_client_would_meet(fake, proxies):
    cn = fake(Role("dbadmin", "the secret", pg_user="postgres"))
    proxy = proxies({
        "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}"]}},
        "databases": {"postgres": {}},
        "users": {"dbadmin": {"password": "the secret"}},
    })
    done = check(proxy, "--json")
    coordinator, *through = json.loads(done.stdout)["checks"]
    assert coordinator["good"], coordinator
    assert coordinator["method"].startswith("gaussdb")
    assert "SASL authentication mechanisms" in coordinator["stock_client"]
    assert all(row["good"] for row in through), through
    assert "a stock libpq fails here" in check(proxy).stdout


def test_without_a_user_there_is_nothing_to_try(checked):
    done = check(checked(auth_method="trust", users={"*": {}}), "--json")
    assert done.returncode == 1
    assert "nobody to log in as" in done.stderr
