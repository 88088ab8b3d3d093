"""What the catalog says about functions and relations that a statement names, by a real server."""

import os
import pathlib
import subprocess
import sys

import psycopg2
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "data"))

import make_builtin_functions  # noqa: E402
from differential_corpus import ERRORS, SELECTS, SETUP, WRITES  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = os.environ.get("DWSPOOL_RETRY_PROBE") or os.path.join(
    os.path.dirname(os.environ.get("DWSPOOL_BINARY", "")), "tests", "dwspool_retry_probe")

OBJECTS = """
create schema other;
create table t (a int, b text);
create table parts (a int) partition by list (a);
create table part1 partition of parts for values in (1);
create materialized view m as select * from t;
create sequence s;
create unlogged table written (a int);
create function steady(int) returns int stable language sql as 'select $1';
create function fixed(int) returns int immutable language sql as 'select $1';
create function writes(int) returns int language sql as
  'insert into written values ($1); select $1';
create function mixed(int) returns int stable language sql as 'select $1';
create function mixed(text) returns int volatile language sql as 'select 1';
create function other.steady(text) returns int volatile language sql as 'select 1';
create function other.hidden(int) returns int volatile language sql as 'select 1';
create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
create operator ### (leftarg = int, rightarg = int, procedure = int4pl);
create function loud(int, int) returns int volatile language sql as 'select $1';
create operator !!! (leftarg = int, rightarg = int, procedure = loud);
create view plain as select a, lower(b) from t where a in (select a from parts) order by 1;
create view over_plain as with x as (select * from plain) select count(*), steady(1) from x, m;
create view summed as select total(a), row_number() over (), a ### a as x from t group by a;
create view noisy as select writes(a) from t;
create view over_noisy as select * from plain where exists (select 1 from noisy);
create view numbers as select nextval('s');
create view with_random as select random();
create view operates as select a !!! a as x from t;
create view sampled as select * from t tablesample system (10);
create view sequenced as select last_value from s;
create view over_list as select * from (values (1), (2)) x(a) join t using (a);
create table ":funcid 1574" (a int);
create view named as select a as ":funcid 1574", ':relid 1' as b from ":funcid 1574" ":relid 5";
create table guarded (a int);
alter table guarded enable row level security;
create view over_guarded as select * from guarded;
create extension file_fdw;
create server files foreign data wrapper file_fdw;
create foreign table far (a int) server files options (filename '/dev/null');
create table parts2 (a int) partition by list (a);
create foreign table part2 partition of parts2 for values in (1) server files
  options (filename '/dev/null');
create table "T x" (a int);
create table "a'b" (a int);
create table "q""q.r" (a int);
create table "back\\slash" (a int);
create function "f'); drop table t; --"(int) returns int stable language sql as 'select $1';
create function "F.g"() returns int volatile language sql as 'select 1';
create table other."T.y" (a int);
create view other.v as select * from t;
create table "größe" (a int);
"""


@pytest.fixture(scope="module")
def server(pg):
    pg.psql("create database catalog_test")
    pg.psql(OBJECTS, database="catalog_test")
    yield pg
    pg.psql("drop database catalog_test with (force)")


def probe(sql):
    """Whether the text itself only reads, and the question to the catalog."""
    said = subprocess.run([PROBE], input=sql.encode(), stdout=subprocess.PIPE, check=True,
                          timeout=30).stdout.decode()
    reads, question = said.split("\n", 1)
    assert reads in ("reads", "more")
    return reads == "reads", question


def connect(server):
    return psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres",
                            dbname="catalog_test")


def ask(connection, question, before=""):
    """{(kind, name): harmless}, asked within the settings of `before`."""
    if not question:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(before + "set transaction read only")
        cursor.execute(question)
        rows = cursor.fetchall()
    connection.rollback()
    assert len(rows) == len({row[:2] for row in rows})
    assert all(verdict in ("t", "f") for _, _, verdict in rows)
    return {(kind, name): verdict == "t" for kind, name, verdict in rows}


def verdicts(server, sql, before=""):
    connection = connect(server)
    try:
        return ask(connection, probe(sql)[1], before)
    finally:
        connection.close()


