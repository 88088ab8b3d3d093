#include "dwspool/session/statement_timer.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/sql/fingerprint.h"

namespace dwspool::session {
namespace {

using namespace std::chrono_literals;

std::string frame(char type, std::string_view body) {
  const auto length = static_cast<std::uint32_t>(body.size() + 4);
  std::string bytes(1, type);
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    bytes += static_cast<char>((length >> shift) & 255U);
  }
  return bytes + std::string(body);
}

std::string query(std::string_view text) {
  return frame('Q', std::string(text) + '\0');
}
std::string parse(std::string_view name, std::string_view text) {
  return frame('P', std::string(name) + '\0' + std::string(text) + std::string("\0\0\0", 3));
}
std::string bind(std::string_view statement) {
  return frame('B', std::string(1, '\0') + std::string(statement) + std::string(7, '\0'));
}
const std::string execute = frame('E', std::string(5, '\0'));
const std::string sync = frame('S', "");

const TimePoint start{1h};

struct Timed {
  StatementTimer timer;
  TimePoint now = start;

  void say(std::string_view bytes) {
    timer.on_client(bytes, now, [](std::string_view name) {
      return name == "known" ? std::string_view("select prepared") : std::string_view();
    });
  }
  std::optional<SlowStatement> answer(bool more = false) {
    return timer.on_answered(now, more, 100ms);
  }
};

}  // namespace

TEST_CASE("slow statements: from the arrival to the answer, with the wait apart") {
  Timed timed;
  timed.say(query("select pg_sleep(1)"));
  timed.now += 40ms;
  timed.timer.on_wait(40ms);
  timed.now += 60ms;
  const auto slow = timed.answer();
  REQUIRE(slow);
  CHECK(slow->took == 100ms);
  CHECK(slow->waited == 40ms);
  CHECK(slow->text == "select pg_sleep(?)");
  CHECK(slow->statement == sql::fingerprint("select pg_sleep(2)"));
  // The next one begins anew; nothing is measured in between.
  timed.now += 1h;
  CHECK_FALSE(timed.answer());
  timed.say(query("select 2"));
  timed.now += 99ms;
  CHECK_FALSE(timed.answer());
}

TEST_CASE("slow statements: what was left is said again, and counts from the first time") {
  Timed timed;
  timed.say(query("select one"));
  timed.now += 90ms;
  timed.say(query("select one"));
  timed.now += 20ms;
  const auto slow = timed.answer();
  REQUIRE(slow);
  CHECK(slow->took == 110ms);
  CHECK(slow->text == "select one");
}

TEST_CASE("slow statements: by which text a request goes") {
  struct Row {
    std::string bytes;
    std::string_view text;
    bool whole = true;
  };
  const std::string large = "select '" + std::string(5000, 'x') + "'";
  const std::vector<Row> rows = {
      {parse("", "select a") + bind("") + execute + sync, "select a"},
      {parse("", "BEGIN") + bind("") + execute + parse("", "select b") + bind("") + execute + sync,
       "select b"},
      {bind("known") + execute + sync, "select prepared"},
      {bind("unknown") + execute + sync, ""},
      {execute + sync, ""},
      {sync + query("select other"), ""},
      {query("select first") + query("select second"), "select first"},
      {query(large), "select ?...", false},
      // The rest is on its way.
      {query("select a, b from c").substr(0, 14), "select a,...", false},
      {parse("name", "select a").substr(0, 7), "...", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    Timed timed;
    timed.say(row.bytes);
    timed.now += 1s;
    const auto slow = timed.answer();
    if (row.bytes.starts_with(sync)) {  // no request of its own: what it ends has come before
      CHECK_FALSE(slow);
      continue;
    }
    REQUIRE(slow);
    CHECK(slow->text == row.text);
    CHECK((slow->statement != 0) == (row.whole && !row.text.empty()));
  }
}

TEST_CASE("slow statements: no value is told") {
  Timed timed;
  timed.say(query("alter role x password 'S3CRET'"));
  timed.now += 1s;
  CHECK(timed.answer()->text == "alter role x password...");
  timed.say(query("select '" + std::string(3000, 'S') + "'"));
  timed.now += 1s;
  CHECK(timed.answer()->text == "select ?...");
}

TEST_CASE("slow statements: behind the first one of a pipeline, from answer to answer") {
  Timed timed;
  timed.say(query("select fast") + query("select slow"));
  timed.now += 1ms;
  CHECK_FALSE(timed.answer(true));
  timed.now += 200ms;
  const auto slow = timed.answer();
  REQUIRE(slow);
  CHECK(slow->took == 200ms);
  CHECK(slow->text.empty());
}

TEST_CASE("slow statements: nothing begins with what is no request") {
  Timed timed;
  for (const std::string& bytes :
       {frame('X', ""), frame('d', "copied"), frame('c', ""), frame('H', ""), std::string("Q"),
        std::string(), std::string("\0\0\0\0\0", 5), std::string("Q\0\0\0\1", 5)}) {
    timed.say(bytes);
    timed.now += 1s;
    CHECK_FALSE(timed.answer());
  }
}

}  // namespace dwspool::session
