"""What the differential test plays: named scripts, each a list of steps. A step is (bytes to
send, number of ReadyForQuery to wait for)."""

from dwspool_testing.wire import (bind, close, describe, execute, flush, message, parse, query,
                                  sync)

SETUP = """
drop schema if exists differ cascade;
create schema differ;
set search_path to differ;
create table fruit(id int primary key, name text not null, price numeric(8,2), picked date);
insert into fruit select i, 'fruit ' || i, i * 1.25, date '2026-01-01' + i from generate_series(1, 50) i;
create table wide(a text, b bytea, c jsonb, d int[], e float8, f timestamp, g uuid, h interval);
insert into wide values ('x', '\\x00ff', '{"k": [1, 2]}', '{1,NULL,3}', 1.5, '2026-01-02 03:04:05',
  '00000000-0000-0000-0000-000000000001', '1 day 2 hours'), (null, null, null, null, 'NaN', null, null, null);
create table log(at serial, what text);
create table child(id int references fruit(id) deferrable initially deferred);
create or replace function shout(text) returns text language plpgsql as
  $$ begin raise notice 'shouting %', $1; raise warning 'loud'; return upper($1); end $$;
create or replace function fail(text) returns int language plpgsql as
  $$ begin raise exception 'failed: %', $1 using errcode = 'P0777', hint = 'do not', detail = 'more'; end $$;
create or replace procedure twice() language plpgsql as
  $$ begin insert into log(what) values ('a'); commit; insert into log(what) values ('b'); rollback; end $$;
create view cheap as select * from fruit where price < 10;
create type mood as enum ('sad', 'ok');
grant usage on schema differ to public;
"""

PREFIX = query("set search_path to differ")


def q(*statements):
    return [(query(text), 1) for text in statements]


def p(*messages, ready=1):
    return [(b"".join(messages), ready)]


def run(sql, values=(), name="", portal="", types=(), results=(), limit=0):
    """Parse, Bind, Describe, Execute, Sync."""
    return p(parse(name, sql, types), bind(portal, name, values, result_formats=results),
             describe("P", portal), execute(portal, limit), sync())


SELECTS = [
    "select 1", "select 1, 'two', 3.0, null, true", "select", "select * from fruit order by id",
    "select * from wide order by a nulls last", "select count(*) from fruit",
    "select * from fruit where false", "select name, price from cheap order by 1",
    "select shout('hello')", "values (1, 'a'), (2, 'b')", "table wide", "select 'it''s', E'a\\nb', $$x$$",
    "select U&'\\0061', b'101', x'ff'", "select 1 as \"quoted \"\"name\"\"\"",
    "select /* a comment; with a semicolon */ 1 -- and another; one",
    "select repeat('x', 10000)", "select repeat('y', 200000)",
    "select i, repeat('z', i * 7) from generate_series(1, 500) i",
    "select array[1,2,3], row(1,'x'), point(1,2), '{\"a\":1}'::jsonb, 'sad'::mood",
    "select interval '1 month', timestamp '2026-02-03 04:05:06.789', timestamptz '2026-02-03 04:05:06+02'",
    "with recursive t(n) as (values (1) union all select n + 1 from t where n < 5) select * from t",
    "select * from generate_series(1, 3) a, generate_series(1, 3) b",
    "explain (costs off) select 1", "show server_version",
    "show search_path", "select current_setting('search_path')", "select 1; select 2; select 3",
    "select 1;; ;select 2;", "", ";", "   ", "-- only a comment", "/* only */",
    "select 'Grüße', '中文', 'Ā'", "select chr(8364)", "select length(repeat('é', 1000))",
    "select md5('x'), encode('\\xdeadbeef', 'hex')", "select * from unnest(array['a','b']) with ordinality",
    "select 1 from fruit for update", "select id from fruit order by id limit 3 offset 2",
    "select count(*) filter (where price > 20), avg(price) from fruit",
    "select name || '!' from fruit where id = 1", "select 1.0/3, 1e400::numeric, 'Infinity'::float8",
    "select coalesce(null, 'x'), nullif(1, 1), greatest(1, 2), case when true then 'y' end",
]

