// The registry in Prometheus' text format, by prometheus-cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/time.h"

#include "dwspool/metrics/registry.h"

namespace dwspool::metrics {

// Facts that do not come from a worker's block.
struct ProcessFacts {
  std::string version;
  double start_time_seconds = 0;  // since the epoch
  std::uint64_t max_clients = 0;
  bool draining = false;
  // Our own certificates: what for ("clients", "cluster NAME"), and until when, since the epoch.
  std::vector<std::pair<std::string, std::int64_t>> certificates;
};

// Every time series of the process (doc/metrics.md explains each). `now` is the monotonic time
// that waits are measured against. Thread-safe. Workers never wait for it, but for the moment in
// which the registry copies its maps.
std::string render(const Registry& registry, const ProcessFacts& facts, TimePoint now);

}  // namespace dwspool::metrics
