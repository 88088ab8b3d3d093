"""Several hosts: who is the primary, who is well, who is next."""

import contextlib
import threading
import time

import psycopg2
import pytest

from dwspool_testing.postgres import Postgres
from dwspool_testing.proxy import wait_until
from dwspool_testing.relay import Relay
from dwspool_testing.rig import Rig
from fake_cn import Role

HOST = "select current_setting('cluster_name')"


def config_of(coordinators, databases=None, cluster=None, **defaults):
    return {
        "auth_method": "trust", "shutdown_timeout": "2s",
        "defaults": {"pool_size": 8, "queue_timeout": "20s", **defaults},
        "clusters": {"main": {"coordinators": coordinators, **(cluster or {})}},
        "databases": {"*": {}, **(databases or {})},
        "users": {"*": {}},
    }


TARGETS = {name: {"database": "postgres", "target": target}
           for name, target in (("reads", "read-only"), ("prefers", "prefer-standby"),
                                ("anywhere", "any"))}


def connect(proxy, database="postgres", user="postgres", **options):
    connection = psycopg2.connect(proxy.dsn(user, database, **options))
    connection.autocommit = True
    return connection


def ask(connection, sql=HOST):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


class Asker(threading.Thread):
    """Asks all the time who answers; `seen` is (began, ended, the answer, or the SQLSTATE)."""

    def __init__(self, proxy, sql=HOST, pause=0.002, user="postgres", **options):
        super().__init__()
        self.connection = connect(proxy, user=user, **options)
        self.sql = sql
        self.pause = pause
        self.seen = []
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(self.pause):
            began = time.monotonic()
            try:
                answer = ask(self.connection, self.sql)
            except psycopg2.Error as error:
                answer = error.pgcode
            self.seen.append((began, time.monotonic(), answer))

    def since(self, moment):
        """What was asked after that moment."""
        return [answer for began, _, answer in self.seen if began > moment]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(30)
        self.connection.close()


@pytest.fixture(scope="module")
def servers():
    """Two primaries with standbys would be slow to make: one rig for all tests."""
    with Rig(2) as rig:
        yield rig


@pytest.fixture
def rig(servers):
    """As new."""
    yield servers
    for node in servers.nodes:
        if node.frozen:
            servers.thaw(node)
    for node in list(servers.down):
        if node is not servers.primary:
            servers.rewind(node)
        else:
            servers.restart(node)


@pytest.fixture
def proxy(rig, proxies):
    return proxies(config_of(rig.coordinators, TARGETS))


# --- Roles ---------------------------------------------------------------------------------------

def test_targets(rig, proxy):
    standbys = {node.name for node in rig.standbys}
    assert ask(connect(proxy)) == rig.primary.name
    assert {ask(connect(proxy, "reads")) for _ in range(3)} <= standbys
    assert ask(connect(proxy, "prefers")) in standbys
    held = [connect(proxy, "anywhere") for _ in range(6)]
    for connection in held:
        connection.autocommit = False
    assert {ask(connection) for connection in held} == {node.name for node in rig.nodes}
    assert proxy.metric("dwspool_coordinator_role", role="primary") == 1
    assert proxy.metric("dwspool_coordinator_role", role="standby") == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_switchover_is_a_pause(rig, proxies, workers):
    """Whoever was not in the middle of a statement notices nothing but the time."""
    proxy = proxies({**config_of(rig.coordinators), "workers": workers})
    idle = [connect(proxy) for _ in range(6)]
    for connection in idle:
        assert ask(connection) == rig.primary.name
    with Asker(proxy) as asker:
        old = rig.primary
        time.sleep(0.2)
        new = rig.switchover()
        promoted = time.monotonic()
        for connection in idle:
            assert ask(connection) == new.name
        assert time.monotonic() - promoted < 2
        time.sleep(0.3)
    answers = [answer for _, _, answer in asker.seen]
    assert set(answers) - {old.name, new.name} <= {"08006", "08007"}
    assert sum(answer in ("08006", "08007") for answer in answers) <= 1
    found = next(ended for _, ended, answer in asker.seen if answer == new.name)
    # One quick interval, the log-in, and what a busy machine adds. The rig reports a promotion
    # some time after it has happened.
    assert found - promoted < 0.5
    assert "cluster.former_primary" in proxy.log()