@pytest.mark.parametrize("name, harmless", [
    ("t", True), ("parts", True), ("part1", True), ("m", True), ("plain", True),
    ("over_plain", True), ("summed", True), ("over_list", True), ("named", True),
    ('":funcid 1574"', True), ("other.v", True), ('other."T.y"', True), ('"T x"', True),
    ('"a\'b"', True), ('"q""q.r"', True), ('"back\\slash"', True), ('"größe"', True),
    ("pg_stat_activity", True), ("pg_catalog.pg_class", True), ("information_schema.tables", True),
    ("noisy", False), ("over_noisy", False), ("numbers", False), ("with_random", False),
    ("operates", False), ("sampled", False), ("sequenced", False), ("s", False), ("far", False),
    ("parts2", False), ("guarded", False), ("over_guarded", False), ("missing", False),
    ("other.t", False), ("missing.t", False), ('"T"', False), ('"T.y"', False),
    ('"t\' or true --"', False),
])
def test_relations(server, name, harmless):
    found = verdicts(server, f"select 1 from {name}")
    assert list(found.values()) == [harmless], found


@pytest.mark.parametrize("call, harmless", [
    ("steady(1)", True), ("fixed(1)", True), ("total(1)", True), ("Steady(1)", True),
    ("public.steady(1)", True), ("\"f'); drop table t; --\"(1)", True),
    ("has_table_privilege('t', 'select'), steady(1)", True),
    ("writes(1)", False), ("mixed(1)", False), ("other.steady('')", False), ("hidden(1)", False),
    ("other.hidden(1)", False), ('"F.g"()', False), ("nextval('s')", False), ("missing()", False),
    ("\"f' or true) --\"()", False), ('1 operator(public.###) 1', False),
])
def test_functions(server, call, harmless):
    found = verdicts(server, f"select {call}")
    assert list(found.values()) == [harmless], found


def test_the_search_path_decides(server):
    other = "set search_path to other, public; "
    assert verdicts(server, "select hidden(1)", other) == {("f", "hidden"): False}
    assert verdicts(server, "select steady(1)", other) == {("f", "steady"): False}
    assert verdicts(server, "select fixed(1)", other) == {("f", "fixed"): True}
    assert verdicts(server, "select 1 from v", other) == {("r", "v"): True}
    assert verdicts(server, "select 1 from v") == {("r", "v"): False}
    nothing = "set search_path to ''; "
    assert verdicts(server, "select 1 from t, public.t where steady(1) > 0", nothing) == {
        ("r", "t"): False, ("r", "public.t"): True, ("f", "steady"): False}


def test_many_at_once(server):
    found = verdicts(server, "select steady(1), writes(1) from plain, noisy, t; select mixed(1)")
    assert found == {
        ("f", "steady"): True, ("f", "writes"): False, ("f", "mixed"): False,
        ("r", "plain"): True, ("r", "noisy"): False, ("r", "t"): True}


def test_settings_do_not_change_how_the_question_is_read(server):
    for before in ("set standard_conforming_strings to off; ", "set quote_all_identifiers to on; ",
                   "set client_encoding to 'LATIN1'; "):
        assert verdicts(server, r'select 1 from "back\slash", over_noisy, plain', before) == {
            ("r", r'"back\slash"'): True, ("r", "over_noisy"): False, ("r", "plain"): True}


def test_what_is_proven_to_read_is_never_refused_by_the_server_as_a_write(server):
    """The server itself is asked, by READ ONLY."""
    server.psql(SETUP, database="catalog_test")
    path = "set search_path to differ; "
    connection = connect(server)
    proven, refused = 0, 0
    for sql in SELECTS + ERRORS + WRITES + [
            "select public.writes(1)", "select a from public.noisy",
            "select * from public.over_plain",
            "select setval('public.s', 5)", "explain analyze insert into log(what) values ('x')",
            "select * from cheap where id in (select id from fruit for update)"]:
        only_reads, question = probe(sql)
        harmless = only_reads and all(ask(connection, question, path).values())
        try:
            with connection.cursor() as cursor:
                cursor.execute(path + "set transaction read only")
                cursor.execute(sql or ";")
            code = None
        except psycopg2.Error as error:
            code = error.pgcode
        connection.rollback()
        if code == "25006":
            refused += 1
            assert not harmless, sql
        proven += harmless
    connection.close()
    assert proven > 40 and refused > 25, (proven, refused)


def test_nothing_ran(server):
    assert server.psql("select count(*) from written", database="catalog_test") == "0"
    assert server.psql("select is_called from s", database="catalog_test") == "f"


def test_the_list_of_builtin_functions_is_that_of_the_server(server):
    checked_in = (ROOT / "src/retry/builtin_functions.inc").read_text(encoding="utf-8")
    assert make_builtin_functions.lines_of(server) == checked_in
