"""Prepared statements that many clients share a backend for: the traps, message by message."""

import pytest
from dwspool_testing.observer import Observer
from dwspool_testing.wire import (Connection, bind, close, describe, execute, fields, flush, parse,
                                  query, sync)


@pytest.fixture
def clients(trusting, request):
    """Opens clients of a dwspool with one backend, in mode auto."""
    opened = []

    def start(count=1, **defaults):
        proxy = trusting("auto", defaults={"pool_size": 1, "queue_timeout": "1s", **defaults},
                         shutdown_timeout="1s")
        for _ in range(count):
            opened.append(Connection("127.0.0.1", proxy.port, timeout=5))
            opened[-1].log_in()
        return opened[0] if count == 1 else opened

    yield start
    for client in opened:
        client.close()


def ask(client, *messages):
    """Sends the messages and a Sync; the answer as a list of types, rows and SQLSTATEs."""
    client.send(b"".join(messages) + sync())
    return digest(client.until_ready())


def digest(messages):
    seen = []
    for kind, body in messages:
        if kind == b"D":
            seen.append(body[6:].decode())
        elif kind == b"E":
            seen.append(fields(body)["C"])
        elif kind != b"T" and kind != b"n" and kind != b"t":
            seen.append(kind.decode())
    return seen


def run(name):
    return bind("", name) + execute()


def test_same_name_different_statements(clients):
    first, second = clients(2)
    assert ask(first, parse("s", "select 'first'")) == ["1", "Z"]
    assert ask(second, parse("s", "select 'second'")) == ["1", "Z"]
    for _ in range(3):
        assert ask(first, run("s")) == ["2", "first", "C", "Z"]
        assert ask(second, run("s")) == ["2", "second", "C", "Z"]
    assert ask(second, close("S", "s")) == ["3", "Z"]
    assert ask(second, run("s")) == ["26000", "Z"]
    assert ask(first, run("s")) == ["2", "first", "C", "Z"]
    assert ask(second, parse("s", "select 'third'"), run("s")) == ["1", "2", "third", "C", "Z"]


def test_same_statement_different_names(clients):
    first, second = clients(2)
    assert ask(first, parse("a", "select 'same'")) == ["1", "Z"]
    assert ask(second, parse("b", "select 'same'"), run("b")) == ["1", "2", "same", "C", "Z"]
    assert ask(second, run("a")) == ["26000", "Z"]
    assert ask(first, run("b")) == ["26000", "Z"]
    assert ask(first, describe("S", "a"), run("a")) == ["2", "same", "C", "Z"]


def test_name_taken_and_unknown_name(clients):
    client = clients()
    assert ask(client, parse("s", "select 1")) == ["1", "Z"]
    assert ask(client, parse("s", "select 2")) == ["42P05", "Z"]
    assert ask(client, run("s")) == ["2", "1", "C", "Z"]
    assert ask(client, run("nobody")) == ["26000", "Z"]
    assert ask(client, parse("bad", "selec 1")) == ["42601", "Z"]
    assert ask(client, run("bad")) == ["26000", "Z"]
    assert ask(client, parse("bad", "select 'good'"), run("bad")) == ["1", "2", "good", "C", "Z"]


def test_unnamed_statements_do_not_mix(clients):
    first, second = clients(2)
    assert ask(first, parse("", "select 'first'")) == ["1", "Z"]
    assert ask(second, parse("", "select 'second'")) == ["1", "Z"]
    assert ask(first, run("")) == ["2", "first", "C", "Z"]
    assert ask(second, run("")) == ["2", "second", "C", "Z"]
    assert digest(first.ask("select 1"))[0] == "1"  # a simple Query drops it
    assert ask(first, run("")) == ["26000", "Z"]
    assert ask(second, run("")) == ["2", "second", "C", "Z"]