ERRORS = [
    "selec 1", "select * from nowhere", "select nothing from fruit", "select 1/0", "select 'a'::int",
    "select fail('now')", "insert into fruit values (1, 'again', 0, null)",
    "insert into fruit values (51, null, 0, null)", "insert into child values (999)",
    "select 1 2", "select (", "select 'unclosed", "select \"unclosed", "select $1", "drop table nowhere",
    "create table fruit(i int)", "select fruit(1, 2, 3)", "update fruit set nothing = 1",
    "delete from nowhere", "set nonsense to 1", "set timezone to 'Nowhere/Land'", "show nonsense",
    "select * from fruit where id = 'x'", "select shout(1, 2)", "call nothing()", "vacuum nowhere",
    "commit prepared 'none'", "release savepoint none", "rollback to none", "fetch 1 from none",
    "close none", "execute none", "deallocate none", "select 1; select 1/0; select 2",
    "create table differ.t1(i int); select 1/0", "copy nowhere from stdin", "copy nowhere to stdout",
    "copy fruit from '/nonexistent'", "alter role nobody login", "select '\\x0g'::bytea",
    "select cast('2026-13-01' as date)", "select 99999999999::int", "select array[1,2][", "lock table fruit",
    "savepoint a", "set transaction isolation level serializable", "do $$ begin raise 'x'; end $$",
]

WRITES = [
    "insert into log(what) values ('x') returning what", "insert into log(what) select 'y' from generate_series(1, 10)",
    "update fruit set price = price where id < 10", "update fruit set price = price where id = 3 returning id, name",
    "delete from log", "insert into fruit values (1, 'x', 0, null) on conflict do nothing",
    "insert into fruit values (1, 'fruit 1', 1.25, date '2026-01-02') on conflict (id) do update set price = excluded.price",
    "with gone as (delete from log returning 1) select count(*) from gone", "truncate log",
    "create table made(i int); drop table made", "create index made on fruit(name)", "drop index made",
    "do $$ begin perform 1; raise notice 'done'; end $$", "call twice()", "delete from log",
    "create table kept as select 1 as a", "select * into kept2 from kept", "drop table kept, kept2",
    "alter table log add column extra int", "alter table log drop column extra", "analyze fruit",
    "comment on table fruit is 'tasty'", "grant select on fruit to public", "vacuum fruit",
    "create sequence seq", "select nextval('seq'), nextval('seq')", "select currval('seq')", "drop sequence seq",
    "merge into log using (select 'm' as w) s on log.what = s.w when not matched then insert (what) values (s.w)",
    "delete from log", "refresh materialized view none", "reindex table log", "drop view if exists none",
]

SETTINGS = [
    "set timezone to 'Asia/Shanghai'", "show timezone", "select timestamptz '2026-01-01 00:00+00'", "reset timezone",
    "show timezone", "set datestyle to german", "select date '2026-02-03'", "reset datestyle",
    "set intervalstyle = iso_8601", "select interval '1 day 2 hours'", "reset intervalstyle",
    "set client_encoding to latin1", "select 'é'", "set client_encoding to utf8",
    "set application_name to 'differ test'", "show application_name", "set application_name to 'it''s \\ odd'",
    "show application_name", "reset application_name", "set search_path to differ, public", "show search_path",
    "set work_mem to '5MB'", "show work_mem", "set local work_mem to '6MB'", "show work_mem", "reset work_mem",
    "set my.own = 'x y'", "show my.own", "select set_config('my.own', 'z', false)", "show my.own",
    "set standard_conforming_strings to off", "select 'a\\tb'", "set standard_conforming_strings to on",
    "set session characteristics as transaction isolation level serializable", "show transaction_isolation",
    "set session characteristics as transaction isolation level read committed",
    "set time zone 'UTC'", "set names 'utf8'", "set extra_float_digits = 0", "select 0.1::float8", "reset extra_float_digits",
    "set default_transaction_read_only to on", "insert into log(what) values ('no')",
    "set default_transaction_read_only to off", "set role none", "set bytea_output to escape",
    "select '\\x4142'::bytea", "reset bytea_output", "set statement_timeout to '10ms'", "select pg_sleep(1)",
    "reset statement_timeout", "reset all", "set search_path to differ", "show all_nothing",
]