def test_former_primary_that_thaws_never_answers(rig, proxy):
    """It was frozen, with connections, and knows of nothing."""
    old = rig.primary
    connections = [connect(proxy) for _ in range(4)]
    for connection in connections:
        assert ask(connection) == old.name
    rig.freeze(old)
    wait_until(lambda: "cluster.no_primary" in proxy.log(), 5)
    new = next(node for node in rig.standbys)
    rig.promote(new)
    assert ask(connections[0]) == new.name
    rig.thaw(old)
    assert old.is_primary()
    with Asker(proxy) as asker:
        for _ in range(20):
            for connection in connections:
                assert ask(connection) == new.name
            assert ask(connect(proxy)) == new.name
        time.sleep(1.2)
    assert {answer for _, _, answer in asker.seen} == {new.name}
    assert proxy.metric("dwspool_coordinator_serving",
                        coordinator=f"127.0.0.1:{old.port}") == 0


def test_former_primary_that_lives_on_unfenced(rig, proxy):
    """Two primaries, both well: from the next probe on only one is believed."""
    old = rig.primary
    with Asker(proxy) as asker, Asker(proxy, database="anywhere") as anybody:
        time.sleep(0.1)
        new = next(node for node in rig.standbys)
        rig.promote(new)
        promoted = time.monotonic()
        time.sleep(2)
    assert old.is_primary()
    assert set(asker.since(promoted + 1.3)) == {new.name}
    assert old.name not in anybody.since(promoted + 1.3)
    # Who was on the old one hears it once.
    assert sum(answer not in (old.name, new.name) for _, _, answer in asker.seen) <= 1


def test_frozen_primary_that_comes_back_in_time(rig, proxy):
    """Nobody was promoted: those who waited go on, and no connection is lost."""
    connection = connect(proxy)
    pid = ask(connection, "select pg_backend_pid()")
    rig.freeze(rig.primary)
    wait_until(lambda: "cluster.no_primary" in proxy.log(), 5)
    with Asker(proxy) as asker:
        time.sleep(0.3)
        rig.thaw(rig.primary)
        thawed = time.monotonic()
        wait_until(lambda: asker.seen, 5)
        assert time.monotonic() - thawed < 2
    assert {answer for _, _, answer in asker.seen} == {rig.primary.name}
    assert ask(connection, "select pg_backend_pid()") == pid
    assert "cluster.former_primary" not in proxy.log()


def test_no_primary_says_so(rig, proxies):
    proxy = proxies(config_of(rig.coordinators, queue_timeout="700ms"))
    connection = connect(proxy)
    assert ask(connection) == rig.primary.name
    rig.freeze(rig.primary)
    wait_until(lambda: "cluster.no_primary" in proxy.log(), 5)
    with pytest.raises(psycopg2.OperationalError) as failure:
        ask(connection)
    assert failure.value.pgcode == "08006"
    assert "No host of the cluster serves target read-write" in failure.value.diag.message_detail
    assert f"127.0.0.1:{rig.primary.port}: no answer" in failure.value.diag.message_detail
    rig.thaw(rig.primary)
    wait_until(lambda: proxy.metric("dwspool_coordinator_role", role="primary") == 1, 5)
    assert ask(connection) == rig.primary.name


# --- DWS -----------------------------------------------------------------------------------------