def test_simple_deallocate(clients):
    first, second = clients(2)
    for client in (first, second):
        assert ask(client, parse("s", "select 1")) == ["1", "Z"]
    assert digest(first.ask("deallocate s")) == ["C", "Z"]
    assert ask(first, run("s")) == ["26000", "Z"]
    assert ask(second, run("s")) == ["2", "1", "C", "Z"]
    assert ask(first, parse("s", "select 3"), run("s")) == ["1", "2", "3", "C", "Z"]
    assert digest(first.ask("deallocate all")) == ["C", "Z"]
    assert ask(first, run("s")) == ["26000", "Z"]
    assert ask(second, run("s")) == ["2", "1", "C", "Z"]


def test_extended_deallocate(clients):
    client = clients()
    assert ask(client, parse("s", "select 1")) == ["1", "Z"]
    assert ask(client, parse("", "deallocate s"), run("")) == ["1", "2", "C", "Z"]
    assert ask(client, run("s")) == ["26000", "Z"]
    assert ask(client, parse("s", "select 2"), run("s")) == ["1", "2", "2", "C", "Z"]


def test_extended_deallocate_and_wrong_rows(clients):
    first, second = clients(2)
    assert ask(first, parse("s", "select 'one'")) == ["1", "Z"]
    assert ask(first, parse("", "deallocate s"), run("")) == ["1", "2", "C", "Z"]
    assert ask(first, parse("s", "select 'two'"), run("s")) == ["1", "2", "two", "C", "Z"]
    assert ask(second, parse("t", "select 'one'"), run("t")) == ["1", "2", "one", "C", "Z"]


def test_extended_deallocate_leaves_others_alone(clients):
    first, second = clients(2)
    assert ask(first, parse("s", "select 'first'")) == ["1", "Z"]
    assert ask(second, parse("s", "select 'second'")) == ["1", "Z"]
    assert ask(second, parse("", "deallocate s"), run("")) == ["1", "2", "C", "Z"]
    assert ask(first, run("s")) == ["2", "first", "C", "Z"]


def test_extended_deallocate_of_what_another_backend_holds(trusting):
    """What psycopg 3 does above prepared_max (100)."""
    proxy = trusting("auto", defaults={"pool_size": 2}, shutdown_timeout="1s")
    with Connection("127.0.0.1", proxy.port, 5) as client, \
            Connection("127.0.0.1", proxy.port, 5) as other:
        client.log_in()
        other.log_in()
        assert ask(client, parse("s", "select 1")) == ["1", "Z"]
        other.ask("begin; select 1")  # takes the backend away
        assert ask(client, parse("", "deallocate s"), run("")) == ["1", "2", "C", "Z"]


def test_extended_deallocate_all_leaves_others_alone(clients):
    first, second = clients(2)
    assert ask(first, parse("s", "select 'first'")) == ["1", "Z"]
    assert ask(second, parse("t", "select 'second'")) == ["1", "Z"]
    assert ask(second, parse("", "deallocate all"), run("")) == ["1", "2", "C", "Z"]
    assert ask(second, run("t")) == ["26000", "Z"]
    assert ask(second, parse("t", "select 'again'"), run("t")) == ["1", "2", "again", "C", "Z"]
    assert ask(first, run("s")) == ["2", "first", "C", "Z"]


def test_eviction(clients):
    client = clients(max_prepared_statements=2)
    for i in range(6):
        assert ask(client, parse(f"s{i}", f"select {i}")) == ["1", "Z"]
    for _ in range(2):
        for i in range(6):
            assert ask(client, run(f"s{i}")) == ["2", str(i), "C", "Z"]


def test_eviction_by_a_statement_that_fails(clients):
    client = clients(max_prepared_statements=1)
    assert ask(client, parse("a", "select 'a'")) == ["1", "Z"]
    assert ask(client, parse("b", "selec")) == ["42601", "Z"]
    assert ask(client, run("a")) == ["2", "a", "C", "Z"]


def test_error_before_an_eviction(clients):
    client = clients(max_prepared_statements=1)
    assert ask(client, parse("a", "select 'a'")) == ["1", "Z"]
    assert ask(client, parse("", "select 1/0"), run(""), parse("b", "select 'b'")) == \
        ["1", "22012", "Z"]
    assert ask(client, run("a")) == ["2", "a", "C", "Z"]