TRANSACTIONS = {
    "commit": ["begin", "select 1", "commit"],
    "rollback": ["begin", "insert into log(what) values ('gone')", "rollback", "select count(*) from log where what = 'gone'"],
    "failed": ["begin", "select 1/0", "select 2", "commit", "select 3"],
    "failed rollback": ["begin", "select 1", "select bad", "rollback", "select 4"],
    "empty": ["begin", "commit", "begin", "rollback", "begin", "end", "begin", "abort"],
    "twice": ["begin", "begin", "select 1", "commit", "commit"],
    "without": ["commit", "rollback", "end", "abort"],
    "savepoints": ["begin", "savepoint a", "select 1/0", "rollback to a", "select 5", "release a", "commit"],
    "savepoint first": ["begin", "savepoint a", "savepoint b", "rollback to savepoint a", "rollback"],
    "options": ["begin isolation level serializable read only", "show transaction_isolation", "insert into log(what) values ('x')", "rollback"],
    "start": ["start transaction", "select 1", "commit work"],
    "start options": ["start transaction isolation level repeatable read, read write", "show transaction_isolation", "rollback transaction"],
    "bad options": ["begin isolation level none", "select 1", "rollback"],
    "deferred constraint": ["begin", "insert into child values (999)", "commit", "select 1"],
    "set local": ["begin", "set local timezone to 'PRC'", "show timezone", "commit", "show timezone"],
    "set rolled back": ["begin", "set timezone to 'PRC'", "rollback", "show timezone"],
    "set committed": ["begin", "set timezone to 'PRC'", "commit", "show timezone", "reset timezone"],
    "search path rolled back": ["begin", "set search_path to public", "rollback", "show search_path"],
    "multi": ["begin; select 1; commit", "begin; select 1/0; commit", "rollback", "select 1; begin; select 2", "commit; select 3"],
    "end; select": ["begin", "end; select * from fruit order by 1 limit 2"],
    "chain": ["begin isolation level serializable", "select 1", "commit and chain", "show transaction_isolation", "rollback and chain", "commit"],
    "read only": ["begin read only", "update fruit set price = 0", "rollback"],
    "vacuum inside": ["begin", "vacuum fruit", "rollback"],
    "prepared two phase": ["begin", "prepare transaction 'x'", "rollback", "rollback prepared 'x'"],
    "case and space": ["  BeGiN  ;  ", "SELECT 1 ;", " COMMIT ; "],
    "comments": ["/* hi */ begin -- there", "select 1", "/* bye */ commit"],
    "ddl": ["begin", "create table tx_made(i int)", "insert into tx_made values (1)", "rollback", "select to_regclass('tx_made')"],
    "set transaction": ["begin", "set transaction isolation level repeatable read", "show transaction_isolation", "commit"],
    "transaction read write late": ["begin read only", "set transaction read write", "commit"],
    "procedure inside": ["begin", "call twice()", "rollback"],
    "now stands still": ["begin", "select now() = now()", "commit"],
    "lock": ["begin", "lock table fruit in share mode", "commit"],
    "error in begin string": ["begin; selec", "select 1", "rollback"],
}

CURSORS = {
    "declare": ["begin", "declare c cursor for select id from fruit order by id", "fetch 3 from c", "fetch backward 1 from c", "move 2 in c", "fetch all from c", "close c", "commit"],
    "scroll": ["begin", "declare c scroll cursor for select id from fruit order by id", "fetch last from c", "fetch first from c", "fetch absolute 5 from c", "commit"],
    "outside": ["declare c cursor for select 1"],
    "hold": ["begin", "declare h cursor with hold for select id from fruit order by id", "commit", "fetch 2 from h", "close h"],
    "binary": ["begin", "declare c binary cursor for select id from fruit order by id", "fetch 1 from c", "commit"],
    "gone after": ["begin", "declare c cursor for select 1", "commit", "fetch 1 from c"],
    "error inside": ["begin", "declare c cursor for select 1/0", "fetch 1 from c", "fetch 1 from c", "rollback"],
    "where current of": ["begin", "declare c cursor for select * from fruit order by id for update", "fetch 1 from c", "update fruit set price = 1.25 where current of c", "commit"],
}