def test_coordinators_are_discovered(pg, fake, proxies):
    """One is configured, pgxc_node knows another, by an address that means nothing here; then it
    does not any more."""
    role = Role("dbadmin", "Gauss@123", pg_user="postgres")
    first, second = fake(role, name="cn_5001"), fake(role, name="cn_5002")
    inside = [("cn_5001", "192.0.2.1", 8000), ("cn_5002", "192.0.2.2", 8000)]
    for cn in (first, second):
        cn.set_nodes(inside)
    ports = [first.port, second.port]
    config = config_of([f"127.0.0.1:{first.port}"], pool_size=6, cluster={
        "connect_rate": 0,
        "probe": {"user": "dbadmin", "password": "Gauss@123", "database": "postgres",
                  "interval": "200ms"},
        "discovery": {"interval": "500ms", "address_map": [
            {"from": f"{host}:{port}", "to": f"127.0.0.1:{cn.port}"}
            for (_, host, port), cn in zip(inside, (first, second))]}})
    config["users"] = {"dbadmin": {"password": "Gauss@123"}}
    proxy = proxies(config)
    wait_until(lambda: proxy.metric("dwspool_coordinator_serving") == 2, 5)
    assert "cluster.dialect" in proxy.log() and "dialect=dws" in proxy.log()
    held = [connect(proxy, user="dbadmin") for _ in range(6)]
    for connection in held:
        connection.autocommit = False
        ask(connection, "select 1")
    assert counts(proxy, ports) == [3, 3]
    for cn in (first, second):
        cn.set_nodes(inside[:1])
    wait_until(lambda: "cluster.host_left" in proxy.log(), 5)
    for connection in held:  # what is there finishes, and then goes to the other
        assert ask(connection, "select 2") == 2
        connection.rollback()
    for connection in held:
        assert ask(connection, "select 3") == 3
    assert counts(proxy, ports) == [6, 0]


# --- Limits --------------------------------------------------------------------------------------

def held_by(server, user):
    return int(server.psql(f"select count(*) from pg_stat_activity where usename = '{user}'"))


@pytest.mark.parametrize("workers", [1, 3])
def test_pools_share_a_limit_fairly(pg, proxies, workers):
    """One pool has everything; another comes, and both have the half of it. Nobody starves."""
    for user in ("greedy", "late"):
        pg.psql(f"drop role if exists {user}; create role {user} login")
    proxy = proxies({**config_of([f"127.0.0.1:{pg.port}"], pool_size=20, queue_timeout="15s",
                                 cluster={"max_connections": 6}), "workers": workers})

    def asking(user):
        return Asker(proxy, "select 1 from pg_sleep(0.01)", pause=0, user=user)

    with contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(asking("greedy")) for _ in range(10)]
        wait_until(lambda: held_by(pg, "greedy") == 6, 5)
        late = [stack.enter_context(asking("late")) for _ in range(10)]
        wait_until(lambda: held_by(pg, "late") == 3 and held_by(pg, "greedy") == 3, 5)
        began = time.monotonic()
        for _ in range(3):
            assert held_by(pg, "late") + held_by(pg, "greedy") <= 6
            time.sleep(0.1)
        for asker in greedy + late:
            assert set(asker.since(began - 0.2)) == {1}
    # Idle connections of one go to the other.
    many = [psycopg2.connect(proxy.dsn("late", "postgres")) for _ in range(6)]
    for connection in many:
        assert ask(connection, "select 1") == 1
    assert held_by(pg, "late") == 6


def test_a_host_has_its_limit(pg, proxies):
    proxy = proxies(config_of([f"127.0.0.1:{pg.port}"], pool_size=20, queue_timeout="300ms",
                              cluster={"max_host_connections": 2}))
    held = [connect(proxy) for _ in range(2)]
    for connection in held:
        connection.autocommit = False
        ask(connection, "select 1")
    with pytest.raises(psycopg2.OperationalError) as failure:
        ask(connect(proxy, "app"), "select 1")
    assert failure.value.pgcode == "08006" or "could be had in time" in str(failure.value)
    held[0].close()
    assert ask(connect(proxy), "select 1") == 1


