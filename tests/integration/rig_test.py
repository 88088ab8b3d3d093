"""The rig does what its commands say, on real servers."""

import contextlib
import glob
import os
import subprocess
import sys
import threading
import time

import psycopg2
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.rig import Rig
from dwspool_testing.wire import Connection, fields

SUPPORT = os.path.join(os.path.dirname(__file__), "..", "support")


@pytest.fixture(scope="module")
def shared():
    with Rig() as rig:
        rig.primary.rows("create table t(id int)")
        yield rig


@pytest.fixture
def rig(shared):
    """Whole again before each test, and with an empty table that all nodes have."""
    for node in shared.nodes:
        if node.frozen:
            shared.thaw(node)
    if not shared.primary.running:
        shared.restart(shared.primary)
    for node in shared.down:
        if node.role == "standby":
            shared.restart(node)
        else:
            shared.rewind(node)
    shared.primary.rows("truncate t")
    shared.wait_replicated()
    return shared


def insert(node, number):
    node.rows("insert into t values (%s)", (number,))


def ids(node):
    return [row[0] for row in node.rows("select id from t order by id")]


def same_everywhere(rig, expected):
    rig.wait_replicated()
    assert [ids(node) for node in rig.nodes] == [expected] * len(rig.nodes)


def test_standbys_stream_with_slots_and_are_read_only(rig):
    insert(rig.primary, 1)
    same_everywhere(rig, [1])
    assert len(rig.standbys) == 2 and rig.down == []
    for node in rig.standbys:
        assert not node.is_primary()
        assert node.streams_from() == rig.primary.port
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            insert(node, 2)
    active = rig.primary.rows("select slot_name from pg_replication_slots where active")
    assert sorted(name for name, in active) == sorted(node.name for node in rig.standbys)


def test_killed_primary_comes_back_with_what_was_acknowledged(rig):
    insert(rig.primary, 1)
    open_one = rig.primary.connect()
    open_one.cursor().execute("begin; insert into t values (2)")
    pids = rig.primary.processes()
    rig.kill9(rig.primary)
    assert not rig.primary.running and not rig.primary.answers()
    assert not any(os.path.exists(f"/proc/{pid}/cwd") for pid in pids)
    with pytest.raises(psycopg2.OperationalError):
        open_one.cursor().execute("commit")
    port = rig.primary.port
    rig.restart(rig.primary)
    assert rig.primary.port == port and rig.primary.is_primary()
    same_everywhere(rig, [1])


def test_postmaster_alone_killed(rig):
    busy = rig.primary.connect()
    busy.cursor().execute("select 1")
    rig.kill9(rig.primary, whole=False)
    assert not rig.primary.running
    rig.primary.wait_gone()
    rig.restart(rig.primary)
    same_everywhere(rig, [])


@pytest.mark.parametrize("mode, last_word", [("fast", (b"E", "FATAL", "57P01")),
                                             ("immediate", (b"N", "WARNING", "57P01"))])
def test_stop_says_why(rig, mode, last_word):
    with Connection("127.0.0.1", rig.primary.port) as connection:
        connection.log_in()
        rig.stop(rig.primary, mode)
        assert rig.primary.processes() == []
        kind, body = connection.until_closed()[-1]
        said = fields(body)
        assert (kind, said["S"], said["C"]) == last_word
    rig.restart(rig.primary)
    assert rig.primary.is_primary()


def test_frozen_server_accepts_and_is_silent(rig):
    connection = rig.primary.connect()
    rig.freeze(rig.primary)
    with Connection("127.0.0.1", rig.primary.port, timeout=0.3) as silent:
        with pytest.raises(TimeoutError):
            silent.log_in()
    states = {stat.split(")")[1].split()[0] for stat in stats(rig.primary)}
    assert states == {"T"}
    rig.thaw(rig.primary)
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    insert(rig.primary, 1)
    same_everywhere(rig, [1])


def stats(node):
    for pid in node.processes():
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                yield file.read()


def test_standby_stopped_and_frozen_catches_up(rig):
    first, second = rig.standbys
    rig.stop(first)
    rig.freeze(second)
    assert rig.standbys == [second] and rig.down == [first]
    insert(rig.primary, 1)
    rig.restart(first)
    rig.thaw(second)
    same_everywhere(rig, [1])


