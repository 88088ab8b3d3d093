#include "dwspool/proxy/quotas.h"

#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::proxy {
namespace {

const QuotaRule cluster{"cluster main", 6};  // NOLINT(cert-err58-cpp)

// Takes as many places as it gets.
std::size_t take_all(Quotas& quotas, const Quotas::MemberPtr& member, std::size_t most) {
  std::size_t got = 0;
  while (got < most && quotas.try_take(member, 0).taken) ++got;
  return got;
}

}  // namespace

TEST_CASE("no rules, no member") {
  Quotas quotas;
  CHECK(quotas.join("a", {}) == nullptr);
}

TEST_CASE("a place is taken under all quotas or none") {
  Quotas quotas;
  const auto a = quotas.join("a", {cluster, {"user bob", 2}});
  const auto b = quotas.join("b", {cluster});
  CHECK(quotas.join("a", {cluster}) == a);
  CHECK(take_all(quotas, a, 10) == 2);
  CHECK(quotas.taken("cluster main") == 2);
  CHECK(take_all(quotas, b, 10) == 4);
  CHECK(quotas.taken("cluster main") == 6);
  CHECK(quotas.taken("user bob") == 2);
}

TEST_CASE("a place that comes free goes to the poorest of those who were refused, at once") {
  Quotas quotas;
  const auto rich = quotas.join("rich", {cluster});
  const auto some = quotas.join("some", {cluster});
  const auto poor = quotas.join("poor", {cluster});
  REQUIRE(take_all(quotas, some, 1) == 1);
  REQUIRE(take_all(quotas, rich, 5) == 5);
  CHECK_FALSE(quotas.try_take(some, 1).taken);
  CHECK_FALSE(quotas.try_take(poor, 2).taken);
  CHECK_FALSE(quotas.try_take(poor, 2).taken);  // noted once
  const auto first = quotas.give_back(rich);
  REQUIRE(first);
  CHECK(first->member == poor);
  CHECK(first->worker == 2);
  CHECK_FALSE(quotas.try_take(rich, 0).taken);  // it is taken already
  const auto second = quotas.give_back(rich);
  REQUIRE(second);
  CHECK(second->member == some);
  // The heir has no use for it.
  const auto third = quotas.give_back(second->member);
  REQUIRE(third);
  CHECK(third->member == rich);
  CHECK_FALSE(quotas.give_back(rich));
  CHECK(quotas.taken("cluster main") == 5);
}

TEST_CASE("an heir has room under its other quotas, too") {
  Quotas quotas;
  const auto bound = quotas.join("bound", {cluster, {"user bob", 1}});
  const auto other = quotas.join("other", {cluster});
  REQUIRE(take_all(quotas, bound, 1) == 1);
  REQUIRE(take_all(quotas, other, 5) == 5);
  CHECK_FALSE(quotas.try_take(bound, 0).taken);
  CHECK_FALSE(quotas.give_back(other));
}

TEST_CASE("the richest is asked to yield, until both have the same") {
  Quotas quotas;
  const auto rich = quotas.join("rich", {cluster});
  const auto poor = quotas.join("poor", {cluster});
  REQUIRE(take_all(quotas, rich, 6) == 6);
  std::size_t yields = 0;
  for (int i = 0; i < 20; ++i) {
    const Quotas::Answer answer = quotas.try_take(poor, 0);
    REQUIRE_FALSE(answer.taken);
    CHECK(answer.donor == rich);
    if (!rich->take_yield()) break;
    ++yields;
    CHECK(quotas.give_back(rich)->member == poor);
  }
  CHECK(yields == 3);
  // One that has a part in no quota that is full cannot help.
  const auto stranger = quotas.join("stranger", {{"database x", 9}});
  REQUIRE(take_all(quotas, stranger, 9) == 9);
  CHECK(quotas.try_take(poor, 0).donor == rich);
}

TEST_CASE("whatever happens: never more than the limit, and nobody is forgotten") {
  std::mt19937 random(7);
  Quotas quotas;
  std::vector<Quotas::MemberPtr> members;
  for (int i = 0; i < 4; ++i) members.push_back(quotas.join(std::to_string(i), {cluster}));
  std::vector<std::size_t> held(4);
  std::vector<bool> waiting(4);
  for (int step = 0; step < 20000; ++step) {
    const std::size_t who = random() % 4;
    if (random() % 2 == 0) {
      const bool taken = quotas.try_take(members[who], 0).taken;
      held[who] += taken ? 1 : 0;
      waiting[who] = waiting[who] || !taken;
    } else if (held[who] > 0) {
      --held[who];
      const auto heir = quotas.give_back(members[who]);
      bool anybody = false;
      for (const bool each : waiting) anybody = anybody || each;
      REQUIRE(heir.has_value() == anybody);
      for (std::size_t i = 0; heir && i < 4; ++i) {
        if (members[i] != heir->member) continue;
        REQUIRE(waiting[i]);
        waiting[i] = false;
        ++held[i];
      }
    }
    const std::size_t all = held[0] + held[1] + held[2] + held[3];
    REQUIRE(all == quotas.taken("cluster main"));
    REQUIRE(all <= 6);
  }
}

TEST_CASE("clients are counted by name, up to a limit") {
  ClientCounts counts;
  CHECK(counts.enter("a", 0));
  CHECK(counts.enter("a", 2));
  CHECK(counts.enter("a", 2));
  CHECK_FALSE(counts.enter("a", 2));
  CHECK(counts.enter("b", 1));
  counts.leave("a");
  CHECK(counts.enter("a", 2));
  counts.leave("nobody");
}

TEST_CASE("a limit that grows serves those who were refused under it") {
  Quotas quotas;
  const auto rich = quotas.join("rich", {cluster});
  const auto poor = quotas.join("poor", {cluster});
  REQUIRE(take_all(quotas, rich, 6) == 6);
  CHECK_FALSE(quotas.try_take(rich, 0).taken);
  CHECK_FALSE(quotas.try_take(poor, 3).taken);
  CHECK(quotas.change({{cluster.name, 5}}).empty());
  CHECK(quotas.change({{cluster.name, 6}}).empty());
  CHECK(quotas.change({{"another", 100}}).empty());
  const auto first = quotas.change({{cluster.name, 7}});
  REQUIRE(first.size() == 1);
  CHECK(first[0].member == poor);
  CHECK(first[0].worker == 3);
  CHECK(quotas.taken(cluster.name) == 7);
  CHECK(quotas.change({{cluster.name, 20}}).size() == 1);
  CHECK(quotas.change({{cluster.name, 30}}).empty());
}

}  // namespace dwspool::proxy
