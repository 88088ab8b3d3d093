// The numbers of SHOW STATS: sums per database, and averages over the last period. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "dwspool/base/time.h"

#include "dwspool/metrics/registry.h"

#include "dwspool/console/facts.h"

namespace dwspool::proxy {

class Statistics {
 public:
  explicit Statistics(const metrics::Registry& registry) : registry_(registry) {}

  // As PgBouncer's stats_period.
  static constexpr Duration period = std::chrono::seconds{60};
  // A period is over.
  void sample(TimePoint now);

  std::vector<console::DatabaseStats> report() const;

 private:
  using Sums = std::map<std::string, console::Stats>;
  Sums sums() const;

  const metrics::Registry& registry_;
  mutable std::mutex mutex_;
  Sums last_;
  Sums averages_;
  TimePoint last_at_;
};

}  // namespace dwspool::proxy
