"""Scripts for the cells of the decision table (doc/replay.md), each a few requests, and what a loss
of the backend during each of them must come to."""

import dataclasses

from dwspool_testing.wire import (bind, close, describe, execute, flush, message, parse, query,
                                  sync)

MASKED = None  # the client sees the right answer, and no error
DOUBT = "08007"
MISMATCH = "40001"
# Where the table would allow to run it again, and dwspool does not yet see that nothing can have
# been committed.
CAUTIOUS = DOUBT

SETUP = """
drop table if exists cells, cells_ro; drop sequence if exists cells_numbers;
create table cells(id int, v text);
create table cells_ro(id int primary key, v text);
insert into cells_ro select g, repeat('x', 200) from generate_series(1, 1000) g;
create sequence cells_numbers;
create or replace function cells_stable() returns bigint stable language sql as
  'select count(*) from cells_ro where id <= 5';
create or replace function cells_writes(int) returns int volatile language sql as
  'insert into cells values ($1) returning id';
create or replace view cells_view as select id from cells_ro where id <= 3;
"""


@dataclasses.dataclass(frozen=True)
class Step:
    data: bytes
    lost: str | None  # what a loss while it is under way comes to


@dataclasses.dataclass(frozen=True)
class Script:
    steps: tuple
    rows: int = 0             # of its number, when all of it has been done
    # SQLSTATE by the place of the statement (in order of execution, without BEGIN) that a
    # coordinator refuses since it gets no connection to a datanode; MASKED where there is none.
    refused: dict = dataclasses.field(default_factory=dict)
    bound: bool = False       # to its backend: the session may be lost with it


def extended(sql, *values, name="", end=b"", limit=0):
    return (parse(name, sql) + bind("", name, values) + describe("P", "") + execute("", limit)
            + end)


def alone(sql, lost, rows=0, by=query, **more):
    return Script((Step(by(sql), lost),), rows, **more)


def synced(sql):
    return extended(sql) + sync()


def transaction(*sqls, rows=1, by=query, begin="begin", end="commit", commit=DOUBT, **more):
    """What is lost before its COMMIT is run again."""
    steps = [Step(by(sql), MASKED) for sql in (begin, *sqls)]
    return Script((*steps, Step(by(end), commit)), rows,
                  **(more or {"refused": {len(sqls): commit}}))


def copy(sql, *lines):
    return (query(sql) + b"".join(message(b"d", line.encode() + b"\n") for line in lines)
            + message(b"c"))


