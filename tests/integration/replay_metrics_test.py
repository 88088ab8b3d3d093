"""What an operator sees of replay: numbers before and after a failure, and one line for each."""

import re

import psycopg2.errors
import pytest
from dwspool_testing.proxy import wait_until
from replay_seed_test import before, cn, connect, run, table  # noqa: F401, pylint: disable=unused-import

# pylint: disable=redefined-outer-name


def test_what_is_masked_is_counted_once_and_logged_without_the_statement(cn, before, table):
    proxy = before()
    connection = connect(proxy.port)
    cn.switchover(seconds=0.3, doom=False)
    run(connection, "insert into seed values (4711)")
    connection.commit()
    wait_until(lambda: proxy.metric("dwspool_transactions_total") == 1, what="one transaction")
    assert proxy.metric("dwspool_replay_total", failure="refused", result="masked") == 1
    assert sum(value for series, value in proxy.metrics().items()
               if series.startswith("dwspool_replay_total")) == 1
    assert proxy.metric("dwspool_queries_total") == 3  # BEGIN, INSERT, COMMIT
    assert proxy.metric("dwspool_replay_duration_seconds_count") == 1
    assert not any("dwspool_errors_total" in series for series in proxy.metrics())
    wait_until(lambda: proxy.metric("dwspool_replay_log_bytes") == 0, what="nothing kept")
    lines = [line for line in proxy.log().splitlines() if "[replay.masked]" in line]
    assert len(lines) == 1
    assert re.search(r"statement=\"?[0-9a-f]{16}", lines[0])
    assert "pooler: failed to create" in lines[0]
    assert "4711" not in lines[0] and "insert" not in lines[0]


def test_what_is_not_run_again_has_a_reason(cn, before, table):
    proxy = before(replay="statement")
    connection = connect(proxy.port)
    run(connection, "insert into seed values (1)")
    cn.switchover(seconds=0.2)
    with pytest.raises(psycopg2.errors.ConnectionFailure):
        run(connection, "insert into seed values (2)")
    connection.rollback()
    assert proxy.metric("dwspool_replay_total", failure="refused", result="refused") == 1
    assert proxy.metric("dwspool_replay_refused_total", reason="level") == 1
    assert proxy.metric("dwspool_errors_total", **{"class": "08"}) == 1
    assert "[replay.refused]" in proxy.log()


def test_the_console_shows_the_same_numbers(cn, before, table):
    proxy = before(console={"stats_users": ["dbadmin"]})
    connection = connect(proxy.port)
    cn.switchover(seconds=0.2, doom=False)
    run(connection, "insert into seed values (1)")
    connection.commit()
    wait_until(lambda: proxy.metric("dwspool_transactions_total") == 1, what="one transaction")
    wait_until(lambda: proxy.metric("dwspool_replay_log_bytes") == 0, what="nothing kept")
    console = connect(proxy.port, autocommit=True, database="dwspool")
    with console.cursor() as cursor:
        cursor.execute("show replay")
        assert [column.name for column in cursor.description] == [
            "name", "database", "user", "failure", "outcome", "value"]
        rows = cursor.fetchall()
    assert ("total", "", "", "refused", "masked", 1) in rows
    shown = {(f"dwspool_replay_{row[0]}", frozenset(text for text in row[1:5] if text)): row[5] for row in rows}
    scraped = {}
    for series, value in proxy.metrics().items():
        name, _, rest = series.partition("{")
        if not name.startswith("dwspool_replay_") or name.endswith("_bucket"):
            continue
        if value or not name.endswith("_total"):
            scraped[name, frozenset(re.findall(r'="([^"]*)"', rest))] = value
    assert shown.keys() == scraped.keys()
    for key, value in shown.items():
        assert abs(float(value) - scraped[key]) < 1e-5, key


def test_coverage_is_known_before_anything_fails(before, table):
    """One transaction in 1024 is looked at, at one of its statements in turn."""
    proxy = before()
    connection = connect(proxy.port)
    count = 1024 * 4
    for _ in range(count):
        run(connection, "select v from seed")
        connection.commit()
    samples = {series: value for series, value in proxy.metrics().items()
               if series.startswith("dwspool_replay_sampled_total")}
    assert sum(samples.values()) == 4, samples
    # A read and the COMMIT behind it can both be run again.
    assert proxy.metric("dwspool_replay_sampled_total", outcome="protected") == 4
    assert proxy.metric("dwspool_replay_protected_ratio") == 1
