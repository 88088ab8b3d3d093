"""SIGUSR2: the clients that are at rest go to the new process, with all that they have."""

import os
import shutil
import signal
import stat
import threading
import time

import psycopg
import psycopg2
import pytest
from dwspool_testing.certificates import Authority
from dwspool_testing.observer import Observer
from dwspool_testing.proxy import Proxy, binary, wait_until
from dwspool_testing.succession import Succession, is_running
from dwspool_testing.wire import Connection, bind, execute, parse, sync
from fake_cn import Role
from fake_cn.verifiers import SHA256

CANCELED = "57014"


@pytest.fixture
def observer(pg):
    with Observer(pg) as direct:
        yield direct


@pytest.fixture
def lines():
    """Begins successions, and ends them."""
    begun = []

    def begin(proxy):
        begun.append(Succession(proxy))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()


@pytest.fixture
def line(trusting, lines):
    def start(**overrides):
        return lines(trusting(shutdown_timeout="2s", **overrides))

    return start


def gone(line, count=1):
    """The old processes have ended: none of them has a client any more."""
    for pid in line.all[:-1][-count:]:
        wait_until(lambda: not is_running(pid), timeout=5, what="the end of the old process")  # noqa: B023


def value(connection, sql, **options):
    with connection.cursor() as cursor:
        cursor.execute(sql, **options)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_idle_clients_keep_all_that_they_have(line, observer, workers):
    line = line(workers=workers)
    role = observer.role()
    clients = []
    for number in range(20):
        client = psycopg.connect(line.proxy.dsn(role, application_name=f"app {number}"), autocommit=True,
                                 prepare_threshold=0)
        client.execute(f"set timezone to 'Etc/GMT+{number % 12}'")
        client.execute(f"set search_path to s{number}, public")
        assert value(client, "select %s::int + 1", params=(number,)) == number + 1
        clients.append((number, client, client.info.backend_pid))
    for _ in range(2):
        line.hand_over()
        gone(line)
        for number, client, pid in clients:
            assert value(client, "select %s::int + 1", params=(number,)) == number + 1
            assert value(client, "show timezone") == f"Etc/GMT+{number % 12}"
            assert value(client, "show search_path") == f"s{number}, public"
            assert value(client, "show application_name") == f"app {number}"
            assert client.info.backend_pid == pid
            assert client.info.parameter_status("TimeZone") == f"Etc/GMT+{number % 12}"
    assert line.proxy.metric("dwspool_clients") == 20
    for _, client, _ in clients:
        client.execute("reset all")  # to what it has asked for when it came
        assert value(client, "show application_name").startswith("app ")
        client.close()
    wait_until(lambda: line.proxy.metric("dwspool_clients") == 0, what="all have left")
    counts = [text.rsplit("clients=", 1)[1].split()[0] for text in line.proxy.log().splitlines()
              if "[process.clients_gone]" in text]
    assert counts == ["20", "20"]


def test_a_statement_without_a_name(line, observer):
    line = line()
    with Connection("127.0.0.1", line.proxy.port) as client:
        client.log_in(observer.role())
        client.send(parse("", "select 7") + sync())
        client.until_ready()
        line.hand_over()
        gone(line)
        client.send(bind("", "") + execute() + sync())
        kinds = [kind for kind, _ in client.until_ready()]
        assert b"D" in kinds and b"E" not in kinds


def test_psycopg2_in_its_transactions(line):
    """What is open ends where it is; then its client goes, too."""
    line = line()
    client = psycopg2.connect(line.proxy.dsn())
    assert value(client, "select 1") == 1
    line.hand_over()
    time.sleep(0.5)
    assert is_running(line.all[0])
    assert value(client, "select 2") == 2
    client.commit()
    gone(line)
    assert value(client, "select 3") == 3
    client.close()


def test_nobody_notices_under_load(line, observer):
    """Clients that think between their transactions, over four handovers: each of their writes is
    there once, and none has met an error."""
    line = line(workers=2, handover_time="20s")
    table = observer.table("client int, number int")
    failures, done, ends = [], [0] * 20, threading.Event()

    def work(me):
        try:
            connection = psycopg2.connect(line.proxy.dsn())
            with connection.cursor() as cursor:
                cursor.execute(f"set application_name to 'worker {me}'")
                connection.commit()
                while not ends.is_set():
                    cursor.execute(f"insert into {table} values (%s, %s)", (me, done[me]))
                    cursor.execute("show application_name")
                    assert cursor.fetchone()[0] == f"worker {me}"
                    connection.commit()
                    done[me] += 1
                    time.sleep(0.003 * (me % 5))
            connection.close()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(me,)) for me in range(len(done))]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.7)
        line.hand_over()
        gone(line)
    ends.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert min(done) > 0
    rows = observer.rows(f"select client, number, count(*) from {table} group by 1, 2")
    assert sorted((client, number) for client, number, _ in rows) == [
        (me, number) for me, count in enumerate(done) for number in range(count)]
    assert {count for _, _, count in rows} == {1}


