#include "dwspool/sql/masked.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::sql {

TEST_CASE("masked: the shape stays, values go") {
  struct Row {
    std::string_view text;
    std::string_view shown;
  };
  const std::vector<Row> rows = {
      {"select 1", "select ?"},
      {"SELECT  a,\n\tb -- who\nFROM \"T\" /* where */ WHERE x='secret' AND y = -2.5e3",
       "SELECT a, b FROM \"T\" WHERE x=? AND y = -?"},
      {"select * from t where id in (1, 2,3 , 'x') and n = $1",
       "select * from t where id in (?) and n = $1"},
      {"select f(1, a, 2)", "select f(?, a, ?)"},
      {"insert into t values (1,'a'),(2,'b')", "insert into t values (?),(?)"},
      {"select E'it\\'s', U&'x', B'01', $$dollar$$, $t$ x $$ y $t$", "select ?"},
      {"select 'it''s' 'me'", "select ? ?"},
      {"do $x$ begin raise 'secret'; end $x$", "do ?"},
      {"select 1; select 'x';", "select ?; select ?;"},
      {"", ""},
      {"  -- nothing", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(masked(row.text, 500) == row.shown);
  }
}

TEST_CASE("masked: no secret, however it is written") {
  const std::vector<std::string_view> texts = {
      "create user x password 'S3CRET'",
      "CREATE USER x IDENTIFIED BY \"S3CRET\"",
      "alter role x with encrypted password S3CRET",
      "alter user x identified by 'a' replace S3CRET",
      "set app.token = S3CRET",
      "SET LOCAL app.token TO S3CRET, S3CRET",
      "alter role x set app.token to S3CRET",
      "alter database d set app.token = 'S3CRET'",
      "set role x password 'S3CRET'",
      "select set_config('app.token', 'S3CRET', false)",
      "create server s foreign data wrapper w options (secret S3CRET)",
      "create user mapping for x server s options (user 'a', password S3CRET)",
      "select dblink_connect('host=a password=S3CRET')",
      "copy t from 's3://S3CRET' access_key 'S3CRET'",
      "select 1 /* S3CRET */ -- S3CRET",
      "select 'S3CRET",
      "select $a$ S3CRET",
      "select 1; alter user x password S3CRET",
      // A backslash that escapes for a server with standard_conforming_strings off.
      "select 'it\\' , S3CRET, '",
      "select 'it\\'s S3CRET'",
      "select N'it\\'s S3CRET'",
  };
  for (const std::string_view text : texts) {
    CAPTURE(text);
    CHECK(masked(text, 500).find("S3CRET") == std::string::npos);
    // And not where it is cut, either: nothing but a beginning of it, and that only as a word.
    for (std::size_t size = 0; size < text.size(); ++size) {
      CHECK(masked(text.substr(0, size), 500).find("S3CR") == std::string::npos);
    }
  }
  CHECK(masked("alter user x password 'y'", 500) == "alter user x password...");
  CHECK(masked("set a = b; select c", 500) == "set a = ?; select c");
  CHECK(masked("select password from users where password = 'x'", 500) ==
        "select password from users where password = ?");
}

TEST_CASE("masked: never longer than it may be") {
  std::string text = "select ";
  for (int i = 0; i < 1000; ++i) text += "column_" + std::to_string(i) + ", ";
  for (const std::size_t limit : {0U, 1U, 5U, 20U, 500U}) {
    CHECK(masked(text, limit).size() <= limit + 3);
    CHECK(masked(text, limit).ends_with("..."));
  }
}

}  // namespace dwspool::sql
