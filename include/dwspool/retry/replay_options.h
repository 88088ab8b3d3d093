// How far replay goes, and its bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dwspool/base/pool_mode.h"
#include "dwspool/base/replay_level.h"
#include "dwspool/base/time.h"

namespace dwspool::retry {

// The level by this name, in any case.
std::optional<ReplayLevel> read_replay_level(std::string_view name);

struct ReplayOptions {
  ReplayLevel level = ReplayLevel::transaction;
  Duration deadline = Duration::zero();  // from the first failure to the answer; 0: by dialect
  std::uint32_t attempts = 5;            // how often one unit may be lost
  std::size_t log_bytes = std::size_t{8} << 20U;  // of one transaction
  std::size_t log_units = 10000;
  std::size_t memory = std::size_t{1} << 30U;       // of all logs of a worker
  std::size_t hold_bytes = std::size_t{64} << 10U;  // of an answer to a read
  Duration hold_time = std::chrono::milliseconds{20};
  bool needs_primary = false;  // only a server that writes will do: its 25006 is a switchover

  Duration deadline_for(Dialect dialect) const {
    if (deadline > Duration::zero()) return deadline;
    return dialect == Dialect::postgres ? std::chrono::seconds{60} : std::chrono::seconds{150};
  }
};

}  // namespace dwspool::retry