def test_keys_to_cancel_with_go_along(line, observer):
    line = line(workers=2)
    role = observer.role()
    client = psycopg2.connect(line.proxy.dsn(role))
    client.autocommit = True
    for _ in range(2):
        line.hand_over()
        gone(line)
    told = cancelled_while_it_sleeps(client, observer, role)
    assert told == CANCELED
    assert value(client, "select 1") == 1
    client.close()


@pytest.mark.parametrize("handovers", [1, 2])
def test_who_cannot_go_is_cancelled_all_the_same(line, observer, handovers):
    """The request reaches the new process, the statement runs in the old one."""
    line = line(handover_time="20s", workers=2)
    role = observer.role()
    client = psycopg2.connect(line.proxy.dsn(role))
    client.autocommit = True
    with client.cursor() as cursor:
        cursor.execute("create temp table t()")  # stays with its backend
    for _ in range(handovers):
        line.hand_over()
    assert cancelled_while_it_sleeps(client, observer, role) == CANCELED
    assert value(client, "select count(*) from t") == 0
    assert is_running(line.all[0])
    client.close()
    gone(line, handovers)


def cancelled_while_it_sleeps(client, observer, role):
    told = []

    def sleep():
        try:
            value(client, "select pg_sleep(71)")
        except psycopg2.errors.QueryCanceled as error:
            told.append(error.pgcode)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    observer.wait_running("%pg_sleep(71)%", user=role)
    client.cancel()
    sleeper.join(10)
    return told[0] if told else None


def test_clients_with_tls_stay(pg, proxies, lines):
    ca = Authority().issue("server", "localhost", "DNS:localhost,IP:127.0.0.1")
    try:
        line = lines(proxies({
            "auth_method": "trust", "handover_time": "1s", "shutdown_timeout": "2s",
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}},
            "databases": {"*": {}}, "users": {"*": {}},
            "tls": {"certificate": ca.cert("server"), "key": ca.key("server")}}))
        private, clear = (psycopg2.connect(line.proxy.dsn(sslmode=mode)) for mode in ("require", "disable"))
        line.hand_over()
        assert value(private, "select 1") == 1
        private.commit()
        gone(line)
        assert value(clear, "select 1") == 1
        with pytest.raises(psycopg2.OperationalError):
            value(private, "select 2")
        clear.close()
    finally:
        ca.destroy()


def test_what_a_client_has_proven_goes_along(proxies, fake, lines):
    """The new process logs in to the coordinator with it, under the client's name."""
    cn = fake(Role("dbadmin", "Gauss@123", SHA256, iterations=2048, pg_user="postgres"))
    line = lines(proxies({
        "auth_method": "password", "shutdown_timeout": "2s",
        "clusters": {"main": {"coordinators": [f"127.0.0.1:{cn.port}"], "pass_through": {}}},
        "databases": {"*": {"database": "postgres"}}}))
    client = psycopg2.connect(host=line.proxy.dir, port=line.proxy.port, user="dbadmin", dbname="postgres",
                              password="Gauss@123")
    assert value(client, "select 1") == 1
    client.commit()
    attempts = cn.role("dbadmin").attempts
    line.hand_over()
    gone(line)
    assert value(client, "select 2") == 2
    assert cn.role("dbadmin").attempts > attempts and cn.role("dbadmin").wrong == 0
    client.close()
    assert "Gauss@123" not in line.proxy.log()


def test_limits_count_those_who_came_over(line):
    line = line(max_client_conn=3, databases={"*": {"max_clients": 3}})
    clients = [psycopg2.connect(line.proxy.dsn()) for _ in range(3)]
    line.hand_over()
    gone(line)
    with pytest.raises(psycopg2.OperationalError, match="too many clients"):
        psycopg2.connect(line.proxy.dsn())
    clients.pop().close()
    wait_until(lambda: line.proxy.metric("dwspool_clients") == 2, what="one has left")
    psycopg2.connect(line.proxy.dsn()).close()
    for client in clients:
        assert value(client, "select 1") == 1
        client.close()


def test_who_may_not_come_in_any_more_stays(line, observer):
    """The new configuration does not know it: it has what is left of its time."""
    line = line(handover_time="1s")
    role = observer.role()
    client = psycopg2.connect(line.proxy.dsn(role))
    client.autocommit = True
    line.proxy.config["users"] = {"postgres": {}}
    line.proxy.write_config()
    line.hand_over()
    assert value(client, "select 1") == 1
    gone(line)
    with pytest.raises(psycopg2.OperationalError):
        value(client, "select 1")


def test_a_socket_of_the_file_system(line):
    line = line()
    client = psycopg2.connect(host=line.proxy.dir, port=line.proxy.port, user="postgres", dbname="postgres")
    line.hand_over()
    gone(line)
    assert value(client, "select 1") == 1
    client.close()


