#include "dwspool/sql/statement.h"

#include <initializer_list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/sql/quote.h"

namespace dwspool::sql {
namespace {

void all_are(StatementKind kind, std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) {
    CAPTURE(text);
    const Statement statement = recognize(text);
    CHECK(static_cast<int>(statement.kind) == static_cast<int>(kind));
    CHECK(statement.single);
  }
}

void all_have(Effect effect, std::initializer_list<std::string_view> texts, bool wanted = true) {
  for (const std::string_view text : texts) {
    CAPTURE(text);
    CHECK(recognize(text).effects.has(effect) == wanted);
  }
}

// The plain changes of a text, in short.
std::string changes(std::string_view text) {
  std::string list;
  for (const PlainChange& change : recognize(text).changes) {
    if (!list.empty()) list += ' ';
    if (change.kind == StatementKind::set) {
      list.append(change.name).append("=").append(change.value);
    } else if (change.kind == StatementKind::reset) {
      list.append("reset ").append(change.name);
    } else {
      list += "reset all";
    }
  }
  return list;
}

}  // namespace

TEST_CASE("statements that are known by their form") {
  all_are(StatementKind::empty, {"", ";", " ; ;; ", "-- x", "/* ; */"});
  all_are(StatementKind::begin,
          {"begin", "BEGIN;", "begin work", "begin transaction", "start transaction",
           "begin isolation level read committed", "begin isolation level repeatable read",
           "begin isolation level serializable, read only, not deferrable",
           "start transaction read write deferrable", "/**/begin/**/;/**/"});
  all_are(StatementKind::commit,
          {"commit", "COMMIT;", "commit work", "end", "end transaction", "commit and no chain"});
  all_are(StatementKind::rollback, {"rollback", "abort;", "rollback work", "ABORT TRANSACTION"});
  all_are(StatementKind::discard_all, {"discard all", "DISCARD/**/ALL ;"});
  all_are(StatementKind::show, {"show timezone", "SHOW ALL;"});
  all_are(StatementKind::other,
          {"select 1", "begin x", "start", "begin isolation", "begin read only,",
           "commit prepared 'x'", "discard temp", "discard all x", "commit and chain",
           "rollback to a", "rollback and chain", "beginning", "\"begin\"", "set local a to b",
           "set transaction isolation level serializable", "reset transaction x"});
}

TEST_CASE("SET and RESET in their plain forms") {
  const auto set = [](std::string_view text) {
    const Statement statement = recognize(text);
    REQUIRE(statement.is_only(StatementKind::set));
    CHECK_FALSE(statement.effects.any());
    return changes(text);
  };
  CHECK(set("set a to b") == "a=b");
  CHECK(set("SET SESSION a = 'x' ;") == "a='x'");
  CHECK(set("set \"A b\".c to 1, 2 , 'x'") == "\"A b\".c=1, 2 , 'x'");
  CHECK(set("set search_path to \"$user\",public -- why") == "search_path=\"$user\",public");
  CHECK(recognize("reset a.b;").is_only(StatementKind::reset));
  CHECK(changes("reset a.b;") == "reset a.b");
  CHECK(recognize("set a to default").is_only(StatementKind::reset));
  CHECK(recognize("set a to default").changes.front().reset_by_set);
  CHECK(recognize("reset all").is_only(StatementKind::reset_all));
  CHECK(changes("reset time zone") == "reset timezone");
  CHECK(recognize("deallocate prepare \"X\"").name == "\"X\"");
}

TEST_CASE("plain changes in company are listed in order") {
  CHECK(changes("set a to b; select 1; reset c;RESET ALL") == "a=b reset c reset all");
  CHECK(changes("begin; set a to b; commit") == "a=b");
  CHECK_FALSE(recognize("set a to b; select 1").effects.has(Effect::changes_setting));
  // What may be made or not is unclear.
  CHECK(changes("begin set a to b; end;").empty());
  CHECK(changes("do $$ begin set a to b; end $$").empty());
  std::string many;
  for (int i = 0; i < 100; ++i) many += "set a to b;";
  CHECK(recognize(many).changes.size() == 64);
  CHECK(recognize(many).effects.has(Effect::changes_setting));
}

