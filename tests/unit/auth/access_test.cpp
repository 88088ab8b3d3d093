// Rules: which of them a client meets.
#include "dwspool/auth/access.h"

#include <doctest/doctest.h>

#include "dwspool/auth/failure_log.h"

namespace dwspool::auth {
namespace {

using Type = AccessRule::Type;

std::string v4(int a, int b, int c, int d) {
  std::string bytes;
  for (const int each : {a, b, c, d}) bytes += static_cast<char>(each);
  return bytes;
}
std::string v6(const std::string& tail, const std::string& head = {}) {
  return head + std::string(16 - head.size() - tail.size(), '\0') + tail;
}

}  // namespace

TEST_CASE("access: types of connections") {
  const Origin local{"", false};
  const Origin clear{v4(10, 0, 0, 1), false};
  const Origin tls{v4(10, 0, 0, 1), true};
  struct Row {
    Type type;
    bool local;
    bool clear;
    bool tls;
  };
  for (const Row& row : {Row{Type::any, true, true, true}, Row{Type::local, true, false, false},
                         Row{Type::host, false, true, true}, Row{Type::hostssl, false, false, true},
                         Row{Type::hostnossl, false, true, false}}) {
    AccessRule rule;
    rule.type = row.type;
    CHECK(matches(rule, local, "d", "u") == row.local);
    CHECK(matches(rule, clear, "d", "u") == row.clear);
    CHECK(matches(rule, tls, "d", "u") == row.tls);
  }
}

TEST_CASE("access: networks") {
  struct Row {
    std::string network;
    unsigned prefix;
    std::string address;
    bool match;
  };
  const std::string mapped = v6(std::string("\xff\xff", 2) + v4(10, 1, 2, 3));
  const Row rows[] = {
      {v4(10, 0, 0, 0), 8, v4(10, 255, 0, 1), true},
      {v4(10, 0, 0, 0), 8, v4(11, 0, 0, 1), false},
      {v4(10, 1, 2, 3), 32, v4(10, 1, 2, 3), true},
      {v4(10, 1, 2, 3), 32, v4(10, 1, 2, 2), false},
      {v4(0, 0, 0, 0), 0, v4(1, 2, 3, 4), true},
      {v4(10, 1, 2, 128), 25, v4(10, 1, 2, 200), true},
      {v4(10, 1, 2, 128), 25, v4(10, 1, 2, 100), false},
      {v4(10, 0, 0, 0), 8, mapped, true},
      {v4(11, 0, 0, 0), 8, mapped, false},
      {v4(0, 0, 0, 0), 0, v6("\1"), false},
      {v6("", "\x20\x01"), 16, v6("\1", "\x20\x01"), true},
      {v6("", "\x20\x01"), 16, v6("\1", "\x20\x02"), false},
      {v6(""), 0, v4(1, 2, 3, 4), false},
      {v6(""), 0, v6("\1"), true},
      {v4(0, 0, 0, 0), 0, "", false},
  };
  for (const Row& row : rows) {
    AccessRule rule;
    rule.network = row.network;
    rule.prefix = row.prefix;
    CHECK(matches(rule, {row.address, false}, "d", "u") == row.match);
  }
}

TEST_CASE("access: names, and the first rule that matches") {
  AccessRule one;
  one.databases = {"a", "b"};
  one.users = {"u"};
  CHECK(matches(one, {}, "b", "u"));
  CHECK_FALSE(matches(one, {}, "c", "u"));
  CHECK_FALSE(matches(one, {}, "a", "U"));
  AccessRule same;
  same.same_user = true;
  CHECK(matches(same, {}, "u", "u"));
  CHECK_FALSE(matches(same, {}, "a", "u"));
  const AccessRule all;
  const std::vector<AccessRule> rules = {one, same, all};
  CHECK(first_match(rules, {}, "a", "u") == rules.data());
  CHECK(first_match(rules, {}, "v", "v") == &rules[1]);
  CHECK(first_match(rules, {}, "c", "u") == &rules[2]);
  CHECK(first_match({one, same}, {}, "c", "u") == nullptr);
}

TEST_CASE("failures: the refusals of an address take longer and longer, and are forgotten") {
  FailureLog log(5);
  TimePoint now{std::chrono::hours{1}};
  Duration last{};
  for (int i = 0; i < 5; ++i) {
    CHECK_FALSE(log.is_blocked("a", now));
    const Duration delay = log.on_failure("a", now);
    CHECK(delay > last);
    last = delay;
  }
  CHECK(log.is_blocked("a", now));
  CHECK_FALSE(log.is_blocked("b", now));
  CHECK(log.on_failure("b", now) == FailureLog::first_delay);
  for (int i = 0; i < 50; ++i) CHECK(log.on_failure("a", now) <= FailureLog::longest_delay);
  now += FailureLog::window;
  CHECK_FALSE(log.is_blocked("a", now));
  CHECK(log.on_failure("a", now) == FailureLog::first_delay);
  FailureLog unlimited(0);
  for (int i = 0; i < 1000; ++i) CHECK(unlimited.on_failure("a", now) == Duration::zero());
  CHECK_FALSE(unlimited.is_blocked("a", now));
}

TEST_CASE("failures: whoever has too many addresses is slow from all of them") {
  FailureLog log(5);
  const TimePoint now{std::chrono::hours{1}};
  for (std::size_t i = 0; i < FailureLog::max_addresses; ++i) {
    static_cast<void>(log.on_failure(std::to_string(i), now));
  }
  CHECK(log.on_failure("one more", now) == FailureLog::longest_delay);
}

}  // namespace dwspool::auth