def test_a_large_session_stays(line):
    """More than one message takes."""
    line = line(handover_time="1s")
    large, small = (psycopg.connect(line.proxy.dsn(), autocommit=True, prepare_threshold=0) for _ in range(2))
    for number in range(20):
        assert value(large, f"select %s::int /* {'x' * 10000} */", params=(number,)) == number
    line.hand_over()
    assert value(large, "select 1") == 1
    gone(line)
    assert value(small, "select 1") == 1
    small.close()


def test_a_reload_behind_an_upgrade(pg, tmp_path, lines):
    """As `systemctl reload-or-restart` sends it: another file hands over, the same one reloads."""
    program = str(tmp_path / "dwspool")
    shutil.copy(binary(), program)
    with Proxy({"auth_method": "trust", "databases": {"*": {}}, "users": {"*": {}}, "shutdown_timeout": "2s",
                "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}}}, program=program) as proxy:
        line = lines(proxy)
        client = psycopg2.connect(proxy.dsn())
        client.autocommit = True
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[config.reloaded]" in proxy.log(), what="a reload")
        shutil.copy(program, program + ".new")
        os.replace(program + ".new", program)
        assert "[process.handover]" not in proxy.log()
        line.hand_over(signal.SIGHUP)
        gone(line)
        assert value(client, "select 1") == 1
        assert os.readlink(f"/proc/{line.pid}/exe") == program
        client.close()
        line.end()


# --- A successor that is not what it should be -----------------------------------------------------

STUB = """#!/usr/bin/python3
import os, socket, struct, time
behaviour = open(__file__ + ".behaviour").read()
channel = socket.socket(fileno=3 + int(os.environ["DWSPOOL_HANDOVER"]))
channel.setblocking(True)
channel.send({"older": b"+", "other": b"R" + struct.pack(">Q", 99)}.get(behaviour, b"R" + struct.pack(">Q", 1)))
if behaviour == "silent":
    time.sleep(2)
if behaviour in ("dies", "refuses", "babbles"):
    message, descriptors, _, _ = socket.recv_fds(channel, 1 << 18, 4)
    assert message[:1] == b"C" and len(descriptors) == 1
    if behaviour == "refuses":
        channel.send(b"N" + message[1:9])
        time.sleep(2)
    if behaviour == "babbles":
        for nonsense in (b"", b"T", b"T" + struct.pack(">Q", 77), b"C" + message[1:9], b"?" * 100):
            channel.send(nonsense or b"x")
        time.sleep(2)
"""


@pytest.mark.parametrize("behaviour", ["dies", "refuses", "babbles", "silent", "older", "other"])
def test_clients_that_are_not_taken_go_on_where_they_are(pg, tmp_path, behaviour):
    program = str(tmp_path / "dwspool")
    shutil.copy(binary(), program)
    with Proxy({"auth_method": "trust", "databases": {"*": {}}, "users": {"*": {}},
                "handover_time": "4s", "shutdown_timeout": "2s",
                "clusters": {"main": {"coordinators": [f"127.0.0.1:{pg.port}"]}}}, program=program) as proxy:
        client = psycopg2.connect(proxy.dsn())
        client.autocommit = True
        assert value(client, "select 1") == 1
        os.unlink(program)
        with open(program, "w", encoding="utf-8") as file:
            file.write(STUB)
        os.chmod(program, stat.S_IRWXU)
        (tmp_path / "dwspool.behaviour").write_text(behaviour)
        proxy.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "[process.handed_over]" in proxy.log(), timeout=10, what="a handover")
        begun = time.monotonic()
        for number in range(10):
            assert value(client, f"select {number}") == number
            time.sleep(0.1)
        assert time.monotonic() - begun < 3.5
        client.close()
        assert proxy.process.wait(10) == 0


def test_a_successor_that_is_killed_takes_only_those_who_went(line):
    """It has told that it has them; the others go on."""
    line = line(handover_time="5s")
    idle = psycopg2.connect(line.proxy.dsn())
    bound = psycopg2.connect(line.proxy.dsn())
    bound.autocommit = True
    with bound.cursor() as cursor:
        cursor.execute("create temp table t()")
    line.hand_over()
    wait_until(lambda: line.proxy.metric("dwspool_clients") == 1, what="one has gone over")
    os.kill(line.pid, signal.SIGKILL)
    with pytest.raises(psycopg2.OperationalError):
        value(idle, "select 1")
    assert value(bound, "select count(*) from t") == 0
    bound.close()
    gone(line)


def test_console_and_log_ins_stay(line):
    """Whoever has not logged in yet does so where it has begun, and goes then."""
    line = line(console={"admin_users": ["boss"]}, users={"*": {}, "boss": {}}, handover_time="10s")
    boss = psycopg2.connect(line.proxy.dsn("boss", "dwspool"))
    boss.autocommit = True
    with Connection("127.0.0.1", line.proxy.port) as late:
        line.hand_over()
        time.sleep(0.3)
        assert value(boss, "show version").startswith("dwspool")
        late.log_in("postgres")
        boss.close()
        gone(line)
        assert [kind for kind, _ in late.ask("select 1")] == [b"T", b"D", b"C", b"Z"]