TEST_CASE("settings have many names") {
  const auto followed = [](std::string_view text) {
    const Statement statement = recognize(text);
    CAPTURE(text);
    CHECK(statement.single);
    CHECK_FALSE(statement.effects.any());
    return changes(text);
  };
  CHECK(followed("set time zone 'UTC'") == "timezone='UTC'");
  CHECK(followed("SET SESSION TIME ZONE -7") == "timezone=-7");
  CHECK(followed("set time zone local") == "reset timezone");
  CHECK(followed("set names 'utf8'") == "client_encoding='utf8'");
  CHECK(followed("set names") == "reset client_encoding");
  CHECK(followed("set schema 'x'") == "search_path='x'");
  CHECK(followed("set xml option document") == "xmloption=document");
  CHECK(followed("alter session set x = 1;") == "x=1");
  CHECK(followed("ALTER SESSION SET CURRENT_SCHEMA TO a") == "CURRENT_SCHEMA=a");
  CHECK(followed("set current_schema to a, b") == "current_schema=a, b");
  CHECK(followed("set role x") == "role=x");
  CHECK(followed("set role to 'x'") == "role='x'");
  CHECK(followed("set session role \"X\"") == "role=\"X\"");
  CHECK(followed("set role none") == "role=none");
  CHECK(followed("reset role") == "reset role");
  CHECK(followed("set session authorization x") == "session_authorization=x");
  CHECK(followed("set session authorization default") == "reset session_authorization");
  CHECK(followed("reset session authorization") == "reset session_authorization");
  const std::string characteristics = "set session characteristics as transaction ";
  CHECK(followed(characteristics + "read only") == "default_transaction_read_only=on");
  CHECK(followed(characteristics + "isolation level repeatable read") ==
        "default_transaction_isolation='repeatable read'");
  CHECK(followed(characteristics + "not deferrable") == "default_transaction_deferrable=off");
}

TEST_CASE("set_config with literals is a SET in other words") {
  CHECK(changes("select set_config('a', 'b', false)") == "a=b");
  CHECK(recognize("select set_config('a', 'b', false)").changes.front().is_literal);
  CHECK(changes("SELECT pg_catalog.set_config('search_path', '', false);") == "search_path=");
  CHECK(changes("select set_config('a', 'b', true)").empty());
  CHECK(changes("select set_config('a','b',true), set_config('c', 'd', false) as x") == "c=d");
  all_have(Effect::changes_setting,
           {"select set_config('a', 'b', false)", "select set_config('a', 'b', true); select 1"},
           false);
  all_have(Effect::changes_setting,
           {"select set_config($1, 'b', false)", "select set_config('a', 'it''s', false)",
            "select set_config('a', E'\\n', false)", "select set_config('a', 'b', x) from t",
            "select set_config('a', 'b', false) from t", "select 1, set_config('a', 'b', false)",
            "select set_config('a', 'b', false) where false",
            "select case when x then set_config('a', 'b', false) end from t",
            "do $$ begin perform set_config('a', 'b', false); end $$",
            "select * from set_config('a', 'b', false)"});
}

TEST_CASE("other ways to change settings bind the session") {
  all_have(Effect::changes_setting,
           {"set x from current", "alter session x",
            "set session characteristics as transaction read only, deferrable",
            "set session characteristics", "do $$ begin set a to b; end $$",
            "do $$ declare x int; begin if x then set a to b; else null; end if; end $$",
            "begin set a to b; end;", "set a", "set a to", "reset"});
  all_have(
      Effect::changes_setting,
      {"set a to b", "reset a", "set local a to b", "set transaction read only",
       "update t set a = 1", "set constraints all deferred", "insert into t values ('set_config')"},
      false);
}

TEST_CASE("what binds a session, wherever it stands") {
  all_have(Effect::temporary_object,
           {"create temp table t(i int)", "CREATE TEMPORARY VIEW v AS SELECT 1",
            "create local temporary table t(i int)", "create global temp table t(i int)",
            "create or replace temp view v as select 1", "select 1 into temp t",
            "create volatile temp table t(i int)", "create /* x */ temp table t(i int)",
            "create -- x\n temp table t(i int)", "create table pg_temp.t(i int)",
            "do $x$ begin create temp table t(i int); end $x$", "select 1; create temp table t()",
            "create table \"pg_temp\".t(i int)"});
  all_have(Effect::temporary_object,
           {"select temp from weather", "select 'create temp table'",
            "select \"create\".temp from x", "create table temperature(i int)"},
           false);
  all_have(Effect::advisory_lock,
           {"select pg_advisory_lock(1)", "select PG_TRY_ADVISORY_LOCK(1, 2)",
            "select pg_catalog.pg_advisory_lock_shared(1)", "select \"pg_advisory_lock\"(1)"});
  all_have(Effect::advisory_lock, {"select pg_advisory_xact_lock(1)"}, false);
  all_have(Effect::held_cursor, {"declare c cursor with hold for select 1",
                                 "begin; declare c scroll cursor WITH\nHOLD for select 1"});
  all_have(Effect::held_cursor,
           {"declare c cursor without hold for select 1", "select hold from t"}, false);
  all_have(Effect::listens, {"listen x", "select 1; LISTEN x"});
  all_have(Effect::loads_module, {"load 'x'", "select dblink_connect('x', 'y')"});
  all_have(Effect::prepares, {"prepare x as select 1", "execute x(1)"});
  all_have(Effect::sequence_state, {"select nextval('s')", "select currval('s')",
                                    "select lastval()", "select setval('s', 1)"});
  all_have(Effect::changes_identity,
           {"set role x password 'y'", "alter session set role x password 'y'", "set role",
            "set session authorization x password 'y'", "reset session"});
}

