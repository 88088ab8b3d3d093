#include "dwspool/console/facts.h"

#include <algorithm>
#include <iterator>

namespace dwspool::console {
namespace {

constexpr std::uint64_t microseconds = 1000000;

}  // namespace

Stats averages_of(const Stats& before, const Stats& now, std::int64_t period_us) {
  Stats averages{};
  if (period_us <= 0) return averages;
  const auto grown = [&](Stat stat) {
    const auto i = static_cast<std::size_t>(stat);
    return now[i] > before[i] ? now[i] - before[i] : 0;
  };
  for (std::size_t i = 0; i < averages.size(); ++i) {
    const auto stat = static_cast<Stat>(i);
    if (stat == Stat::transaction_time || stat == Stat::query_time) {
      const std::uint64_t times =
          grown(stat == Stat::query_time ? Stat::queries : Stat::transactions);
      averages[i] = times == 0 ? 0 : grown(stat) / times;
    } else {
      averages[i] = grown(stat) * microseconds / static_cast<std::uint64_t>(period_us);
    }
  }
  return averages;
}

void Facts::merge(Facts&& other) {
  std::move(other.connections.begin(), other.connections.end(), std::back_inserter(connections));
  for (PoolFacts& pool : other.pools) {
    const auto same = std::find_if(pools.begin(), pools.end(), [&](const PoolFacts& mine) {
      return mine.database == pool.database && mine.user == pool.user &&
             mine.pool_mode == pool.pool_mode;
    });
    if (same == pools.end()) {
      pools.push_back(std::move(pool));
      continue;
    }
    same->clients += pool.clients;
    same->clients_waiting += pool.clients_waiting;
    same->cancels += pool.cancels;
    same->backends_active += pool.backends_active;
    same->backends_cancelled += pool.backends_cancelled;
    same->backends_idle += pool.backends_idle;
    same->backends_cleaning += pool.backends_cleaning;
    same->backends_opening += pool.backends_opening;
    same->backends_outdated += pool.backends_outdated;
    same->longest_wait_us = std::max(same->longest_wait_us, pool.longest_wait_us);
  }
  for (PinFacts& pin : other.pins) {
    const auto same = std::find_if(pins.begin(), pins.end(), [&](const PinFacts& mine) {
      return mine.database == pin.database && mine.user == pin.user && mine.reason == pin.reason;
    });
    if (same == pins.end()) {
      pins.push_back(std::move(pin));
    } else {
      same->sessions += pin.sessions;
    }
  }
  for (MemoryFacts& memory_of : other.memory) {
    const auto same = std::find_if(memory.begin(), memory.end(), [&](const MemoryFacts& mine) {
      return mine.name == memory_of.name;
    });
    if (same == memory.end()) {
      memory.push_back(std::move(memory_of));
    } else {
      same->used += memory_of.used;
      same->free += memory_of.free;
    }
  }
  clients += other.clients;
  clients_logging_in += other.clients_logging_in;
  console_clients += other.console_clients;
  unsent += other.unsent;
}

}  // namespace dwspool::console
