// The time series of replay as rows, for those who do not speak Prometheus.
#pragma once

#include <string>
#include <vector>

#include "dwspool/metrics/registry.h"

namespace dwspool::metrics {

struct ReplayNumber {
  std::string name;      // of the metric, without "dwspool_replay_"
  std::string database;  // these are empty where the metric has no such label
  std::string user;
  std::string failure;
  std::string outcome;  // result, reason or outcome
  double value = 0;
};

// What the exposition has as dwspool_replay_*, without the counters that are 0 and without the
// buckets of histograms. Thread-safe.
std::vector<ReplayNumber> replay_numbers(const Registry& registry);

}  // namespace dwspool::metrics