def test_what_a_host_takes_is_read_from_it(proxies):
    """Nobody is refused by the server for want of a connection; others find one all the time."""
    server = Postgres({"max_connections": 12, "superuser_reserved_connections": 2,
                       "max_wal_senders": 0}, name="small").init().start()

    def most(proxy):
        return proxy.metric("dwspool_coordinator_connections_max")

    try:
        proxy = proxies(config_of(
            [f"127.0.0.1:{server.port}"], pool_size=20,
            cluster={"host_connection_reserve": 4, "probe": {"interval": "100ms"}}))
        ask(connect(proxy), "select 1")
        wait_until(lambda: most(proxy) == 6, 5)
        admin = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres")
        admin.autocommit = True
        for user in ("one", "two"):
            admin.cursor().execute(f"create role {user} login")
        admin.cursor().execute("alter system set max_connections = 9")  # for its next start
        admin.close()
        with contextlib.ExitStack() as stack:
            askers = [stack.enter_context(Asker(proxy, "select 1 from pg_sleep(0.01)", user=user))
                      for user in ("one", "two") for _ in range(10)]
            began = time.monotonic()
            while time.monotonic() < began + 2:
                # The probe's, and two of others, who are no superusers.
                one = psycopg2.connect(host="127.0.0.1", port=server.port, user="one",
                                       dbname="postgres")
                backends = ask(one, "select count(*) from pg_stat_activity where usename in "
                                    "('one', 'two') and pid <> pg_backend_pid()")
                one.close()
                assert backends <= 6
                time.sleep(0.05)
            for asker in askers:
                assert set(asker.since(began)) == {1}
        # With another configuration it is another server.
        server.stop()
        server.start()
        wait_until(lambda: most(proxy) == 3, 10)
        assert ask(connect(proxy), "select 1") == 1
    finally:
        server.destroy()


def test_clients_of_a_database_and_of_a_user(pg, proxies):
    config = config_of([f"127.0.0.1:{pg.port}"], databases={
        "few": {"database": "postgres", "max_clients": 2}})
    config["users"] = {"*": {}, "postgres": {"max_clients": 3}}
    proxy = proxies(config)
    few = [connect(proxy, "few") for _ in range(2)]
    with pytest.raises(psycopg2.OperationalError, match='too many clients of database "few"'):
        connect(proxy, "few")
    third = connect(proxy)
    with pytest.raises(psycopg2.OperationalError, match='too many clients of user "postgres"'):
        connect(proxy)
    for connection in [*few, third]:
        connection.close()
    wait_until(lambda: proxy.metric("dwspool_clients") == 0, 5)
    assert ask(connect(proxy, "few"), "select 1") == 1


# --- Health --------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def trio():
    """Three servers that know nothing of each other: for a client the same."""
    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(3):
            server = Postgres({"cluster_name": f"cn{number}", "max_connections": 60}, name="cn")
            stack.callback(server.destroy)
            servers.append(server.init().start())
        yield servers


def counts(proxy, ports):
    return [proxy.metric("dwspool_coordinator_connections", coordinator=f"127.0.0.1:{port}")
            for port in ports]


def is_even(proxy, ports, total):
    spread = counts(proxy, ports)
    return sum(spread) >= total and max(spread) - min(spread) <= max(1, 0.1 * total / len(ports))


@contextlib.contextmanager
def load(proxy, clients):
    """Clients that work all the time in transactions; afterwards what errors they have met."""
    askers = [Asker(proxy, "select 1 from pg_sleep(0.002)", pause=0.0001) for _ in range(clients)]
    errors = []
    with contextlib.ExitStack() as stack:
        for asker in askers:
            stack.enter_context(asker)
        yield askers, errors
    errors += [answer for asker in askers for _, _, answer in asker.seen if answer != 1]


