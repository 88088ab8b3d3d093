// Which SETs hold once their transaction is over.
#include "dwspool/session/setting_changes.h"

#include <doctest/doctest.h>

namespace dwspool::session {
namespace {

using Kind = SettingChange::Kind;

SettingChange set(std::string name, std::string value) {
  return {Kind::set, std::move(name), std::move(value)};
}

std::string shown(const SettingSet& settings) {
  std::string text;
  for (const SettingSet::Entry& entry : settings.entries()) {
    text += entry.name + "=" + entry.value + " ";
  }
  return text;
}

}  // namespace

TEST_CASE("changes count when their request succeeds and their transaction commits") {
  SettingChanges changes;
  changes.sent(1, set("a", "1"));
  changes.sent(2, set("b", "2"));
  changes.sent(3, set("c", "3"));
  CHECK(changes.answered(1, false));
  CHECK(changes.answered(2, true));
  changes.on_transaction_goes_on();
  CHECK(changes.answered(3, false));
  changes.on_tag("COMMIT", 4);
  const SettingChanges::Ended ended = changes.on_transaction_end();
  CHECK_FALSE(ended.unclear);
  REQUIRE(ended.changes.size() == 2);
  CHECK(ended.changes[0].name == "a");
  CHECK(ended.changes[1].name == "c");
  CHECK_FALSE(changes.watches());
}

TEST_CASE("a rollback takes them back; what was sent behind it stays in flight") {
  SettingChanges changes;
  changes.sent(1, set("a", "1"));
  CHECK(changes.answered(1, false));
  changes.sent(3, set("b", "2"));
  CHECK(changes.answered(2, false));
  changes.on_tag("ROLLBACK", 2);
  CHECK(changes.on_transaction_end().changes.empty());
  CHECK(changes.watches());
  CHECK(changes.answered(3, false));
  CHECK(changes.on_transaction_end().changes.size() == 1);
}

TEST_CASE("savepoints around changes make them unclear") {
  SettingChanges changes;
  changes.sent(1, set("a", "1"));
  CHECK(changes.answered(1, false));
  changes.on_savepoint();
  changes.on_tag("COMMIT", 1);
  CHECK(changes.on_transaction_end().unclear);

  changes.on_savepoint();  // with nothing to lose
  changes.sent(2, set("a", "1"));
  CHECK(changes.answered(2, false));
  changes.on_tag("COMMIT", 2);
  CHECK_FALSE(changes.on_transaction_end().unclear);
}

TEST_CASE("commit and rollback in one answer are unclear, and so is a half-failed text") {
  SettingChanges changes;
  changes.sent(1, set("a", "1"));
  CHECK(changes.answered(1, false));
  changes.on_tag("COMMIT", 1);
  changes.on_tag("ROLLBACK", 1);
  CHECK(changes.on_transaction_end().unclear);

  changes.sent(2, {Kind::unclear, {}, {}});
  CHECK_FALSE(changes.answered(2, true));
}

TEST_CASE("in one request with the end of a transaction, which holds cannot be told") {
  SettingChanges changes;
  changes.sent(1, set("a", "1"));
  SUBCASE("sent together") {
    changes.on_tag("ROLLBACK", 1);
  }
  SUBCASE("sent behind it") {
    changes.on_tag("ROLLBACK", 1);
    changes.sent(1, set("b", "1"));
  }
  CHECK(changes.answered(1, false));
  CHECK(changes.on_transaction_end().unclear);
}

TEST_CASE("a transaction of many SETs stays small") {
  SettingChanges changes;
  for (std::uint64_t i = 1; i < 10000; ++i) {
    changes.sent(i, set("a", std::to_string(i)));
    CHECK(changes.answered(i, false));
  }
  const auto ended = changes.on_transaction_end();
  REQUIRE(ended.changes.size() == 1);
  CHECK(ended.changes[0].value == "9999");
  bool followed = true;
  for (std::uint64_t i = 1; i < 1000; ++i) {
    changes.sent(i, set("a" + std::to_string(i), "1"));
    followed = changes.answered(i, false);
  }
  CHECK_FALSE(followed);
}

TEST_CASE("what RESET goes back to") {
  SettingSet startup;
  startup.set("a", "1");
  SettingSet now = startup;
  now.set("a", "2");
  now.set("b", "2");
  const auto carried = [&](std::vector<SettingChange> changes) {
    const Carried result = carry(changes, startup, now, now);
    return shown(result.wanted) + "| " + shown(result.applied);
  };
  CHECK(carried({{Kind::reset, "a", {}}}) == "a=1 b=2 | a=1 b=2 ");
  CHECK(carried({{Kind::reset_raw, "a", {}}}) == "a=1 b=2 | b=2 ");
  CHECK(carried({{Kind::reset_raw, "b", {}}}) == "a=2 | a=2 ");
  CHECK(carried({{Kind::reset_all, {}, {}}}) == "a=1 | a=1 ");
  CHECK(carried({{Kind::reset_all_raw, {}, {}}, set("c", "3")}) == "a=1 c=3 | c=3 ");
}

TEST_CASE("RESET ALL makes an end of what could not be followed before it") {
  const auto after = [](std::vector<SettingChange> changes) { return carry(changes, {}, {}, {}); };
  CHECK(after({{Kind::unclear, {}, {}}}).unclear);
  CHECK(after({{Kind::unclear, {}, {}}, {Kind::reset_all_raw, {}, {}}}).all_known);
  CHECK_FALSE(after({{Kind::unclear, {}, {}}, {Kind::reset_all_raw, {}, {}}}).unclear);
  CHECK(after({{Kind::reset_all_raw, {}, {}}, {Kind::unclear, {}, {}}}).unclear);
}

}  // namespace dwspool::session
