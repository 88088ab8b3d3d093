"""Level `token`: a COMMIT whose answer is lost is settled, whatever has become of it."""

import contextlib
import os
import subprocess
import threading
import time

import psycopg2
import pytest
from dwspool_testing.holders import PendingCommits
from dwspool_testing.proxy import binary, wait_until
from dwspool_testing.relay import Relay
from dwspool_testing.rig import Rig


def run_token(*words):
    done = subprocess.run([binary(), "token", *words], capture_output=True, text=True, timeout=30,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def dsn(server, database="postgres"):
    return f"host=127.0.0.1 port={server.port} user=postgres dbname={database}"


@pytest.fixture(scope="module")
def rig():
    with Rig(standbys=0) as rig:
        rig.primary.rows("create table t(id int)")
        rig.primary.rows("create database bare")
        code, _, wrong = run_token("install", dsn(rig.primary))
        assert code == 0, wrong
        yield rig


def start(rig, proxies, port, **options):
    if not rig.primary.running:
        rig.restart(rig.primary)
    return proxies({
        "auth_method": "trust",
        "defaults": {"pool_size": 4, "replay": "token", **options},
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{port}"]}},
        "databases": {"*": {}},
        "users": {"*": {}},
    })


@pytest.fixture
def behind(rig, proxies):
    """A dwspool and the relay between it and the server."""
    with Relay(rig.primary.port) as relay:
        yield relay, start(rig, proxies, relay.port)


def connect(proxy, database="postgres", **options):
    return psycopg2.connect(host="127.0.0.1", port=proxy.port, user="postgres", dbname=database,
                            **options)


def write(connection, value):
    with connection.cursor() as cursor:
        cursor.execute("insert into t values (%s)", (value,))
    connection.commit()


class Application:
    """A transaction of psycopg2's, whose commit runs in a thread."""

    def __init__(self, proxy):
        self.connection = connect(proxy)
        self.result = None
        self.thread = threading.Thread(target=self._write)

    def _write(self):
        try:
            write(self.connection, 1)
            self.result = "committed"
        except psycopg2.Error as error:
            self.result = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.connection.close()


def ids(server):
    return [row[0] for row in server.rows("select id from t")]


def verdicts(proxy):
    return {verdict: proxy.metric("dwspool_replay_in_doubt_total", reason=verdict)
            for verdict in ("unknown", "committed", "aborted")}


def warm_up(proxy, rig):
    """That there is a place for tokens is known from here on."""
    with contextlib.closing(connect(proxy)) as connection:
        write(connection, 0)
    rig.primary.rows("delete from t where id = 0")


def break_it(how, rig, relay, pid):
    if how == "terminate":
        rig.primary.rows("select pg_terminate_backend(%s)", (pid,))
    elif how == "kill9":
        rig.kill9(rig.primary)
        rig.restart(rig.primary)
    else:
        relay.cut(how)


@pytest.mark.parametrize("how", ["terminate", "kill9", "reset", "fin"])
def test_application_sees_its_commit(rig, holder, behind, kind, how):
    relay, proxy = behind
    warm_up(proxy, rig)
    with holder:
        with Application(proxy) as application:
            pid, = holder.wait_held()
            break_it(how, rig, relay, pid)
            time.sleep(0.3)
            # What keeps commits pending is a lock, and that goes with the server.
            assert application.thread.is_alive() or (how, kind) == ("kill9", "pending")
            holder.release()
        assert application.result == "committed", repr(application.result)
    assert ids(rig.primary) == [1]
    told = verdicts(proxy)
    assert told["unknown"] == 0 and told["committed"] + told["aborted"] == 1
    lives_on = how in ("reset", "fin")  # the server's process, which commits in the end
    assert told["committed"] == (1 if kind == "unacknowledged" or lives_on else 0)


def test_nothing_is_to_be_seen_of_a_token(rig, behind):
    _, proxy = behind
    rig.primary.rows("truncate t")
    with contextlib.closing(connect(proxy)) as connection, connection.cursor() as cursor:
        for value in range(3):
            cursor.execute("insert into t values (%s)", (value,))
            assert (cursor.statusmessage, cursor.rowcount) == ("INSERT 0 1", 1)
            connection.commit()
        cursor.execute("select count(*) from t")
        assert cursor.fetchone() == (3,)
        connection.commit()
        assert connection.notices == []
    assert proxy.metric("dwspool_replay_tokens_total", reason="sent") == 3
    assert rig.primary.value("select count(*) from dwspool.commit_token where kind = 'C'") >= 3


def test_a_commit_that_fails_says_why(rig, behind):
    _, proxy = behind
    rig.primary.rows("create table if not exists deferred("
                     "id int primary key deferrable initially deferred)")
    with contextlib.closing(connect(proxy)) as connection, connection.cursor() as cursor:
        cursor.execute("insert into deferred values (1), (1)")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            connection.commit()
        cursor.execute("insert into deferred values (2)")
        connection.commit()
    assert rig.primary.rows("select id from deferred") == [(2,)]
    assert verdicts(proxy) == {"unknown": 0, "committed": 0, "aborted": 0}
    rig.primary.rows("drop table deferred")


def test_without_a_table_it_is_level_transaction(rig, behind):
    _, proxy = behind
    with contextlib.closing(connect(proxy, "bare")) as connection, connection.cursor() as cursor:
        cursor.execute("create table if not exists t(id int)")
        connection.commit()
        write(connection, 1)
        cursor.execute("select count(*) from t")
        assert cursor.fetchone() == (1,)
        connection.rollback()
        cursor.execute("drop table t")
        connection.commit()
    assert proxy.metric("dwspool_replay_tokens_total", reason="sent") == 0
    assert proxy.metric("dwspool_replay_tokens_total", reason="unavailable") == 3
    assert "replay.no_token" in proxy.log()


def test_a_table_that_vanishes_costs_nobody_a_commit(rig, behind):
    _, proxy = behind
    warm_up(proxy, rig)
    rig.primary.rows("truncate t")
    rig.primary.rows("alter table dwspool.commit_token rename to elsewhere")
    try:
        with contextlib.closing(connect(proxy)) as connection:
            write(connection, 1)
            write(connection, 2)
    finally:
        rig.primary.rows("alter table dwspool.elsewhere rename to commit_token")
    assert sorted(ids(rig.primary)) == [1, 2]
    assert proxy.metric("dwspool_replay_tokens_total", reason="refused") == 1
    # The second run of that one, and the next.
    assert proxy.metric("dwspool_replay_tokens_total", reason="unavailable") == 2


def test_a_transaction_that_became_read_only_commits(rig, behind):
    _, proxy = behind
    warm_up(proxy, rig)
    rig.primary.rows("truncate t")
    with contextlib.closing(connect(proxy)) as connection, connection.cursor() as cursor:
        cursor.execute("insert into t values (1)")
        cursor.execute("set transaction read only")
        connection.commit()
    assert ids(rig.primary) == [1]


def test_anybody_may_write_a_token_and_nobody_read_one(rig, behind):
    _, proxy = behind
    warm_up(proxy, rig)
    rig.primary.rows("create role somebody login")
    rig.primary.rows("grant insert, select on t to somebody")
    rig.primary.rows("truncate t")
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=proxy.port, user="somebody",
                                             dbname="postgres")) as connection:
        write(connection, 1)
        with connection.cursor() as cursor:
            for sql in ("select * from dwspool.commit_token", "delete from dwspool.commit_token",
                        "select dwspool.purge()",
                        "insert into dwspool.commit_token (token, kind) values ('a', 'C')"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(sql)
                connection.rollback()
    assert ids(rig.primary) == [1]
    assert proxy.metric("dwspool_replay_tokens_total", reason="sent") == 2  # warm_up's, and this


@pytest.mark.parametrize("asked", ["the same", "another, when that one is gone"])
def test_08007_says_how_to_find_out(rig, proxies, asked):
    """Nobody may be asked within the deadline; the application asks later, any dwspool."""
    rig.primary.rows("truncate t")
    holder = PendingCommits(rig.primary, "t")
    try:
        with Relay(rig.primary.port) as relay:
            proxy = start(rig, proxies, relay.port, replay_deadline="1s")
            warm_up(proxy, rig)
            with holder:
                with Application(proxy) as application:
                    holder.wait_held()
                    relay.cut("reset")
                error = application.result
                assert error.pgcode == "08007", repr(error)
                question = error.diag.message_hint.split(" answers")[0]
                assert question.startswith("SELECT dwspool.outcome('")
                holder.release()
            if asked != "the same":
                proxy.process.kill()
                proxy.process.wait()
                proxy.process = None
                proxy = start(rig, proxies, rig.primary.port)
            with contextlib.closing(connect(proxy)) as connection:
                with connection.cursor() as cursor:
                    cursor.execute(question)
                    assert cursor.fetchone() == ("committed",)
        assert ids(rig.primary) == [1]
    finally:
        holder.close()


def test_outcome_settles_for_good(rig):
    prefix = "0123456789abcdef" * 2
    token = f"{prefix}/{int(time.time())}/1"
    assert rig.primary.value("select dwspool.outcome(%s)", (token,)) == "aborted"
    assert rig.primary.value("select dwspool.outcome(%s)", (token,)) == "aborted"
    with pytest.raises(psycopg2.errors.UniqueViolation):
        rig.primary.rows("insert into dwspool.commit_token (token) values (%s)", (token,))
    token = f"{prefix}/{int(time.time())}/2"
    rig.primary.rows("insert into dwspool.commit_token (token) values (%s)", (token,))
    assert rig.primary.value("select dwspool.outcome(%s)", (token,)) == "committed"
    # One that may have been purged is not guessed at, and left as it is.
    token = f"{prefix}/{int(time.time()) - 90000}/3"
    assert rig.primary.value("select dwspool.outcome(%s)", (token,)) == "unknown"
    assert rig.primary.value("select count(*) from dwspool.commit_token where token = %s",
                             (token,)) == 0
    for wrong in ("", "a/1/1", None, f"{prefix}/x/1"):
        with pytest.raises(psycopg2.errors.InvalidParameterValue):
            rig.primary.rows("select dwspool.outcome(%s)", (wrong,))


def test_outcome_waits_for_who_is_at_it(rig):
    token = f"{'f' * 32}/{int(time.time())}/1"
    with contextlib.closing(rig.primary.connect()) as first:
        first.autocommit = False
        with first.cursor() as cursor:
            cursor.execute("insert into dwspool.commit_token (token) values (%s)", (token,))
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            rig.primary.value("select dwspool.outcome(%s)", (token,))))
        asking.start()
        time.sleep(0.3)
        assert answers == []
        first.commit()
        asking.join(10)
        assert answers == ["committed"]