def test_two_switchovers_within_five_seconds_then_rewind(rig):
    first = rig.primary
    insert(first, 1)
    rig.wait_replicated()
    started = time.time()
    second = rig.switchover()
    assert second is rig.primary is not first and second.is_primary()
    assert rig.standbys == [node for node in rig.nodes if node not in (first, second)]
    assert rig.standbys[0].streams_from() == second.port
    insert(second, 2)
    rig.wait_replicated()
    third = rig.switchover()
    assert time.time() - started < 5
    insert(third, 3)
    assert ids(third) == [1, 2, 3]
    assert sorted(rig.down, key=id) == sorted([first, second], key=id)
    with pytest.raises(ValueError):
        rig.restart(first)
    rig.rewind(first)
    rig.rewind(second)
    assert rig.down == []
    insert(third, 4)
    same_everywhere(rig, [1, 2, 3, 4])
    assert {node.streams_from() for node in rig.standbys} == {third.port}


def test_split_brain_is_possible_and_rewind_ends_it(rig):
    """What is asynchronous can be lost: the old primary has a row that the new one never saw."""
    old = rig.primary
    insert(old, 1)
    rig.wait_replicated()
    candidate = rig.standbys[0]
    rig.freeze(candidate)
    insert(old, 2)
    rig.thaw(candidate)
    rig.wait_replicated()
    rig.promote(candidate)
    assert old.is_primary() and candidate.is_primary() and rig.down == [old]
    insert(old, 3)
    insert(candidate, 4)
    assert ids(old) == [1, 2, 3] and ids(candidate) == [1, 2, 4]
    assert rig.rewind(old)  # no new copy was needed
    same_everywhere(rig, [1, 2, 4])


def test_follower_that_was_ahead_of_the_promoted_one(rig):
    behind, ahead = rig.standbys
    rig.stop(behind)
    insert(rig.primary, 1)
    wait_until(lambda: ids(ahead) == [1], what="row on the standby")
    rig.kill9(rig.primary)
    behind.start()  # knows nothing of the row, and there is nobody to ask
    wait_until(behind.answers, what="answer")
    rig.promote(behind)
    insert(behind, 2)
    rig.rewind(rig.down[0])
    same_everywhere(rig, [2])


def test_new_copy_when_pg_rewind_cannot(rig):
    old = rig.primary
    rig.switchover()
    # Somebody has taken its control file away.
    os.unlink(os.path.join(old.data, "global", "pg_control"))
    assert rig.rewind(old) is False
    insert(rig.primary, 1)
    same_everywhere(rig, [1])


def test_switchover_with_nobody_left(rig):
    for node in rig.standbys:
        rig.stop(node)
    with pytest.raises(RuntimeError):
        rig.switchover()
    rig.restart(rig.primary)
    for node in rig.down:
        rig.restart(node)
    same_everywhere(rig, [])


def test_synchronous_commit_waits_for_one_standby_and_survives():
    with Rig(synchronous=True) as rig:
        rig.primary.rows("create table t(id int)")
        for number in range(20):
            insert(rig.primary, number)
        rig.switchover()  # not waited for: what was acknowledged is there
        assert ids(rig.primary) == list(range(20))
        rig.freeze(rig.standbys[0])
        connection = rig.primary.connect()
        pid = connection.info.backend_pid
        with background(connection, "insert into t values (99)") as thread:
            wait_until(lambda: rig.primary.value(
                "select wait_event = 'SyncRep' from pg_stat_activity where pid = %s", (pid,)),
                       what="commit that waits")
            assert thread.is_alive()
            rig.thaw(rig.standbys[0])
        assert 99 in ids(rig.primary)


@contextlib.contextmanager
def background(connection, sql):
    """Runs it in a thread, and waits for it at the end."""
    thread = threading.Thread(target=lambda: connection.cursor().execute(sql))
    thread.start()
    try:
        yield thread
    finally:
        thread.join(15)
        assert not thread.is_alive()


def test_nothing_is_left_behind():
    """Also when the test fails, whatever state the nodes are in."""
    with pytest.raises(ZeroDivisionError):
        with Rig() as rig:
            rig.freeze(rig.standbys[0])
            rig.kill9(rig.primary, whole=False)
            rig.stop(rig.standbys[1], "immediate")
            raise ZeroDivisionError
    assert not os.path.exists(rig.dir)
    assert not any(node.processes() for node in rig.nodes)
    for cwd in glob.glob("/proc/[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            assert not os.readlink(cwd).startswith(rig.dir)


def test_nothing_is_left_behind_by_a_test_that_is_killed():
    program = ("import sys, time; sys.path[:0] = [sys.argv[1]]\n"
               "from dwspool_testing.rig import Rig\n"
               "rig = Rig(standbys=0).start(); print(rig.dir, flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", program, SUPPORT], stdout=subprocess.PIPE,
                          text=True) as test:
        folder = test.stdout.readline().strip()
        assert os.path.isdir(folder)
        test.kill()
    wait_until(lambda: not os.path.exists(folder), what="end of the folder")
