"""psql and pgbench through dwspool: what people try first."""

import os
import pty
import select
import signal
import subprocess

import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.programs import environment, run

PSQL = ["psql", "-X", "-A", "-t", "-q"]


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def bench_database(observer):
    observer.rows("create database bench")
    yield "bench"
    observer.rows("drop database bench with (force)")


def test_pgbench_all_protocols(trusting, mode, observer, bench_database, pg):
    """Every transaction is there exactly once, with and without a connection for each."""
    proxy = trusting(mode)
    run(["pgbench", "-i", "-s", "1", "-q", bench_database], proxy)
    clients, transactions, expected = 4, 25, 0
    for protocol in ("simple", "extended", "prepared"):
        for per_transaction in ([], ["-C"]):
            result = run(["pgbench", "-n", "-M", protocol, "-c", str(clients), "-j", "2",
                          "-t", str(transactions), *per_transaction, bench_database], proxy)
            expected += clients * transactions
            assert "number of failed transactions: 0" in result.stdout
            assert "error" not in result.stderr.lower(), result.stderr
    counted = pg.psql("select count(*), sum(delta) from pgbench_history", database="bench")
    assert counted.split("|")[0] == str(expected)
    assert counted.split("|")[1] == pg.psql("select sum(abalance) from pgbench_accounts",
                                            database="bench")


def test_pgbench_more_clients_than_backends(trusting, observer, bench_database):
    proxy = trusting("auto", defaults={"pool_size": 2})
    run(["pgbench", "-i", "-s", "1", "-q", bench_database], proxy)
    for protocol in ("extended", "prepared"):
        result = run(["pgbench", "-n", "-S", "-M", protocol, "-c", "16", "-j", "2", "-t", "50",
                      bench_database], proxy)
        assert "number of transactions actually processed: 800/800" in result.stdout
        assert observer.value(
            "select count(*) from pg_stat_activity where datname = 'bench'") <= 2


def test_psql_copies_both_ways(trusting, mode, tmp_path):
    proxy = trusting(mode)
    source, sink = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("".join(f"{i},text of {i}\n" for i in range(20000)))
    run(PSQL + ["-v", "ON_ERROR_STOP=1", "-c", "create table psql_copy(id int, t text)",
                "-c", f"\\copy psql_copy from '{source}' csv",
                "-c", f"\\copy (select * from psql_copy order by id) to '{sink}' csv",
                "-c", "drop table psql_copy"], proxy)
    assert sink.read_text() == source.read_text()


def test_psql_goes_on_after_a_bad_copy(trusting, mode, tmp_path):
    proxy = trusting(mode)
    source = tmp_path / "bad.csv"
    source.write_text("1\n2\nthree\n" + "4\n" * 50000)
    result = run(PSQL + ["-c", "create table bad_copy(id int)",
                         "-c", f"\\copy bad_copy from '{source}' csv",
                         "-c", "select 'alive', count(*) from bad_copy",
                         "-c", "drop table bad_copy"], proxy)
    assert "invalid input syntax" in result.stderr
    assert "alive|0" in result.stdout


def test_psql_describes_and_introduces_itself(trusting, mode, pg):
    proxy = trusting(mode)
    shown = run(["psql", "-X", "-c", "\\d pg_catalog.pg_class", "-c", "\\dt pg_catalog.pg_cl*",
                 "-c", "\\l", "-c", "\\du"], proxy).stdout
    direct = run(["psql", "-X", "-p", str(pg.port), "-c", "\\d pg_catalog.pg_class", "-c",
                  "\\dt pg_catalog.pg_cl*", "-c", "\\l", "-c", "\\du"], proxy).stdout
    assert shown == direct
    assert f'at port "{proxy.port}"' in run(["psql", "-X", "-c", "\\conninfo"], proxy).stdout


def test_psql_script_with_variables_transactions_and_notices(trusting, mode):
    proxy = trusting(mode)
    script = """
        \\set ON_ERROR_STOP 1
        begin;
        create table psql_script(id int primary key);
        insert into psql_script select generate_series(1, 3);
        savepoint s;
        \\set ON_ERROR_STOP 0
        insert into psql_script values (1);
        \\set ON_ERROR_STOP 1
        rollback to s;
        commit;
        select max(id) as top from psql_script \\gset
        \\echo top :top
        do $$ begin raise notice 'noted'; end $$;
        select 1 as one \\; select 2 as two;
        drop table psql_script;
    """
    result = run(PSQL, proxy, stdin=script)
    assert "top 3" in result.stdout
    assert "NOTICE:  noted" in result.stderr
    assert "duplicate key" in result.stderr


def test_psql_cancels_by_interrupt(trusting, mode, observer):
    proxy = trusting(mode)
    # At the end of a script psql would leave after an interrupt: it has to believe in a terminal.
    terminal, inner = pty.openpty()
    psql = subprocess.Popen(PSQL + ["-n"], stdin=inner, stdout=inner, stderr=inner,
                            env=environment(proxy, TERM="dumb", PAGER="cat"))
    os.close(inner)
    seen = b""

    def wait_for(text):
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], 10)[0], seen
            seen += os.read(terminal, 4096)

    try:
        os.write(terminal, b"select pg_sleep(61);\n")
        observer.wait_running("%pg_sleep(61)%")
        psql.send_signal(signal.SIGINT)
        wait_for(b"canceling statement due to user request")
        os.write(terminal, b"select 'still ' || 'alive';\n")
        wait_for(b"still alive")
        os.write(terminal, b"\\q\n")
        assert psql.wait(10) == 0
    finally:
        psql.kill()
        psql.wait()
        os.close(terminal)
    assert observer.running("%pg_sleep(61)%") == 0


def test_psql_reconnects(trusting, mode):
    proxy = trusting(mode)
    result = run(PSQL, proxy, stdin="select 1;\n\\c\nselect 2;\n\\c template1\nselect 3;\n"
                                    "\\c postgres\nselect current_database();\n")
    assert [line for line in result.stdout.split("\n") if line] == ["1", "2", "3", "postgres"]


def test_psql_in_session_keeps_temporary_tables(trusting):
    for mode in ("session", "auto"):
        proxy = trusting(mode)
        result = run(PSQL, proxy, stdin="create temp table t(i int);\ninsert into t values (7);\n"
                                        "begin; select 1; commit;\nselect i from t;\n")
        assert result.stdout.split() == ["1", "7"], result.stderr