SESSION_STATE = {
    "sql prepare": ["prepare s(int) as select $1 + 1", "execute s(1)", "execute s('x')", "prepare s as select 1", "deallocate s", "execute s(1)"],
    "temporary table": ["create temp table tt(i int)", "insert into tt values (1)", "select * from tt", "drop table tt"],
    "temporary on commit": ["begin", "create temp table tt(i int) on commit drop", "insert into tt values (1)", "select * from tt", "commit", "select * from tt"],
    "listen": ["listen chan", "notify chan, 'hello'", "select 1", "unlisten chan", "notify chan", "unlisten *"],
    "advisory": ["select pg_advisory_lock(7)", "select pg_advisory_unlock(7)", "select pg_advisory_unlock(7)"],
    "discard": ["create temp table tt(i int)", "discard temp", "select * from tt", "discard plans", "discard sequences"],
    "reset role": ["set role app", "select current_user", "reset role", "select current_user"],
    "do with temp": ["do $$ begin create temp table dt(i int); end $$", "select count(*) from dt", "drop table dt"],
}

COPY_DATA = b"1\tone\n2\ttwo\n"

COPIES = {
    "out": [(query("copy (select id, name from fruit order by id) to stdout"), 1)],
    "out csv header": [(query("copy (select * from fruit order by id) to stdout csv header"), 1)],
    "out binary": [(query("copy (select id from fruit order by id limit 3) to stdout binary"), 1)],
    "out nothing": [(query("copy (select 1 where false) to stdout"), 1)],
    "out then select": [(query("copy (select 1) to stdout; select 2"), 1)],
    "out large": [(query("copy (select repeat('x', 1000) from generate_series(1, 300)) to stdout"), 1)],
    "in": [(query("begin; create table ci(a int, b text)"), 1), (query("copy ci from stdin"), 0),
           (message(b"d", COPY_DATA) + message(b"c"), 1), (query("select * from ci order by a"), 1), (query("rollback"), 1)],
    "in pipelined": [(query("copy log(what) from stdin") + message(b"d", b"x\n") + message(b"c"), 1), (query("delete from log"), 1)],
    "in failed by client": [(query("copy log(what) from stdin"), 0), (message(b"d", b"x\n") + message(b"f", b"changed my mind\0"), 1), (query("select count(*) from log"), 1)],
    "in bad data": [(query("copy fruit from stdin"), 0), (message(b"d", b"not a number\n") + message(b"d", b"51\tx\t1\t2026-01-01\n") + message(b"c"), 1), (query("select 1"), 1)],
    "in odd pieces": [(query("copy log(what) from stdin"), 0), (b"".join(message(b"d", bytes([c])) for c in b"a\nbb\nccc\n") + message(b"c"), 1), (query("delete from log"), 1)],
    "in empty": [(query("copy log(what) from stdin"), 0), (message(b"c"), 1)],
    "in with sync and flush": [(query("copy log(what) from stdin"), 0), (message(b"d", b"x\n") + sync() + flush() + message(b"c"), 1), (query("delete from log"), 1)],
    "in inside transaction failed": [(query("begin"), 1), (query("copy fruit from stdin"), 0), (message(b"d", b"bad\n") + message(b"c"), 1), (query("select 1"), 1), (query("rollback"), 1)],
    "in first of transaction": [(query("begin"), 1), (query("copy log(what) from stdin"), 0), (message(b"d", b"q\n") + message(b"c"), 1), (query("rollback"), 1)],
    "in after error": [(query("select 1/0") + query("copy log(what) from stdin") + message(b"d", b"x\n") + message(b"c"), 2), (query("delete from log"), 1)],
    "in extended": [(parse("", "copy log(what) from stdin") + bind("", "") + execute() + flush(), 0), (message(b"d", b"x\n") + message(b"c") + sync(), 1), (query("delete from log"), 1)],
    "out extended": [(parse("", "copy (select 1) to stdout") + bind("", "") + describe("P", "") + execute() + sync(), 1)],
    "leftovers": [(message(b"d", b"x") + message(b"c") + message(b"f", b"y\0") + query("select 1"), 1)],
    "in large": [(query("copy log(what) from stdin"), 0), (b"".join(message(b"d", b"w" * 70000 + b"\n") for _ in range(5)) + message(b"c"), 1), (query("select count(*), sum(length(what)) from log"), 1), (query("delete from log"), 1)],
}