def test_rollback_prepared_in_a_failed_transaction(clients):
    """What pgjdbc does once its ROLLBACK has become a named statement."""
    first, second = clients(2)
    assert ask(first, parse("s", "select 1")) == ["1", "Z"]
    assert ask(second, parse("s", "rollback"), run("s")) == ["1", "2", "N", "C", "Z"]
    assert ask(second, close("S", "s")) == ["3", "Z"]
    assert digest(second.ask("begin")) == ["C", "Z"]
    assert digest(second.ask("select 1/0")) == ["22012", "Z"]
    assert ask(second, parse("s", "rollback"), run("s")) == ["1", "2", "C", "Z"]


def test_prepare_in_a_failed_transaction(clients):
    client = clients()
    assert ask(client, parse("s", "select 1")) == ["1", "Z"]
    client.ask("begin")
    assert digest(client.ask("select 1/0")) == ["22012", "Z"]
    assert ask(client, parse("t", "select 1")) == ["25P02", "Z"]
    assert ask(client, run("s")) == ["25P02", "Z"]
    assert ask(client, parse("", "rollback"), run("")) == ["1", "2", "C", "Z"]
    assert ask(client, run("t")) == ["26000", "Z"]
    assert ask(client, run("s")) == ["2", "1", "C", "Z"]


def test_search_path_belongs_to_the_statement(clients):
    """A statement that one client prepared means another table to a client with another path."""
    first, second = clients(2)
    first.ask("create schema if not exists one; create table if not exists one.t as select 'one' v")
    first.ask("create schema if not exists two; create table if not exists two.t as select 'two' v")
    first.ask("set search_path to one")
    second.ask("set search_path to two")
    for client, expected in ((first, "one"), (second, "two")) * 2:
        assert ask(client, parse("s", "select v from t"), run("s"), close("S", "s")) == \
            ["1", "2", expected, "C", "3", "Z"]


def test_search_path_belongs_to_the_statement_and_its_types(clients):
    first, second = clients(2)
    first.ask("create schema if not exists three; create table if not exists three.t as select 3 v")
    first.ask("create schema if not exists four; create table if not exists four.t as select '4' v")
    first.ask("set search_path to three")
    second.ask("set search_path to four")
    for client, expected in ((first, "3"), (second, "4")) * 2:
        assert ask(client, parse("s", "select v from t"), run("s"), close("S", "s")) == \
            ["1", "2", expected, "C", "3", "Z"]


def test_reset_all_does_not_bind(clients):
    first, second = clients(2)
    first.send(query("set work_mem to '5MB'") + query("reset all"))
    first.until_ready(2)
    assert digest(second.ask("select 1")) == ["1", "C", "Z"]


def test_extended_set_does_not_bind(clients):
    first, second = clients(2)
    assert ask(first, parse("", "set extra_float_digits = 3"), run("")) == ["1", "2", "C", "Z"]
    assert digest(second.ask("select 1")) == ["1", "C", "Z"]


@pytest.mark.parametrize("inside", [False, True])
def test_a_batch_that_is_not_finished_is_not_committed(trusting, mode, pg, inside):
    """Its client goes before its Sync: a server of its own would have undone it, too."""
    proxy = trusting(mode, defaults={"pool_size": 1})
    with Observer(pg) as observer:
        table = observer.table("id int")
    with Connection("127.0.0.1", proxy.port) as client:
        client.log_in("postgres")
        if inside:
            client.ask("begin")
        client.send(parse("", f"insert into {table} values (1)") + bind("", "") + execute() + flush())
        kinds = []
        while b"C" not in kinds:
            kinds.append(client.receive()[0])
    with Connection("127.0.0.1", proxy.port) as client:  # the one backend has been cleaned
        client.log_in("postgres")
        assert [kind for kind, _ in client.ask(f"select * from {table}")] == [b"T", b"C", b"Z"]
