#include "dwspool/metrics/registry.h"

#include <bit>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "dwspool/sql/statement.h"

namespace dwspool::metrics {
namespace {

std::size_t index_of(char high, char low) {
  const char error_class[2] = {high, low};  // NOLINT(modernize-avoid-c-arrays)
  return WorkerBlock::error_index(error_class);
}

TEST_CASE("metrics registry: a pool has one block per worker, and keeps it") {
  Registry registry;
  const auto first = registry.pool(0, "db", "user");
  CHECK(registry.pool(0, "db", "user") == first);
  CHECK(registry.pool(1, "db", "user") != first);
  CHECK(registry.pool(0, "db", "other") != first);
  CHECK(registry.pool(0, "other", "user") != first);
  CHECK(registry.worker(0) == registry.worker(0));
  CHECK(registry.worker(0) != registry.worker(1));
  CHECK(registry.coordinator(0, "c", "a:1") == registry.coordinator(0, "c", "a:1"));
  CHECK(registry.coordinator(0, "c", "a:1") != registry.coordinator(0, "d", "a:1"));
  CHECK(registry.coordinator(0, "c", "a:1") != registry.coordinator(1, "c", "a:1"));
}

TEST_CASE("metrics registry: workers that have no block leave a gap") {
  Registry registry;
  registry.pool(2, "db", "user");
  registry.worker(1);
  const auto pools = registry.pools();
  REQUIRE(pools.size() == 1);
  REQUIRE(pools.begin()->second.size() == 3);
  CHECK(pools.begin()->second[0] == nullptr);
  CHECK(pools.begin()->second[1] == nullptr);
  CHECK(pools.begin()->second[2] != nullptr);
  REQUIRE(registry.workers().size() == 2);
  CHECK(registry.workers()[0] == nullptr);
}

TEST_CASE("metrics registry: pools beyond the limit share the block of \"other\"") {
  Registry registry;
  for (std::size_t i = 0; i < Registry::max_pools; ++i) {
    registry.pool(0, "db", "user" + std::to_string(i));
  }
  const auto late = registry.pool(0, "db", "late");
  CHECK(registry.pool(0, "db", "later") == late);
  CHECK(registry.pool(0, "other", "other") == late);
  CHECK(registry.pool(1, "db", "later") != late);
  CHECK(registry.pools().size() == Registry::max_pools + 1);

  // Pools that have a name of their own get it on every worker, however late.
  CHECK(registry.pool(1, "db", "user7") != registry.pool(1, "db", "later"));
  CHECK(registry.pools().size() == Registry::max_pools + 1);
}

TEST_CASE("metrics registry: a pool that is really called other/other takes no place from others") {
  Registry registry;
  const auto other = registry.pool(0, "other", "other");
  std::set<std::shared_ptr<PoolBlock>> blocks{other};
  for (std::size_t i = 0; i < Registry::max_pools; ++i) {
    blocks.insert(registry.pool(0, "db", "user" + std::to_string(i)));
  }
  CHECK(blocks.size() == Registry::max_pools + 1);
  CHECK(registry.pool(0, "db", "late") == other);
}

TEST_CASE("metrics registry: every error class has a place of its own") {
  const std::string digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::set<std::size_t> seen;
  for (const char high : digits) {
    for (const char low : digits) seen.insert(index_of(high, low));
  }
  CHECK(seen.size() == WorkerBlock{}.errors.size());
  CHECK(*seen.rbegin() == WorkerBlock{}.errors.size() - 1);
}

TEST_CASE("metrics registry: what is no error class is counted, too") {
  for (const char bad : {'\0', 'a', ' ', '/', ':', '@', '[', '\x7f', '\xff'}) {
    CHECK(index_of(bad, '0') == 0);
    CHECK(index_of('Z', bad) == 0);
  }
}

TEST_CASE("metrics registry: every reason has a name of its own") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Refusal::count); ++i) {
    names.insert(to_string(static_cast<Refusal>(i)));
  }
  CHECK(names.size() == static_cast<std::size_t>(Refusal::count));
  CHECK(names.count("?") == 0);
  names.clear();
  for (std::size_t i = 0; i < static_cast<std::size_t>(OpenFailure::count); ++i) {
    names.insert(to_string(static_cast<OpenFailure>(i)));
  }
  CHECK(names.size() == static_cast<std::size_t>(OpenFailure::count));
  CHECK(names.count("?") == 0);
  names.clear();
  for (std::size_t i = 0; i < pin_reasons; ++i) names.insert(pin_reason_name(i));
  CHECK(names.size() == pin_reasons);
  CHECK(names.count("?") == 0);
  CHECK(pin_reason_name(pin_reasons) == "?");
  CHECK(to_string(Refusal::count) == "?");
  CHECK(to_string(OpenFailure::count) == "?");
}

TEST_CASE("metrics registry: pin reasons are the binding effects, in their order") {
  using sql::Effect;
  const auto name_of = [](Effect effect) {
    const auto first = bit(Effect::changes_setting);
    const auto bit = static_cast<std::uint32_t>(effect);
    return pin_reason_name(
        static_cast<std::size_t>(std::countr_zero(bit) - std::countr_zero(first)));
  };
  CHECK(std::popcount(sql::binding_effects) == static_cast<int>(pin_reasons));
  CHECK(name_of(Effect::changes_setting) == "changes_setting");
  CHECK(name_of(Effect::changes_identity) == "changes_identity");
  CHECK(name_of(Effect::temporary_object) == "temporary_object");
  CHECK(name_of(Effect::advisory_lock) == "advisory_lock");
  CHECK(name_of(Effect::held_cursor) == "held_cursor");
  CHECK(name_of(Effect::listens) == "listens");
  CHECK(name_of(Effect::loads_module) == "loads_module");
  CHECK(name_of(Effect::prepares) == "prepares");
  CHECK(name_of(Effect::sequence_state) == "sequence_state");
  CHECK(name_of(Effect::unclear) == "unclear");
}

TEST_CASE("the oldest wait of the pools that share a block") {
  PoolBlock block;
  const auto oldest = [&] { return block.oldest_wait_since.value(); };
  block.change_wait(0, 50);
  CHECK(oldest() == 50);
  block.change_wait(0, 30);  // another pool
  CHECK(oldest() == 30);
  block.change_wait(50, 60);
  CHECK(oldest() == 30);
  block.change_wait(0, 30);  // a third one, since the same moment
  block.change_wait(30, 0);
  CHECK(oldest() == 30);
  block.change_wait(30, 70);
  CHECK(oldest() == 60);
  block.change_wait(60, 0);
  block.change_wait(70, 0);
  CHECK(oldest() == 0);
}

}  // namespace
}  // namespace dwspool::metrics