EXTENDED = {
    "unnamed": run("select 1"),
    "parameters": run("select $1::int + 1, $2::text", (41, "x")),
    "typed parameters": run("select $1 + 1", (41,), types=(23,)),
    "null parameter": run("select $1::text is null", (None,)),
    "binary result": run("select 1::int4, 'x'::text", results=(1,)),
    "describe statement": p(parse("s", "select $1::int as a, $2::text as b"), describe("S", "s"), sync()) + p(close("S", "s"), sync()),
    "describe no data": p(parse("s", "insert into log(what) values ($1)"), describe("S", "s"), close("S", "s"), sync()),
    "named twice": p(parse("s", "select 1"), parse("s", "select 2"), sync()) + p(close("S", "s"), sync()),
    "named reused": p(parse("s", "select $1::int"), sync()) + p(bind("", "s", (1,)), execute(), sync()) + p(bind("", "s", (2,)), execute(), sync()) + p(close("S", "s"), sync()),
    "bind unknown": p(bind("", "never"), execute(), sync()),
    "execute unknown portal": p(execute("never"), sync()),
    "describe unknown": p(describe("S", "never"), sync()) + p(describe("P", "never"), sync()),
    "close unknown": p(close("S", "never"), close("P", "never"), sync()),
    "row limit": p(query("begin"), ready=1) + p(parse("", "select id from fruit order by id"), bind("c", ""), execute("c", 2), sync()) + p(execute("c", 3), execute("c"), sync()) + p(query("commit")),
    "row limit without transaction": p(parse("", "select id from fruit order by id"), bind("", ""), execute("", 2), sync()) + p(execute("", 3), sync()),
    "flush": p(parse("", "select 1"), bind("", ""), execute(), flush(), sync()),
    "syntax error": run("selec 1") + run("select 1"),
    "error skips to sync": p(parse("", "select 1/0"), bind("", ""), execute(), parse("", "select 1"), bind("", ""), execute(), sync()) + run("select 2"),
    "error in bind": run("select $1::int", ("x",)) + run("select 3"),
    "too few parameters": run("select $1::int, $2::int", (1,)),
    "too many parameters": run("select 1", (1,)),
    "query after error without sync": p(parse("", "selec"), query("select 1"), sync()),
    "two syncs": p(sync(), sync(), ready=2),
    "sync alone": p(sync()),
    "empty query": run(""),
    "multi statement": p(parse("", "select 1; select 2"), sync()),
    "begin extended": run("begin") + run("select 1") + run("commit"),
    "begin simple then extended": q("begin") + run("select 1") + run("select 1/0") + run("select 2") + run("rollback"),
    "begin simple, named": q("begin") + p(parse("s", "select 4"), bind("", "s"), execute(), sync()) + q("commit") + p(close("S", "s"), sync()),
    "begin and bind of nothing": q("begin") + p(bind("", ""), execute(), sync()) + q("rollback"),
    "begin and portal of nothing": q("begin") + p(describe("P", ""), sync()) + q("rollback"),
    "one batch transaction": p(parse("", "begin"), bind("", ""), execute(), parse("", "select 1"), bind("", ""), execute(), sync()) + q("commit"),
    "implicit transaction": p(parse("", "insert into log(what) values ('i')"), bind("", ""), execute(), parse("", "select 1/0"), bind("", ""), execute(), sync()) + q("select count(*) from log where what = 'i'"),
    "pipeline of batches": p(parse("", "select 1"), bind("", ""), execute(), sync(), parse("", "select 2"), bind("", ""), execute(), sync(), ready=2),
    "pipeline with failure": p(parse("", "select 1/0"), bind("", ""), execute(), sync(), parse("", "select 2"), bind("", ""), execute(), sync(), ready=2),
    "simple pipeline": p(query("select 1"), query("select 1/0"), query("select 2"), ready=3),
    "mixed pipeline": p(query("select 1"), parse("", "select 2"), bind("", ""), execute(), sync(), query("select 3"), ready=3),
    "set extended": run("set timezone to 'PRC'") + q("show timezone") + run("reset timezone") + q("show timezone"),
    "notice extended": run("select shout($1)", ("x",)),
    "write returning": run("insert into log(what) values ($1) returning what", ("r",)) + run("delete from log"),
    "deferred constraint at sync": run("insert into child values (999)") + run("select 1"),
    "portal survives": q("begin") + p(parse("s", "select id from fruit order by id"), bind("p", "s"), sync()) + p(execute("p", 1), sync()) + p(execute("p", 1), close("P", "p"), sync()) + q("commit") + p(close("S", "s"), sync()),
    "portal ends with transaction": p(parse("s", "select 1"), bind("p", "s"), sync()) + p(execute("p"), sync()) + p(close("S", "s"), sync()),
    "simple query drops unnamed": p(parse("", "select 5"), sync()) + q("select 6") + p(bind("", ""), execute(), sync()),
    "simple query keeps named": p(parse("s", "select 5"), sync()) + q("select 6") + p(bind("", "s"), execute(), sync()) + p(close("S", "s"), sync()),
    "in failed transaction": q("begin", "select 1/0") + run("select 1") + p(parse("s", "select 1"), sync()) + run("rollback"),
    "discard all and after": p(parse("s", "select 7"), sync()) + q("discard all", "set search_path to differ") + p(bind("", "s"), execute(), sync()),
    "deallocate all": p(parse("s", "select 7"), sync()) + q("deallocate all") + p(bind("", "s"), execute(), sync()),
    "vacuum in batch": run("vacuum fruit"),
    "call": run("call twice()") + q("delete from log"),
    "wide result": run("select * from wide order by a nulls last"),
    "large parameter": run("select length($1)", ("v" * 100000,)),
    "large statement": run("select '" + "w" * 100000 + "'"),
    "many statements": sum((p(parse(f"s{i}", f"select {i}"), bind("", f"s{i}"), execute(), sync()) for i in range(30)), []) + p(*[close("S", f"s{i}") for i in range(30)], sync()),
}

