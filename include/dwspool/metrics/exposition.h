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

// What the configuration says of a database that clients may name, and what the console has done.
struct DatabaseLimits {
  std::string name;
  std::string hosts;
  std::uint16_t port = 0;
  std::string database;
  std::string force_user;
  std::string pool_mode;
  std::uint32_t pool_size = 0;
  std::uint32_t reserve_pool_size = 0;
  bool paused = false;
  bool disabled = false;
};

// Facts that do not come from a worker's block.
struct ProcessFacts {
  std::string version;
  double start_time_seconds = 0;  // since the epoch
  std::uint64_t max_clients = 0;
  bool draining = false;
  std::uint64_t reloads_good = 0;
  std::uint64_t reloads_bad = 0;
  bool last_reload_was_good = true;
  double last_good_reload_seconds = 0;  // since the epoch; the start of the process counts
  // Our own certificates: what for ("clients", "cluster NAME"), and until when, since the epoch.
  std::vector<std::pair<std::string, std::int64_t>> certificates;
  bool pgbouncer_names = false;           // also the metrics of PgBouncer's exporter
  std::vector<DatabaseLimits> databases;  // for these
};

// Every time series of the process (doc/metrics.md explains each). `now` is the monotonic time
// that waits are measured against. Thread-safe. Workers never wait for it, but for the moment in
// which the registry copies its maps.
std::string render(const Registry& registry, const ProcessFacts& facts, TimePoint now);

}  // namespace dwspool::metrics
