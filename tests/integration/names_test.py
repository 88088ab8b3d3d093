"""Coordinators that are known by a name: what stands behind it is looked up again and again."""

import contextlib
import signal
import time

import psycopg2
import pytest
from dwspool_testing.names import Names
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import wait_until
from fake_cn import Role
from fake_cn.verifiers import TRUST

NAME = "coordinators.test"
DEAD = "127.0.0.99"  # nobody listens there


@pytest.fixture
def names():
    one = Names()
    yield one
    one.destroy()


@pytest.fixture
def at(fake):
    """Starts coordinators at addresses, all at the same port."""
    port = free_port()

    def start(*addresses):
        return {address: fake(Role("app", kind=TRUST, pg_user="postgres"), host=address, port=port,
                              name=f"cn_{address}") for address in addresses}

    start.port = port
    return start


@pytest.fixture
def by_name(proxies, names, at):
    def start(**cluster):
        coordinators = cluster.pop("coordinators", [f"{NAME}:{at.port}"])
        return proxies({
            "auth_method": "trust",
            "defaults": {"pool_size": 60, "queue_timeout": "5s", "replay": "off"},
            "clusters": {"main": {"coordinators": coordinators, "resolve_interval": "1s",
                                  "connect_rate": 0, "connect_timeout": "3s", **cluster}},
            "databases": {"*": {"database": "postgres"}}, "users": {"*": {}},
            "console": {"admin_users": ["boss"]},
        }, env=names.env)

    return start


