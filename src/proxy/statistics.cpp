#include "dwspool/proxy/statistics.h"

namespace dwspool::proxy {
namespace {

using console::Stat;

std::uint64_t microseconds(const metrics::DurationHistogram& histogram) {
  return static_cast<std::uint64_t>(histogram.sum_seconds() * 1e6);
}

void add(console::Stats& stats, Stat stat, std::uint64_t value) {
  stats[static_cast<std::size_t>(stat)] += value;
}

}  // namespace

Statistics::Sums Statistics::sums() const {
  Sums sums;
  for (const auto& [key, blocks] : registry_.pools()) {
    console::Stats& stats = sums[key.database];
    for (const auto& block : blocks) {
      if (!block) continue;
      add(stats, Stat::assignments, block->backends_assigned.value());
      add(stats, Stat::transactions, block->transactions.value());
      add(stats, Stat::queries, block->queries.value());
      add(stats, Stat::received, block->bytes_from_clients.value());
      add(stats, Stat::sent, block->bytes_to_clients.value());
      add(stats, Stat::transaction_time, microseconds(block->transaction_seconds));
      add(stats, Stat::query_time, microseconds(block->query_seconds));
      add(stats, Stat::wait_time, microseconds(block->wait_seconds));
      add(stats, Stat::client_parses,
          block->statements_parsed.value() + block->statements_reused.value());
      add(stats, Stat::server_parses, block->statements_parsed.value());
      add(stats, Stat::binds, block->binds.value());
      add(stats, Stat::logins, block->logins.value());
    }
  }
  return sums;
}

void Statistics::sample(TimePoint now) {
  Sums sums = this->sums();
  const std::lock_guard lock(mutex_);
  const std::int64_t elapsed =
      std::chrono::duration_cast<std::chrono::microseconds>(now - last_at_).count();
  averages_.clear();
  for (const auto& [database, stats] : sums) {
    averages_[database] = console::averages_of(last_[database], stats, elapsed);
  }
  last_ = std::move(sums);
  last_at_ = now;
}

std::vector<console::DatabaseStats> Statistics::report() const {
  const Sums sums = this->sums();
  const std::lock_guard lock(mutex_);
  std::vector<console::DatabaseStats> report;
  for (const auto& [database, stats] : sums) {
    const auto averages = averages_.find(database);
    report.push_back(
        {database, stats, averages == averages_.end() ? console::Stats{} : averages->second});
  }
  return report;
}

}  // namespace dwspool::proxy