TEST_CASE("names that the configuration lists bind as well") {
  const NameSet names({"my_cache", "xml_is_good"});
  const auto binds = [&](std::string_view text) {
    return recognize(text, true, true, true, &names).effects.has(Effect::configured);
  };
  for (const char* text : {"select my_cache(1)", "SELECT a.MY_CACHE()", "select \"my_cache\"()",
                           "call xml_is_good()", "do $$ begin perform my_cache(); end $$"}) {
    CAPTURE(text);
    CHECK(binds(text));
  }
  for (const char* text : {"select my_cache2()", "select 'my_cache'", "select x -- my_cache"}) {
    CAPTURE(text);
    CHECK_FALSE(binds(text));
  }
  CHECK(recognize("select nextval('s')", true, true, true, &names)
            .effects.has(Effect::sequence_state));
  CHECK_FALSE(recognize("select my_cache(1)").effects.any());
}

TEST_CASE("what may have ended a transaction") {
  all_have(Effect::ends_transaction,
           {"commit", "end", "rollback", "abort", "prepare transaction 'x'", "commit prepared 'x'",
            "select 1; commit", "end; select 1", "commit and chain", "/* x */ commit"});
  all_have(Effect::ends_transaction,
           {"select 1", "rollback to x", "savepoint a", "select 'commit'", "select 1 as commit",
            "release a"},
           false);
  all_have(Effect::savepoint, {"savepoint a", "release a", "rollback to savepoint a"});
  // DWS: a block ends with END; that is taken for the end of a transaction, to be on the safe side.
  all_have(Effect::ends_transaction, {"begin insert into t values (1); end;"});
}

TEST_CASE("a BEGIN that says what it may do") {
  all_have(Effect::names_access_mode,
           {"begin read only", "start transaction deferrable, read write"});
  all_have(Effect::names_access_mode, {"begin", "begin isolation level serializable"}, false);
}

TEST_CASE("what takes bindings back") {
  all_have(Effect::may_free,
           {"close c", "unlisten x", "deallocate x", "drop table t", "select pg_advisory_unlock(1)",
            "select PG_ADVISORY_UNLOCK_SHARED(1)", "create temp table t(i int) on commit drop"});
  all_have(Effect::may_free, {"close all", "unlisten *", "select dropped from t", "select 1"},
           false);
  all_have(Effect::discards_all, {"discard all", "DISCARD ALL;"});
  all_have(Effect::unlistens_all, {"unlisten *"});
  all_have(Effect::deallocates_all, {"deallocate all", "deallocate prepare all"});
  all_have(Effect::closes_all, {"close all"});
  all_have(Effect::unlocks_all, {"select pg_advisory_unlock_all()"});
  all_have(Effect::discards_all, {"discard temp", "do $$ discard all $$"}, false);
}

TEST_CASE("several statements, empty ones aside") {
  CHECK(recognize("select 1;").single);
  CHECK(recognize(";;select 1;;").single);
  CHECK_FALSE(recognize("select 1; select 2").single);
  CHECK(recognize("select ';'").single);
  CHECK(recognize("select $$;$$").single);
}

TEST_CASE("what cannot be read to its end is unclear") {
  all_have(Effect::unclear, {"select 'open", "select \"open", "/* open", "select $$open"});
  CHECK(recognize("select '\xc4\\'", true, false).effects.has(Effect::unclear));
  CHECK_FALSE(recognize("select 'x\\'", true, false).effects.has(Effect::unclear));
  CHECK(hides_backslash("GBK"));
  CHECK(hides_backslash("sjis"));
  CHECK_FALSE(hides_backslash("UTF8"));
}

TEST_CASE("asked for structure only, names are not looked at but structure is") {
  const Statement statement = recognize("select nextval('s'); commit", true, true, false);
  CHECK(statement.effects.has(Effect::ends_transaction));
  CHECK_FALSE(statement.single);
  CHECK_FALSE(recognize("select nextval('s')", true, true, false).effects.any());
  CHECK(recognize("begin;", true, true, false).is_only(StatementKind::begin));
}

TEST_CASE("no text makes recognition run deep") {
  std::string blocks;
  for (int i = 0; i < 200000; ++i) blocks += "begin ";
  CHECK(recognize(blocks + "x").effects.has(Effect::unclear));
  recognize(std::string(1000000, '('));
  std::string quotes;
  for (int i = 0; i < 50; ++i) quotes += "$a" + std::to_string(i) + "$ ";
  recognize(quotes);
}

TEST_CASE("writing names and values") {
  CHECK(quote_identifier("a\"b") == "\"a\"\"b\"");
  CHECK(quote_literal("a'b") == "'a''b'");
  CHECK(quote_literal("a\\b'") == "E'a\\\\b'''");
  CHECK(identifier_of("\"A\"\"b\".C") == "A\"b.c");
  CHECK(setting_value("timezone", "UTC") == "'UTC'");
  CHECK(setting_value("SEARCH_PATH", "a, \"B c\"") == "\"a\", \"B c\"");
  CHECK(is_setting_name("a.b_c$1"));
  for (const char* bad : {"", "1a", "a b", "a.", ".a", "a\"", "a;b", "a..b"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_setting_name(bad));
  }
}

}  // namespace dwspool::sql
