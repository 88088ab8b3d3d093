#include "dwspool/retry/facts.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/sql/statement.h"

namespace dwspool::retry {
namespace {

void append_names(std::string& out, std::string_view what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  out += ' ';
  out += what;
  for (const std::string& name : names) out += (&name == names.data() ? "=" : ",") + name;
}

// "read ordered f=... r=..." of each statement, with "; " between them.
std::string describe(const TextFacts& facts) {
  std::string out = facts.understood ? "" : "guess: ";
  for (const StatementFacts& each : facts.statements) {
    if (&each != facts.statements.data()) out += "; ";
    out += to_string(each.nature);
    if (each.ends_transaction) out += " ends";
    if (each.begins_transaction) out += " begins";
    if (each.ordered) out += " ordered";
    if (each.external) out += " external";
    if (each.session_effect) out += " session";
    append_names(out, "f", each.functions);
    append_names(out, "r", each.relations);
  }
  return out;
}
std::string facts_of(std::string_view sql) {
  return describe(understand(sql));
}

struct Row {
  std::string_view sql;
  std::string_view facts;
};
template <std::size_t Count>
void check_all(const Row (&rows)[Count]) {
  for (const Row& row : rows) {
    CAPTURE(row.sql);
    const TextFacts facts = understand(row.sql);
    CHECK(describe(facts) == row.facts);
    // What decides in a hurry must not have missed it.
    const sql::Effects seen = sql::recognize(row.sql).effects;
    if (facts.ends_transaction()) CHECK(seen.has(sql::Effect::ends_transaction));
  }
}

TEST_CASE("control of transactions") {
  check_all({
      {"begin", "control begins ordered"},
      {"BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY", "control begins ordered"},
      {"start transaction read write", "control begins ordered"},
      {"commit", "control ends ordered"},
      {"end work", "control ends ordered"},
      {"rollback", "control ends ordered"},
      {"abort", "control ends ordered"},
      {"/* a */ commit and chain -- b", "control ends begins ordered"},
      {"savepoint s", "control ordered"},
      {"release s", "control ordered"},
      {"rollback to savepoint s", "control ordered"},
      {"prepare transaction 'x'", "not_transactional ends ordered"},
      {"commit prepared 'x'", "not_transactional ends ordered"},
      {"rollback prepared 'x'", "not_transactional ends ordered"},
      {"end; select a from t", "control ends ordered; read r=t"},
      {"begin; insert into t values (1); commit",
       "control begins ordered; write ordered; control ends ordered"},
  });
}

TEST_CASE("settings only") {
  check_all({
      {"", ""},
      {" ;; -- nothing\n", ""},
      {"show server_version", "light ordered"},
      {"set search_path to a, b", "light ordered"},
      {"set local x.y = 1", "light ordered"},
      {"set session characteristics as transaction read only", "light ordered"},
      {"set transaction isolation level repeatable read", "light ordered"},
      {"set role bob", "light ordered"},
      {"reset all", "light ordered"},
      {"set transaction snapshot '0001'", "write ordered external"},
      {"set constraints all deferred", "write ordered"},
  });
}

TEST_CASE("reads, and what they read and call") {
  check_all({
      {"select 1", "read ordered"},
      {"select a from t", "read r=t"},
      {"select a from t order by a", "read ordered r=t"},
      {"(select a from t) order by 1", "read ordered r=t"},
      {"table s.\"T x\"", "read r=s.\"T x\""},
      {"values (1)", "read ordered"},
      {"values (1), (2)", "read"},
      {"select Lower(a), pg_catalog.upper(b), now(), current_user from T", "read r=t"},
      {"select random(), clock_timestamp(), pg_sleep(1)", "read ordered"},
      {"select f(1), s.g(), \"H\"(2), f(3)", "read f=\"H\",f,s.g"},
      {"select a from t, s.v join w on f(a) where exists (select g(x) from u)",
       "read f=f,g r=s.v,t,u,w"},
      {"select * from f(1) with ordinality, rows from (g(), h())", "read f=f,g,h"},
      {"select * from t tablesample system (1)", "read f=system r=t"},
      {"select a operator(s.+) b from t", "read f=s.\"+\" r=t"},
      {"select a operator(pg_catalog.+) b from t", "read r=t"},
      {"select a from t union all select b from u", "read r=t,u"},
      {"select a from t union select b from u order by 1", "read ordered r=t,u"},
      {"explain select a from t", "read ordered r=t"},
      {"explain delete from t", "read ordered"},
      {"explain (costs off, analyze) update t set a = 1", "write ordered"},
      {"explain analyze select a from t", "read ordered r=t"},
  });
}

TEST_CASE("names of WITH are no tables where they are in force") {
  check_all({
      {"with x as (select * from t) select * from x", "read r=t"},
      {"with x as (select * from x) select * from x", "read r=x"},
      {"with recursive x as (select 1 union all select * from x) select * from x", "read"},
      {"with x as (select 1), y as (select * from x) select * from y, s.x", "read r=s.x"},
      {"with y as (select * from x), x as (select 1) select * from y", "read r=x"},
      {"select * from x where a in (with x as (select 1) select * from x)", "read r=x"},
      {"(with x as (select 1) select * from x) union all select * from x", "read r=x"},
      {"with x as (select 1) (select * from x union select * from x) order by 1", "read ordered"},
      {"with x as (delete from t returning *) select * from x", "write"},
      {"with x as (select 1) insert into t select * from x, u", "write ordered r=u"},
  });
}

TEST_CASE("order, or at most one row") {
  check_all({
      {"select count(*) from t", "read ordered r=t"},
      {"select coalesce(max(a), 0) + 1, min(b) from t where c = 1", "read ordered r=t"},
      {"select count(*) from t group by a", "read r=t"},
      {"select count(*) over () from t", "read r=t"},
      {"select sum(count(*)) over () from t", "read ordered r=t"},
      {"select (select count(*) from u) from t", "read r=t,u"},
      {"select count(*), f(1) from t", "read f=f r=t"},
      {"select count(*), generate_series(1, 2) from t", "read r=t"},
      {"select unnest(a)", "read"},
      {"select f(1)", "read f=f"},
      {"select a from t limit 1", "read ordered r=t"},
      {"select a from t limit 0", "read ordered r=t"},
      {"select a from t limit 2", "read r=t"},
      {"select a from t limit $1", "read r=t"},
      {"select a from t limit null", "read r=t"},
      {"select 1 union select 2", "read"},
      {"insert into t values (1) returning a", "write ordered"},
      {"insert into t default values returning a", "write ordered"},
      {"insert into t values (1), (2) returning a", "write"},
      {"insert into t values (generate_series(1, 2)) returning a", "write"},
      {"insert into t select a from u returning a", "write r=u"},
      {"update t set a = 1 returning a", "write"},
      {"delete from t returning a", "write"},
      {"delete from t", "write ordered"},
  });
}

TEST_CASE("writes and DDL") {
  check_all({
      {"insert into t values (f(1))", "write ordered f=f"},
      {"insert into t select * from u on conflict do nothing", "write ordered r=u"},
      {"update t set a = 1 from u where t.b = u.b", "write ordered r=u"},
      {"merge into t using u on t.a = u.a when matched then delete", "write ordered r=u"},
      {"select a into b from t", "write r=t"},
      {"select a from t for update", "write r=t"},
      {"select * from (select a from t for share) x", "write r=t"},
      {"create table t (a int default f(1))", "write ordered f=f"},
      {"create table t as select * from u", "write ordered r=u"},
      {"create view v as select * from u", "write ordered r=u"},
      {"create index i on t (a)", "write ordered"},
      {"truncate t", "write ordered r=t"},
      {"lock table t", "write ordered r=t"},
      {"analyze t", "write ordered"},
      {"grant select on t to bob", "write ordered r=t"},
      {"notify x", "write ordered"},
      {"refresh materialized view v", "write ordered"},
  });
}

TEST_CASE("what no transaction holds together") {
  check_all({
      {"vacuum t", "not_transactional ordered"},
      {"create database d", "not_transactional ordered"},
      {"drop database d", "not_transactional ordered"},
      {"create index concurrently i on t (a)", "not_transactional ordered"},
      {"drop index concurrently i", "not_transactional ordered"},
      {"alter table t detach partition p concurrently", "not_transactional ordered"},
      {"reindex table t", "not_transactional ordered"},
      {"alter system set a = 1", "not_transactional ordered"},
      {"call p(1)", "not_transactional"},
      {"do $$ begin commit; end $$", "not_transactional ordered"},
      {"discard all", "not_transactional ordered session"},
      {"load 'x'", "not_transactional ordered session"},
      {"checkpoint", "not_transactional ordered"},
  });
}

TEST_CASE("COPY") {
  check_all({
      {"copy t from stdin", "copy_in ordered"},
      {"copy t (a) to stdout with csv", "copy_out r=t"},
      {"copy (select f(a) from t order by a) to stdout", "copy_out ordered f=f r=t"},
      {"copy (delete from t returning a) to stdout", "write"},
      {"copy t from '/a'", "write ordered external"},
      {"copy t to program 'x'", "write external r=t"},
  });
}

TEST_CASE("cursors") {
  check_all({
      {"declare c cursor for select a from t", "cursor r=t"},
      {"declare c cursor with hold for select a from t order by a", "cursor ordered session r=t"},
      {"fetch 10 from c", "cursor"},
      {"move 10 in c", "cursor"},
      {"close c", "cursor ordered"},
  });
}

TEST_CASE("effects that ROLLBACK does not undo") {
  check_all({
      {"select dblink_exec('a', 'b')", "read external f=dblink_exec"},
      {"select * from dblink('a', 'b') as x(y int)", "read external f=dblink"},
      {"select public.dblink('a', 'b')", "read external f=public.dblink"},
      {"select lo_import('/a')", "read external f=lo_import"},
      {"select pg_export_snapshot()", "read external f=pg_export_snapshot"},
      {"select pg_catalog.pg_terminate_backend(1)", "read external f=pg_terminate_backend"},
      {"select http_get('a')", "read external f=http_get"},
      {"select utl_file.put_line(1)", "read external f=utl_file.put_line"},
      {"insert into t select pg_logical_emit_message(false, 'a', 'b')",
       "write ordered external f=pg_logical_emit_message"},
  });
}

TEST_CASE("what remains in the session") {
  check_all({
      {"select nextval('s')", "read session f=nextval"},
      {"insert into t values (nextval('s'))", "write ordered session f=nextval"},
      {"select pg_advisory_lock(1)", "read session f=pg_advisory_lock"},
      {"select pg_advisory_xact_lock(1)", "read f=pg_advisory_xact_lock"},
      {"select set_config('a', 'b', false)", "read session f=set_config"},
      {"create temp table x (a int)", "write ordered session"},
      {"select a into temp x from t", "write session r=t"},
      {"select a from pg_temp.x", "read session r=pg_temp.x"},
      {"listen x", "write ordered session"},
      {"prepare p as select 1", "write ordered session"},
      {"execute p(1)", "unknown session"},
      {"explain execute p(1)", "unknown ordered"},
      {"deallocate p", "write ordered session"},
  });
}

TEST_CASE("what PostgreSQL does not know is guessed, and for the worse") {
  check_all({
      {"select a from t, u where t.a = u.a(+)", "guess: write f=u.a"},
      {"select nvl(a, 1), lower(b) from t minus select 2 from u", "guess: write f=nvl"},
      {"insert into t (a) values (1) wrong", "guess: write"},
      {"insert into t (a) values (f(1), pg_catalog.now()) wrong", "guess: write f=f"},
      {"create table t (a varchar2(10)) distribute by hash(a) partition by range (a) "
       "(partition p values less than (10))",
       "guess: write"},
      {"create unlogged table s.t (a int) distribute by replication", "guess: write"},
      {"create temp table t (a int) distribute by hash (a)", "guess: write session"},
      {"select dblink('a', 'b') from t, u where t.a = u.a (+)",
       "guess: write external f=dblink,u.a"},
      {"select a from t join f(1) on g(2) wrong", "guess: write f=f,g"},
      {"select nextval('s') wrong wrong", "guess: write session f=nextval"},
      {"begin insert into t values (1); end;", "guess: unknown ends begins"},
      {"select 1 wrong wrong; select 2", "guess: unknown"},
      {"select 1 wrong wrong; commit", "guess: unknown ends"},
      {"create index concurrently i on t(a) wrong", "guess: unknown f=t"},
      {"drop table concurrently t wrong", "guess: unknown"},
      {"explain performance delete from t", "guess: unknown"},
      {"vacuum wrong wrong", "guess: unknown"},
      {"execute direct on (dn_1) 'select 1'", "guess: unknown session"},
      {"select 'not closed", "guess: unknown session"},
      {"alter session set a = 1", "guess: unknown session"},
  });
}

TEST_CASE("texts that the server reads otherwise are not given to the parser") {
  const std::string_view tricky = R"(select 'a\'' ; commit; select ''')";
  CHECK(describe(understand(tricky, true)) == "read ordered");
  CHECK(describe(understand(tricky, false)) == "guess: unknown ends session");
  CHECK(describe(understand(R"(select 'a\\')", false)) == "guess: write");
  CHECK(describe(understand(R"(select 'a\\')", true)) == "read ordered");
  CHECK(describe(understand("select 'a'", false)) == "read ordered");
  CHECK(describe(understand("select '\x83\x41' from t", true, false)) == "guess: write");
  CHECK(describe(understand("select 'a' from t", true, false)) == "read r=t");
  CHECK(describe(understand(std::string_view("select 1\0; commit", 17))).starts_with("guess"));
}

TEST_CASE("what a text says is what its statements say") {
  CHECK(understand("").only_reads());
  CHECK(understand("").only_light());
  CHECK(understand("").single());
  CHECK(understand("select a from t; show x").only_reads());
  CHECK_FALSE(understand("select a from t; show x").only_light());
  CHECK(understand("set a to 1; show x").only_light());
  CHECK_FALSE(understand("select 1; select 2").single());
  for (const char* const text :
       {"select 1; insert into t values (1)", "select nextval('s')", "select lo_import('/a')",
        "select 1; commit", "copy t to stdout", "select 1 wrong wrong", "fetch c", "vacuum"}) {
    CAPTURE(text);
    CHECK_FALSE(understand(text).only_reads());
    CHECK_FALSE(understand(text).only_light());
  }
  CHECK(understand("select 1; commit and chain").ends_transaction());
  CHECK(understand("select 1; commit and chain").begins_transaction());
  CHECK_FALSE(understand("select 1; savepoint s").ends_transaction());
  CHECK_FALSE(understand("select 1; savepoint s").begins_transaction());
  CHECK(understand("select 1; select dblink('a')").external());
  CHECK(understand("select 1; listen x").session_effect());
  CHECK_FALSE(understand("select 1").external());
  CHECK_FALSE(understand("select 1").session_effect());
}

std::string repeated(std::string_view part, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += part;
  return text;
}

TEST_CASE("long and deep texts end in a guess, not in a crash") {
  for (const std::string_view part : {"+1", "::int", " union select 1", "[1]", "."}) {
    CAPTURE(part);
    CHECK(understand("select 1" + repeated(part, 10)).statements.size() == 1);
    CHECK_FALSE(understand("select 1" + repeated(part, 5000)).understood);
    CHECK_FALSE(understand("select 1" + repeated(part, 100000)).understood);
  }
  CHECK_FALSE(understand("select " + repeated("(", 60000)).understood);
  CHECK_FALSE(understand("select " + repeated("(", 3000) + '1' + repeated(")", 3000)).understood);
  CHECK_FALSE(understand("select " + repeated("not ", 30000) + "true").understood);
  CHECK_FALSE(understand(repeated("select (", 9000)).understood);
  // Right below one limit or the other, and right above.
  CHECK(facts_of("select 1" + repeated("+1", 990)) == "read ordered");
  CHECK_FALSE(understand("select 1" + repeated("+1", 1010)).understood);
  CHECK(understand(repeated("select (", 490) + "1" + repeated(")", 490)).understood);
  CHECK_FALSE(understand(repeated("select (", 510) + "1" + repeated(")", 510)).understood);

  // What is long but not deep is understood up to its limit.
  CHECK(facts_of("select 1" + repeated(", 1", 20000)) == "read ordered");
  CHECK(facts_of("select a from t where a = 1" + repeated(" or a = 1", 10000)) == "read r=t");
  CHECK(facts_of("insert into t values (1, 'a')" + repeated(", (1, 'a')", 5000)) ==
        "write ordered");
  CHECK(facts_of("insert into t values (1, 'a')" + repeated(", (1, 'a')", 20000)) ==
        "guess: write");
  CHECK(facts_of("insert into t values (1, 'a')" + repeated(", (1, 'a')", 200000)) ==
        "guess: unknown");
}

TEST_CASE("threads do not share anything") {
  std::vector<std::thread> threads;
  std::vector<int> right(4, 0);
  for (int& count : right) {
    threads.emplace_back([&count] {
      for (int i = 0; i < 50; ++i) {
        if (facts_of("select f(a) from t order by a") == "read ordered f=f r=t") ++count;
        if (facts_of("select wrong wrong wrong") == "guess: write") ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == std::vector<int>(4, 100));
}

}  // namespace
}  // namespace dwspool::retry