FUNCTION_CALLS = {
    # Fast-path calls: int4pl(int4, int4) by its fixed OID, text and binary, and one that fails.
    "function call": [(message(b"F", b"\0\0\0\xb1" + b"\0\1\0\0" + b"\0\2" + b"\0\0\0\2" + b"41" + b"\0\0\0\1" + b"1" + b"\0\0"), 1)],
    "function call in transaction": q("begin") + [(message(b"F", b"\0\0\0\xb1" + b"\0\1\0\0" + b"\0\2" + b"\0\0\0\2" + b"41" + b"\0\0\0\1" + b"1" + b"\0\0"), 1)] + q("commit"),
    "function call unknown": [(message(b"F", b"\x7f\0\0\1" + b"\0\0" + b"\0\0" + b"\0\0"), 1)],
}

# Scripts that make tables show their OIDs in RowDescription, which no two runs share.
MASK_OIDS = {"in", "temporary table", "temporary on commit", "ddl", "writes", "do with temp", "sql prepare"}


def scripts():
    """{name: steps}"""
    found = {"selects": q(*SELECTS), "errors": q(*ERRORS), "writes": q(*WRITES), "settings": q(*SETTINGS)}
    for group in (TRANSACTIONS, CURSORS, SESSION_STATE):
        for name, statements in group.items():
            found[name] = q(*statements)
    for group in (COPIES, EXTENDED, FUNCTION_CALLS):
        found.update(group)
    return found