def scripts(number):
    """{name: Script}; what they write has this number."""
    insert = f"insert into cells values ({number})"
    insert_returning = f"insert into cells values ({number}, 'a') returning id, v"
    count = f"select count(*) from cells where id = {number}"
    copied = copy("copy cells from stdin", f"{number}\ta", f"{number}\tb")
    return {
        # Reads.
        "select": alone("select 1, 'x'", MASKED),
        "values": alone("values (1), (2)", MASKED),
        "show": alone("show work_mem", MASKED),
        "table": alone("select * from cells_ro where id < 50 order by id", MASKED),
        "with": alone("with x as (select 1 as a) select a from x", MASKED),
        "explain": alone("explain (costs off) select 1", MASKED),
        "stable function": alone("select cells_stable()", MASKED),
        "view": alone("select * from cells_view order by id", MASKED),
        "harmless volatile": alone("select random() < 2, clock_timestamp() is null", MASKED),
        "long result in order": alone("select * from cells_ro order by id", MASKED),
        "two reads": alone("select 1; select id from cells_ro where id = 3", MASKED),
        "extended read": alone("select id from cells_ro where id = 3", MASKED, by=synced),
        "named read": Script((
            Step(parse("p", "select id from cells_ro where id = $1", [23]) + sync(), MASKED),
            Step(bind("", "p", [3]) + describe("P", "") + execute() + sync(), MASKED),
            Step(close("S", "p") + sync(), MASKED))),
        "pipelined reads": Script((
            Step(extended("select 1") + extended("select 2") + sync(), MASKED),)),
        "flushed read": Script((
            Step(extended("select id from cells_ro where id = 3", end=flush()) + sync(),
                 MASKED),)),
        # What looks like one.
        "nextval": alone("select nextval('cells_numbers') > 0", DOUBT, bound=True,
                         refused={0: "08006"}),
        "function that writes": alone(f"select cells_writes({number})", DOUBT, 1,
                                      refused={0: "08006"}),
        "extended function that writes": alone(f"select cells_writes({number})", DOUBT, 1,
                                               by=synced, refused={0: "08006"}),
        "locking read": alone("select id from cells_ro where id = 7 for update", DOUBT),
        # Writes that commit by themselves.
        "insert": alone(insert, DOUBT, 1),
        "insert returning": alone(insert_returning, DOUBT, 1),
        "writing with": alone(f"with x as ({insert_returning}) select id from x", DOUBT, 1),
        "extended insert": alone(insert_returning, DOUBT, 1, by=synced),
        "pipelined inserts": Script((
            Step(extended(insert) + extended(insert) + sync(), DOUBT),), 2,
            {1: "08006"}),
        "two inserts": alone(f"{insert}; {insert}", DOUBT, 2, refused={1: "08006"}),
        "insert and read": alone(f"{insert}; {count}", DOUBT, 1, refused={1: "08006"}),
        "definition": alone("create or replace view cells_other as select 1 as a", DOUBT),
        "vacuum": alone("vacuum cells_ro", DOUBT, refused={0: "08006"}),
        "do": alone(f"do $$ begin {insert}; commit; end $$", DOUBT, 1, refused={0: "08006"}),
        "transaction in one text": alone(f"begin; {insert}; commit", DOUBT, 1,
                                         refused={1: DOUBT}),
        "pipelined transaction": Script((
            Step(extended("begin") + extended(insert) + extended("commit") + sync(), DOUBT),), 1,
            {1: DOUBT}),
        # Transactions.
        "transaction": transaction(insert),
        "several statements": transaction(
            count, insert, count, f"update cells set v = 'b' where id = {number} returning v"),
        "savepoints": transaction(
            "savepoint s", insert, "rollback to s", insert_returning, "release s",
            refused={0: MASKED, 5: DOUBT}),
        "failed statement": transaction(
            "savepoint s", "select 1/0", "rollback to s", insert, refused={3: DOUBT}),
        "set local": transaction("set local work_mem = '7MB'", "show work_mem", insert),
        "repeatable read": transaction("select * from cells_ro where id = 3", insert, count,
                                       begin="begin isolation level repeatable read"),
        "read only transaction": transaction("select * from cells_ro where id = 3",
                                             "select cells_stable()", rows=0, commit=MASKED,
                                             refused={2: CAUTIOUS},
                                             begin="start transaction read only", end="end"),
        "rolled back": Script((
            Step(query("begin"), MASKED), Step(query(insert), MASKED), Step(query(count), MASKED),
            Step(query("rollback"), CAUTIOUS), Step(query(count), MASKED)), 0, {2: CAUTIOUS}),
        "cursor": transaction(
            insert, "declare c cursor for select id from cells_ro order by id", "fetch 3 from c",
            "fetch 3 from c", "close c"),
        "locks": transaction("select id from cells_ro where id = 7 for update", insert),
        "function in a transaction": transaction(f"select cells_writes({number})", count),
        "copy from": Script((
            Step(query("begin"), MASKED), Step(copied, MASKED), Step(query(count), MASKED),
            Step(query("commit"), DOUBT)), 2, {2: DOUBT}),
        "copy to": transaction("copy (select id from cells_ro order by id) to stdout", insert),
        "extended transaction": transaction(insert, count, by=synced),
        "JDBC": Script((
            Step(parse("", "begin") + bind("", "") + execute() + extended(insert_returning)
                 + sync(), CAUTIOUS),
            Step(parse("b", count) + bind("", "b") + execute() + sync(), MASKED),
            Step(bind("", "b") + execute() + sync(), MASKED),
            Step(extended("commit") + sync(), DOUBT)), 1, {3: DOUBT}),
        "portal": Script((
            Step(query("begin"), MASKED),
            Step(extended(insert) + sync(), MASKED),
            Step(parse("", "select id from cells_ro order by id") + bind("c", "")
                 + execute("c", 3) + sync(), MASKED),
            Step(execute("c", 3) + sync(), MASKED),
            Step(query("commit"), DOUBT)), 1, {3: DOUBT}),
        # What the application has seen of it never comes again.
        "seen number": Script((
            Step(query("begin"), MASKED), Step(query(insert), MASKED),
            Step(query("select nextval('cells_numbers')"), MASKED),
            Step(query(count), MISMATCH), Step(query("commit"), DOUBT)), 1,
            {2: MISMATCH, 3: DOUBT}, True),
        "seen time": Script((
            Step(query("begin"), MASKED), Step(query(insert), MASKED),
            Step(query("select clock_timestamp()"), MASKED),
            Step(query(count), MISMATCH), Step(query("commit"), DOUBT)), 1,
            {2: MISMATCH, 3: DOUBT}),
    }
