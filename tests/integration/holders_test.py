"""Held commits are what they say: pending or committed, and in doubt for who waits for them. The
application behind dwspool is told so."""

import contextlib
import threading

import psycopg2
import pytest
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import Relay
from dwspool_testing.rig import Rig


@pytest.fixture(scope="module")
def rig():
    with Rig(standbys=0) as rig:
        rig.primary.rows("create table t(id int)")
        yield rig


class Application:
    """A transaction of psycopg2's, whose commit runs in a thread."""

    def __init__(self, port, autocommit=False):
        self.connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres",
                                           dbname="postgres")
        self.connection.autocommit = autocommit
        self.result = None
        self.thread = threading.Thread(target=self._write)

    def start(self):
        self.thread.start()
        return self

    def _write(self):
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("insert into t values (1)")
            self.connection.commit()
            self.result = "committed"
        except psycopg2.Error as error:
            self.result = error

    def wait(self):
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.result

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.wait()
        self.connection.close()


def ids(rig):
    return [row[0] for row in rig.primary.rows("select id from t")]


# Straight on the server.


@pytest.mark.parametrize("autocommit", [False, True])
def test_held_then_released(rig, holder, autocommit):
    with holder:
        with Application(rig.primary.port, autocommit) as application:
            pids = holder.wait_held()
            assert pids == [application.connection.info.backend_pid]
            assert ids(rig) == [] and application.thread.is_alive()
            holder.release()
            assert application.wait() == "committed" and ids(rig) == [1]
    with Application(rig.primary.port) as application:  # nothing is held any more
        assert application.wait() == "committed"
    assert ids(rig) == [1, 1]


def test_backend_ended_while_held(rig, holder, kind):
    with holder:
        with Application(rig.primary.port) as application:
            pid, = holder.wait_held()
            rig.primary.rows("select pg_terminate_backend(%s)", (pid,))
            assert isinstance(application.wait(), psycopg2.OperationalError)
        wait_until(lambda: holder.held() == [], what="end of the backend")
        assert ids(rig) == ([] if kind == "pending" else [1])
    assert ids(rig) == ([] if kind == "pending" else [1])


@pytest.mark.parametrize("how", ["kill9", "immediate"])
def test_server_ended_while_held(rig, holder, kind, how):
    with holder:
        with Application(rig.primary.port) as application:
            holder.wait_held()
            if how == "kill9":
                rig.kill9(rig.primary)
            else:
                rig.stop(rig.primary, how)
            assert isinstance(application.wait(), psycopg2.OperationalError)
        rig.restart(rig.primary)
        assert ids(rig) == ([] if kind == "pending" else [1])
    assert ids(rig) == ([] if kind == "pending" else [1])


def test_client_gone_while_held(rig, holder):
    """The server does not notice, and commits in the end."""
    with Relay(rig.primary.port) as relay, holder:
        with Application(relay.port) as application:
            holder.wait_held()
            relay.cut("reset")
            assert isinstance(application.wait(), psycopg2.OperationalError)
        assert len(holder.held()) == 1 and ids(rig) == []
        holder.release()
        wait_until(lambda: ids(rig) == [1], what="the row")


def test_several_held(rig, holder):
    with holder, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Application(rig.primary.port))
        assert len(holder.wait_held(3)) == 3
        holder.release()
    assert ids(rig) == [1, 1, 1]


# Through dwspool.


@pytest.fixture
def behind(rig, holder, proxies, mode):
    """A dwspool and the relay between it and the server."""
    with Relay(rig.primary.port) as relay:
        yield relay, proxies({
            "auth_method": "trust",
            "defaults": {"pool_mode": mode, "pool_size": 4},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{relay.port}"]}},
            "databases": {"*": {}},
            "users": {"*": {}},
        })


def break_it(how, rig, relay, pid):
    if how == "terminate":
        rig.primary.rows("select pg_terminate_backend(%s)", (pid,))
    elif how == "kill9":
        rig.kill9(rig.primary)
    else:
        relay.cut(how)


@pytest.mark.parametrize("how", ["terminate", "kill9", "reset", "fin"])
@pytest.mark.parametrize("autocommit", [False, True], ids=["transaction", "statement"])
def test_application_is_told_that_it_is_in_doubt(rig, holder, behind, kind, mode, how, autocommit):
    relay, proxy = behind
    with holder:
        with Application(proxy.port, autocommit) as application:
            pid, = holder.wait_held()
            break_it(how, rig, relay, pid)
            error = application.wait()
            if (mode, how, kind) == ("session", "terminate", "pending"):
                # The server's own FATAL passes as on a direct connection, which then ends.
                assert isinstance(error, psycopg2.OperationalError)
                assert application.connection.closed
                wait_until(lambda: holder.held() == [], what="end of the backend")
                assert ids(rig) == []
                return
            assert isinstance(error, psycopg2.errors.TransactionResolutionUnknown), repr(error)
            assert error.pgcode == "08007"
            if how in ("terminate", "kill9"):
                if how == "kill9":
                    rig.restart(rig.primary)
                assert ids(rig) == ([] if kind == "pending" else [1])
            else:
                assert ids(rig) == []  # and yet:
                holder.release()
                wait_until(lambda: ids(rig) == [1], what="the row")
            holder.release()
            application.connection.rollback()
            if mode == "session":
                # What the session had is lost with its backend. It is a FATAL 57P01, but libpq
                # sees the end of the connection first.
                with pytest.raises(psycopg2.OperationalError):
                    application.connection.cursor().execute("select 1")
                assert application.connection.closed
            else:
                with application.connection.cursor() as cursor:
                    cursor.execute("select count(*) from t")
                    assert cursor.fetchone() == (len(ids(rig)),)
    assert len(ids(rig)) <= 1
