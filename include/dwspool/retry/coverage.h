// What would become of work that has not failed: an operator wants to know before the switchover.
#pragma once

#include <cstddef>
#include <vector>

#include "dwspool/retry/decision.h"

namespace dwspool::retry {

// What decide() would say had the connection broken while unit `at` of `units` was under way, with
// all before it answered. Precondition: at < units.size().
Decision decide_as_if_lost(ReplayLevel level, const std::vector<LoggedUnit>& units, std::size_t at,
                           bool asked_not_to);

}  // namespace dwspool::retry