def test_kill_and_return_of_a_coordinator(trio, proxies):
    ports = [server.port for server in trio]
    proxy = proxies(config_of([f"127.0.0.1:{port}" for port in ports],
                              cluster={"warm_up": 0}, pool_size=12))
    idle = [connect(proxy) for _ in range(5)]
    with load(proxy, 14) as (askers, errors):
        wait_until(lambda: is_even(proxy, ports, 12), 5, "even spread")
        trio[1].stop("immediate")
        killed = time.monotonic()
        time.sleep(0.5)
        for connection in idle:
            assert ask(connection) in ("cn0", "cn2")
        wait_until(lambda: sum(counts(proxy, ports)) >= 12, 3, "as many as before")
        assert {answer for asker in askers for answer in asker.since(killed + 0.5)} == {1}
        trio[1].start()
        returned = time.monotonic()
        wait_until(lambda: counts(proxy, ports)[1] > 0, 3, "first connection")
        assert time.monotonic() - returned < 1.5
        wait_until(lambda: is_even(proxy, ports, 12), 6, "even spread again")
    # What was under way on it, a third of them, and nothing else.
    assert set(errors) <= {"08006", "08007"}
    assert len(errors) <= 5


def test_idle_ones_move_too(trio, proxies):
    """Those that the pool keeps open though nobody uses them."""
    ports = [server.port for server in trio]
    proxy = proxies(config_of([f"127.0.0.1:{port}" for port in ports],
                              cluster={"warm_up": 0}, pool_size=9, min_pool_size=9))
    ask(connect(proxy))
    wait_until(lambda: is_even(proxy, ports, 9), 10, "even spread")
    trio[1].stop("immediate")
    wait_until(lambda: counts(proxy, ports)[1] == 0 and sum(counts(proxy, ports)) >= 9, 5,
               "as many as before, elsewhere")
    trio[1].start()
    wait_until(lambda: is_even(proxy, ports, 9), 10, "even spread again")


def test_black_hole(trio, proxies):
    """It takes everything and says nothing more."""
    with Relay(trio[1].port) as relay:
        ports = [trio[0].port, relay.port, trio[2].port]
        proxy = proxies(config_of(
            [f"127.0.0.1:{port}" for port in ports], pool_size=9,
            cluster={"warm_up": 0, "probe": {"timeout": "300ms", "interval": "300ms",
                                             "dead_after": "2s"}}))
        with load(proxy, 14) as (askers, errors):
            wait_until(lambda: is_even(proxy, ports, 9), 5, "even spread")
            relay.rule("black_hole", frame=None, times=None)
            began = time.monotonic()
            wait_until(lambda: "cluster.host_down" in proxy.log(), 3)
            down = time.monotonic()
            assert down - began < 2
            wait_until(lambda: "cluster.host_dead" in proxy.log(), 5)
            dead = time.monotonic()
            assert dead - began < 4
            time.sleep(0.3)
            # Those who were not on it never noticed; those who were hear it once.
            after = [answer for asker in askers for answer in asker.since(down + 0.1)]
            assert set(after) == {1}
            relay.clear()
            returned = time.monotonic()
            wait_until(lambda: counts(proxy, ports)[1] > 0, 3, "first connection")
            assert time.monotonic() - returned < 1.5
        assert set(errors) <= {"08006", "08007"}
        assert len(errors) <= 4


def test_end_of_one_session_takes_no_host_out(trio, proxies, clients=4):
    ports = [server.port for server in trio]
    proxy = proxies(config_of([f"127.0.0.1:{port}" for port in ports]))
    connections = [connect(proxy) for _ in range(clients)]
    for connection in connections:
        connection.autocommit = False
        ask(connection)
    trio[0].psql("select pg_terminate_backend(pid) from pg_stat_activity "
                 "where backend_type = 'client backend' and pid <> pg_backend_pid()")
    time.sleep(0.5)
    assert "cluster.host_down" not in proxy.log()
    assert proxy.metric("dwspool_coordinator_serving") == 3
    names = set()
    for connection in connections:
        with contextlib.suppress(psycopg2.Error):
            connection.rollback()
        names.add(ask(connection))
    assert "cn0" in names