@contextlib.contextmanager
def connected(proxy, count=1):
    """Clients, each with a backend of its own."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = psycopg2.connect(proxy.dsn("app", connect_timeout=10))
            stack.callback(connection.close)
            found.append(connection.cursor())
            found[-1].execute("select pg_backend_pid()")
        yield found


def used(cns):
    return {address: sum(1 for session in cn.sessions.values()) for address, cn in cns.items()}


def coordinators(proxy):
    with contextlib.closing(psycopg2.connect(proxy.dsn("boss", "dwspool"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("show coordinators")
            columns = [each.name for each in cursor.description]
            return {row[columns.index("coordinator")]: dict(zip(columns, row))
                    for row in cursor.fetchall()}


def resolved(proxy, count=1):
    wait_until(lambda: proxy.log().count("cluster.name_resolved") >= count, what="resolved")


def test_each_address_is_a_coordinator(by_name, names, at):
    names.set(NAME, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    cns = at("127.0.0.2", "127.0.0.3", "127.0.0.4")
    proxy = by_name()
    resolved(proxy, 3)
    with connected(proxy, 30):
        spread = used(cns)
        # One more at each is the probes'.
        assert all(10 <= count <= 11 for count in spread.values()), spread
    first = f"{NAME}:{at.port}"
    assert {first, f"{first}#2", f"{first}#3"} <= set(coordinators(proxy))
    # It is looked after, although the file has one coordinator and no `probe`.
    cns["127.0.0.3"].die()
    wait_until(lambda: "cluster.host_down" in proxy.log(), what="it is missed")
    with connected(proxy, 10):
        assert used(cns)["127.0.0.3"] == 0
    # Nobody is alarmed about hosts that are not meant to be there any more.
    assert [series for series in proxy.metrics() if "#3" in series]
    proxy.config["clusters"]["main"]["coordinators"] = [f"127.0.0.2:{at.port}"]
    proxy.write_config()
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not [series for series in proxy.metrics() if "#3" in series], what="forgotten")


def test_an_address_comes_and_goes(by_name, names, at):
    """Who is at work where an address has gone finishes it; whoever is idle leaves."""
    names.set(NAME, "127.0.0.2", "127.0.0.3")
    cns = at("127.0.0.2", "127.0.0.3", "127.0.0.4")
    proxy = by_name(probe={"interval": 0})
    resolved(proxy, 2)
    with connected(proxy, 20) as cursors:
        assert used(cns) == {"127.0.0.2": 10, "127.0.0.3": 10, "127.0.0.4": 0}
        for cursor in cursors[10:]:
            cursor.connection.commit()  # ten of them are idle
        names.set(NAME, "127.0.0.4", "127.0.0.2")
        resolved(proxy, 3)
        wait_until(lambda: used(cns)["127.0.0.3"] <= 10 - 4, what="the idle ones leave")
        staying = used(cns)["127.0.0.3"]
        assert staying > 0, "transactions go on"
        time.sleep(0.3)
        assert used(cns)["127.0.0.3"] == staying
        for cursor in cursors[:10]:
            cursor.execute("select 1")
            cursor.connection.commit()
        wait_until(lambda: used(cns)["127.0.0.3"] == 0, what="all have left")
        for cursor in cursors:
            cursor.execute("select 1")
        assert used(cns)["127.0.0.3"] == 0 and used(cns)["127.0.0.4"] > 0
    names.set(NAME, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    resolved(proxy, 4)
    with connected(proxy, 30):
        wait_until(lambda: all(used(cns).values()), what="it is back")


def test_a_name_that_moves(by_name, names, at):
    names.set(NAME, "127.0.0.2")
    cns = at("127.0.0.2", "127.0.0.3")
    proxy = by_name()
    with connected(proxy, 3) as cursors:
        assert used(cns) == {"127.0.0.2": 3, "127.0.0.3": 0}
        resolved(proxy, 1)
        names.set(NAME, "127.0.0.3")
        resolved(proxy, 2)
        assert used(cns) == {"127.0.0.2": 3, "127.0.0.3": 0}
        for cursor in cursors:
            cursor.connection.commit()
            cursor.execute("select 1")
        wait_until(lambda: used(cns) == {"127.0.0.2": 0, "127.0.0.3": 3}, what="all have moved")


def test_it_is_looked_up_when_nobody_answers(by_name, names, at):
    """However long the interval is."""
    names.set(NAME, DEAD)
    cns = at("127.0.0.3")
    proxy = by_name(resolve_interval="1h")
    resolved(proxy)
    names.set(NAME, "127.0.0.3")
    started = time.monotonic()
    with connected(proxy):
        assert used(cns) == {"127.0.0.3": 1}
    assert time.monotonic() - started < 4
    # And where connections that were there have broken.
    names.set(NAME, "127.0.0.4")
    cns.update(at("127.0.0.4"))
    cns["127.0.0.3"].die()
    with connected(proxy):
        assert used(cns)["127.0.0.4"] == 1


@pytest.mark.parametrize("trouble", ["silence", "no such name"])
def test_what_is_known_stays_when_nobody_says_anything(by_name, names, at, trouble):
    names.set(NAME, "127.0.0.2", "127.0.0.3")
    cns = at("127.0.0.2", "127.0.0.3")
    proxy = by_name(probe={"interval": 0})
    resolved(proxy, 2)
    if trouble == "silence":
        names.silence(NAME)
    else:
        names.set(NAME)
    with connected(proxy, 4):
        wait_until(lambda: "cluster.name_unresolved" in proxy.log(), timeout=15, what="it is noticed")
    started = time.monotonic()
    with connected(proxy, 20):
        assert used(cns) == {"127.0.0.2": 10, "127.0.0.3": 10}
    assert time.monotonic() - started < 3, "nobody waits for a name"
    names.set(NAME, "127.0.0.3")
    wait_until(lambda: proxy.log().count("cluster.name_resolved") == 3, timeout=15, what="answers again")


def test_silence_from_the_start(by_name, names, at):
    """Other hosts are not held up by it, and neither is the end of the process."""
    names.silence(NAME)
    cns = at("127.0.0.2")
    proxy = by_name(coordinators=[f"{NAME}:{at.port}", f"127.0.0.2:{at.port}"], connect_timeout="500ms")
    started = time.monotonic()
    with connected(proxy, 3):
        # A probe may be there, too.
        assert used(cns)["127.0.0.2"] >= 3
    assert time.monotonic() - started < 5
    started = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(10) == 0
    assert time.monotonic() - started < 3


def test_no_look_up_between_connections(by_name, names, at):
    """`resolve_interval: 0`: each connection looks its name up."""
    names.set(NAME, "127.0.0.2")
    cns = at("127.0.0.2", "127.0.0.3")
    proxy = by_name(resolve_interval=0)
    with connected(proxy):
        names.set(NAME, "127.0.0.3")
        with connected(proxy):
            assert used(cns) == {"127.0.0.2": 1, "127.0.0.3": 1}
    assert "cluster.name_resolved" not in proxy.log()


def test_two_ways_to_one_server(by_name, names, at):
    """Addresses of both kinds are one coordinator: the one that leads there is taken."""
    names.set(NAME, "::1", "127.0.0.2")
    cns = at("127.0.0.2")
    proxy = by_name()
    resolved(proxy)
    with connected(proxy, 3):
        assert used(cns) == {"127.0.0.2": 3}
    assert set(coordinators(proxy)) == {f"{NAME}:{at.port}"}
