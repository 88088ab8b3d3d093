#include "dwspool/retry/commit_token.h"

#include <set>

#include <doctest/doctest.h>

#include "support/session_script.h"

namespace dwspool::retry {
namespace {

using namespace std::chrono_literals;

bool written(std::string_view log) {
  return may_have_written(log, [](std::string_view name) -> std::optional<std::string> {
    if (name == "known") return "delete from t";
    return {};
  });
}
bool text_written(std::string_view text) {
  return written(testing::query("begin") + testing::query(text));
}

}  // namespace

TEST_CASE("tokens never repeat, and say when they were made") {
  TokenSource source;
  source.prefix = "0123";
  source.since_1970_at_0 = 1000s;
  const TimePoint now{2s};
  CHECK(source.next(now) == "0123/1002/1");
  std::set<std::string> all;
  for (int i = 0; i < 100; ++i) all.insert(source.next(now));
  CHECK(all.size() == 100);
  CHECK_FALSE(all.contains("0123/1002/1"));
}

TEST_CASE("the database is asked for a place for tokens until there is one, once a minute") {
  TokenSource source;
  const TimePoint now{2s};
  CHECK_FALSE(source.available(now));
  source.note_unavailable(now);
  CHECK(source.available(now + 59s) == false);
  CHECK_FALSE(source.available(now + 60s));
  source.note_available();
  CHECK(source.available(now + 24h) == true);
}

TEST_CASE("what may have written") {
  for (const char* text : {"insert into t values (1)",
                           "/* a */ UPDATE t set a = 1",
                           "truncate t",
                           "create table t ()",
                           "with a as (delete from t returning *) select * from a",
                           "select 1; delete from t",
                           "select * from t for update",
                           "select * into u from t",
                           "select 1 as a;update t set a = 1",
                           "select 'a\\', f(), '",
                           "select 1; select f()",
                           "select '",
                           "select $$a",
                           "lock t",
                           "select f()",
                           "select nextval('s')",
                           "call p()",
                           "do $$begin end$$",
                           "copy t from stdin",
                           "select ((",
                           "vacuum"}) {
    CAPTURE(text);
    CHECK(text_written(text));
  }
  for (const char* text : {"select * from t", "select now(), count(*) from t", "show all",
                           "set work_mem = '1MB'", "savepoint a", "/* f() */ SELECT a FROM t;",
                           "select 'f() for into' || \"for\" from t where a = $1 -- f()",
                           "fetch 1 from c", "values (1)"}) {
    CAPTURE(text);
    CHECK_FALSE(text_written(text));
  }
  using testing::query;
  CHECK_FALSE(written(query("begin read only") + query("select f()")));
  CHECK_FALSE(written(query("begin") + query("set transaction read only") + query("select f()")));
  CHECK(written(query("begin read only") + query("insert into t values (1)")));
}

TEST_CASE("what may have written, by the extended protocol") {
  using testing::bind;
  using testing::execute;
  using testing::parse;
  using testing::sync;
  CHECK(written(parse("", "insert into t values (1)") + bind("", "") + execute() + sync()));
  CHECK_FALSE(written(parse("", "select 1") + bind("", "") + execute() + sync()));
  CHECK(written(bind("", "known") + execute() + sync()));
  CHECK(written(bind("", "unheard of") + execute() + sync()));
}

TEST_CASE("verdicts are words") {
  CHECK(read_outcome("committed") == TokenVerdict::committed);
  CHECK(read_outcome("aborted") == TokenVerdict::aborted);
  for (const char* word : {"", "unknown", "Committed", "t"}) {
    CHECK(read_outcome(word) == TokenVerdict::unknown);
  }
  for (const TokenVerdict verdict :
       {TokenVerdict::unknown, TokenVerdict::committed, TokenVerdict::aborted}) {
    CHECK(read_outcome(to_string(verdict)) == verdict);
  }
}

TEST_CASE("some errors mean that asking again is of no use") {
  for (const char* code : {"42883", "42501", "3F000", "22023"}) CHECK(cannot_be_asked(code));
  for (const char* code : {"25006", "57014", "08006", "40001", "55P03", "53300", ""}) {
    CHECK_FALSE(cannot_be_asked(code));
  }
}

}  // namespace dwspool::retry
