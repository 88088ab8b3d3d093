#include "dwspool/sql/fingerprint.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::sql {

TEST_CASE("fingerprint: values do not count, nor does how it is written") {
  const std::uint64_t expected = fingerprint("select a from t where b = 1 and c = 'x'");
  for (const std::string_view text :
       {"SELECT a FROM t WHERE b=2 AND c='another'",
        "select a\n  from t -- the name is secret\n where b = $1 and c = $2",
        "select /* x */ a from t where b = 1.5e3 and c = E'it\\'s'"}) {
    CAPTURE(text);
    CHECK(fingerprint(text) == expected);
  }
  for (const std::string_view text :
       {"select a from u where b = 1 and c = 'x'", "select a from t where b = 1",
        "select \"A\" from t where b = 1 and c = 'x'", "select b from t where a = 1 and c = 'x'"}) {
    CAPTURE(text);
    CHECK(fingerprint(text) != expected);
  }
}

TEST_CASE("fingerprint: a list of values is one, whatever its length") {
  CHECK(fingerprint("select 1 where a in (1, 2, 3)") == fingerprint("select 1 where a in ($1)"));
  CHECK(fingerprint("insert into t values (1, 'x')") ==
        fingerprint("insert into t values (1,2,3)"));
  CHECK(fingerprint("select f(1, a)") != fingerprint("select f(1)"));
  CHECK(fingerprint("select 1, a") != fingerprint("select 1 a"));
}

TEST_CASE("fingerprint: any bytes, any length") {
  CHECK(fingerprint("") != 0);
  CHECK(fingerprint("'never closed") != 0);
  CHECK(fingerprint(std::string("a\0b", 3)) != 0);
  CHECK(fingerprint(std::string(1'000'000, '(')) == fingerprint(std::string(2'000'000, '(')));
}

}  // namespace dwspool::sql
