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


ASKING = {"user": "keeper", "password": "keeper secret", "database": "postgres"}


def of_auth_query(done):
    rows = json.loads(done.stdout)["checks"]
    return [row for row in rows if row.get("purpose") == "auth_query"]


def test_who_asks_for_auth_query(fake, proxies):
    """At every coordinator, also where no user is configured."""
    roles = [Role("keeper", "keeper secret", pg_user="postgres"), Role("plain", "plain secret", pg_user="app")]
    cns = [fake(*roles), fake(*roles)]
    proxy = proxies({
        "auth_method": "password",
        "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}" for cn in cns], "auth_query": ASKING}},
        "databases": {"postgres": {}},
    })
    done = check(proxy, "--json")
    assert done.returncode == 0, done.stdout
    assert [(row["user"], row["good"], row["advice"]) for row in of_auth_query(done)] == [("keeper", True, [])] * 2
    assert "auth_query: dws 9.2.4" in check(proxy).stdout


@pytest.mark.parametrize("change, detail, advice", [
    ({"query": "select rolname from pg_authid where rolname = $1"}, "one column, and not two",
     "cannot be run: correct its 'query'"),
    ({"query": "select nothing_such($1)"}, "function nothing_such", "cannot be run: correct its 'query'"),
    ({"database": "nowhere"}, 'database "nowhere" does not exist', "write as 'database' of auth_query"),
])
def test_what_to_change_about_auth_query(fake, proxies, change, detail, advice):
    cn = fake(Role("keeper", "keeper secret", pg_user="postgres"))
    proxy = proxies({
        "auth_method": "password",
        "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}"], "auth_query": {**ASKING, **change}}},
        "databases": {"postgres": {}},
    })
    done = check(proxy, "--json")
    assert done.returncode == 1
    row, = of_auth_query(done)
    assert not row["good"] and detail in row["detail"]
    assert advice in row["advice"][0]


def test_who_may_not_read_what_auth_query_asks(checked, pg):
    done = check(checked(clusters={"main": {
        "coordinators": [f"127.0.0.1:{pg.port}"],
        "auth_query": {"user": "app", "password": "app secret", "database": "postgres"}}}))
    assert done.returncode == 1
    assert "auth_query: logs in, but the look-up fails: permission denied for table pg_authid (42501)" in done.stdout
    assert 'user "app" may not read what auth_query asks' in done.stdout


def test_a_password_that_is_refused_is_tried_once(fake, proxies):
    """Whoever it is for, and at however many coordinators: ten of them lock the account."""
    keeper = Role("keeper", "keeper secret", pg_user="postgres")
    cns = [fake(keeper), fake(keeper)]  # the account is the cluster's
    proxy = proxies({
        "clusters": {"dws": {"coordinators": [f"127.0.0.1:{cn.port}" for cn in cns],
                             "probe": {"interval": 0},
                             "auth_query": {**ASKING, "password": "not its secret"}}},
        "databases": {"postgres": {}, "template1": {}},
        "users": {"keeper": {"password": "not its secret"}},
    })
    done = check(proxy, "--json")
    assert done.returncode == 1
    assert keeper.wrong == 1 and not keeper.locked
    rows = json.loads(done.stdout)["checks"]
    assert len(rows) == 6 and not any(row["good"] for row in rows)
    assert "28P01" in rows[0]["detail"]
    assert "correct its password" in rows[0]["advice"][0]
    refused = f"not tried: 127.0.0.1:{cns[0].port} has refused this password"
    assert [row["detail"] for row in rows[1:]] == [refused] * 5


def test_without_a_user_there_is_nothing_to_try(checked):
    done = check(checked(auth_method="trust", users={"*": {}}), "--json")
    assert done.returncode == 1
    assert "nobody to log in as" in done.stderr