def test_install_again_and_purge(rig, behind):
    _, proxy = behind
    rig.primary.rows("insert into dwspool.commit_token (token, at) values ('old', "
                     "now() - interval '3 days')")
    through = f"host=127.0.0.1 port={proxy.port} user=postgres dbname=postgres"
    assert run_token("install", through)[0] == 0  # by way of dwspool, and nothing is lost
    assert rig.primary.value("select count(*) from dwspool.commit_token where token = 'old'") == 1
    assert run_token("purge", through) == (0, "1 tokens purged\n", "")
    assert run_token("purge", dsn(rig.primary)) == (0, "0 tokens purged\n", "")
    code, _, wrong = run_token("purge", dsn(rig.primary, "bare"))
    assert code == 1 and "dwspool.purge()" in wrong
    code, _, wrong = run_token("install", dsn(rig.primary, "missing"))
    assert code == 1 and "missing" in wrong


def test_printed_sql_is_what_install_runs(rig):
    code, sql, _ = run_token("install", "--print")
    assert code == 0
    rig.primary.rows("create database printed")
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn(rig.primary, "printed")],
                          input=sql, text=True, capture_output=True, timeout=30, check=False,
                          env={**os.environ, "PGOPTIONS": ""})
    assert done.returncode == 0, done.stderr
    code, dws, _ = run_token("install", "--print=dws")
    assert code == 0 and "DISTRIBUTE BY HASH (token)" in dws and "ON CONFLICT" not in dws
    # But for where its rows are kept, PostgreSQL takes that form, too, and it means the same.
    dws = dws.replace(" WITH (ORIENTATION = ROW) DISTRIBUTE BY HASH (token)", "")
    rig.primary.rows("create database dws")
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn(rig.primary, "dws")],
                          input=dws, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(psycopg2.connect(dsn(rig.primary, "dws"))) as connection:
        with connection.cursor() as cursor:
            token = f"{'e' * 32}/{int(time.time())}/"
            cursor.execute("insert into dwspool.commit_token (token) values (%s)", (token + "1",))
            for number, expected in (("1", "committed"), ("2", "aborted"), ("2", "aborted")):
                cursor.execute("select dwspool.outcome(%s)", (token + number,))
                assert cursor.fetchone() == (expected,)
