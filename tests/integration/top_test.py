"""`dwspool top`: on a real terminal, and where there is none."""

import os
import re
import signal
import subprocess
import threading
import time

import psycopg2
import pytest
from dwspool_testing.ports import free_port
from dwspool_testing.proxy import binary, wait_until
from dwspool_testing.screen import Screen

CONSOLE = {"console": {"admin_users": ["boss"], "stats_users": ["watcher"]},
           "users": {"*": {}, "boss": {}, "watcher": {}},
           "databases": {"*": {"database": "postgres"}}}  # whatever a client calls it


@pytest.fixture
def proxy(trusting):
    return trusting(**CONSOLE, defaults={"pool_size": 1})


@pytest.fixture
def screens():
    opened = []

    def start(*arguments, **options):
        opened.append(Screen([binary(), "top", *arguments], **options))
        return opened[-1]

    yield start
    for screen in opened:
        screen.close()


@pytest.fixture
def crowd(proxy):
    """One client that holds the only backend, and another one that wants it."""
    holder = psycopg2.connect(proxy.dsn(database="sales"))
    holder.cursor().execute("select 1")
    waiter = psycopg2.connect(proxy.dsn(database="sales"))
    waiter.autocommit = True
    thread = threading.Thread(target=lambda: waiter.cursor().execute("select 2"), daemon=True)
    thread.start()
    yield
    holder.rollback()
    thread.join(10)
    holder.close()
    waiter.close()


def watcher(proxy, **options):
    return f"host=127.0.0.1 port={proxy.port} user=watcher " + " ".join(
        f"{key}={value}" for key, value in options.items())


def clock(line):
    return re.search(r"\d\d:\d\d:\d\d", line)[0]


def test_it_shows_who_waits_and_refreshes_itself(proxy, screens, crowd):
    screen = screens(watcher(proxy))
    screen.wait_for("sales", "postgres", "auto", " 1 ")
    waiting = screen.wait_for("clients", "waiting 1 for", "in use 1")
    first = clock(screen.wait_for(f"at 127.0.0.1:{proxy.port}", "active"))
    screen.wait_for("main", "127.0.0.1:", "up")
    screen.wait_for("statements", "/s")  # of the second look on
    wait_until(lambda: (screen.read(0.1), clock(screen.lines()[0]) != first)[1], what="another time")
    assert screen.wait_for("clients", "waiting 1 for") != waiting
    screen.type("q")
    assert screen.wait() == 0
    assert screen.is_as_before()


def test_a_long_table_leaves_room_for_the_others_and_the_window_counts(proxy, screens):
    clients = [psycopg2.connect(proxy.dsn(database=f"sales{i}")) for i in range(30)]
    try:
        for client in clients[:5]:
            client.cursor().execute("select 1")
            client.rollback()
        screen = screens(watcher(proxy), columns=70, rows=24)
        screen.wait_for("and", "more")
        screen.wait_for("BOUND SESSIONS")
        for columns, rows in ((70, 24), (40, 12), (160, 60)):
            screen.resize(columns, rows)
            # The kernel says so at once (SIGWINCH): earlier than the next second.
            screen.read(0.3)
            lines = screen.lines()
            assert len(lines) <= rows
            assert max(map(len, lines)) <= columns
        assert len(lines) > 40  # and the larger window is used
        screen.wait_for("sales24")  # in their order: the smaller one ends before
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("how", ["interrupt", "terminate", "hang up"])
def test_the_terminal_gets_back_what_it_had(proxy, screens, how):
    screen = screens(watcher(proxy))
    screen.wait_for("POOLS")
    assert screen.in_alternate and not screen.cursor_visible
    assert screen.attributes() != screen.before
    if how == "interrupt":
        screen.type("\x03")  # as Ctrl-C
        number = signal.SIGINT
    else:
        number = signal.SIGTERM if how == "terminate" else signal.SIGHUP
        os.kill(screen.pid, number)
    assert screen.wait() == 128 + number
    assert screen.is_as_before()


def test_it_can_be_stopped_and_goes_on(proxy, screens):
    screen = screens(watcher(proxy))
    screen.wait_for("POOLS")
    screen.type("\x1a")  # as Ctrl-Z
    wait_until(screen.is_stopped, what="it is stopped")
    screen.read()
    assert screen.is_as_before()
    os.kill(screen.pid, signal.SIGCONT)
    wait_until(lambda: (screen.read(0.05), screen.in_alternate)[1], what="it goes on")
    screen.wait_for("POOLS")
    screen.type("q")
    assert screen.wait() == 0


def test_it_waits_for_a_dwspool_that_comes_back(proxy, screens):
    screen = screens(watcher(proxy), "--interval", "0.2")
    screen.wait_for("active")
    proxy.stop()
    screen.wait_for("no connection since")
    proxy.start()
    wait_until(lambda: (screen.read(0.1), "no connection" not in "\n".join(screen.lines()))[1],
               what="it is back")
    screen.wait_for("active")


def test_names_do_not_reach_the_terminal_as_they_are(proxy, screens):
    evil = "x\x1b[31m\x1b]0;owned\x07"
    client = psycopg2.connect(proxy.dsn(database=evil))
    screen = screens(watcher(proxy))
    screen.wait_for("x\\x1b[31m")
    assert "\x1b]" not in screen.text and "\x07" not in screen.text
    client.close()


def run(*arguments, **options):
    return subprocess.run([binary(), "top", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False, **options)


def test_into_a_pipe_it_writes_once_and_plainly(proxy, crowd):
    started = time.monotonic()
    done = run(watcher(proxy), "--interval", "0.3")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started >= 0.3  # rates are of an interval
    assert "\x1b" not in done.stdout
    assert re.search(r"^  sales +postgres +auto +2 +1 +\S+s +1", done.stdout, re.M)
    assert "statements 0/s" in done.stdout
    assert run(watcher(proxy), "--once", "--interval", "0.1").stdout.count("POOLS") == 1


def test_again_and_again_for_scripts(proxy):
    process = subprocess.Popen([binary(), "top", watcher(proxy), "--batch", "--interval", "0.1"],
                               stdout=subprocess.PIPE, text=True)
    try:
        text = ""
        while text.count("POOLS") < 3:
            text += process.stdout.readline()
        assert "\x1b" not in text
        process.stdout.close()  # as `| head` does
        assert process.wait(10) in (0, -signal.SIGPIPE)
    finally:
        process.kill()
        process.wait()


def test_where_the_configuration_says(proxy, trusting):
    done = run("--config", proxy.config_path, "--once", "--interval", "0.1")
    assert done.returncode == 0 and "POOLS" in done.stdout, done.stderr
    nobody = trusting()
    done = run("--config", nobody.config_path, "--once")
    assert done.returncode == 1 and "console.stats_users" in done.stderr


def test_who_is_not_let_in_is_told(proxy, screens):
    done = run(f"host=127.0.0.1 port={proxy.port} user=nobody", "--batch")
    assert done.returncode == 1 and "may not use the console" in done.stderr
    done = run(f"host=127.0.0.1 port={free_port()} user=watcher")
    assert done.returncode == 1 and "refused" in done.stderr
    done = run("host=127.0.0.1 nonsense=1")
    assert done.returncode == 2 and "nonsense" in done.stderr
    screen = screens(f"host=127.0.0.1 port={proxy.port} user=nobody")
    assert screen.wait() == 1
    assert screen.is_as_before() and "may not use the console" in screen.text.rsplit("1049l")[-1]
