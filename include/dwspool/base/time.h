// Time as the core sees it: a value that comes in with an event. No clock can be read through
// this header; the shell reads the monotonic clock (net::Loop::now) and passes the result on.
#pragma once

#include <chrono>
#include <cstdint>

namespace dwspool {

struct MonotonicClock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

using Duration = MonotonicClock::duration;
using TimePoint = MonotonicClock::time_point;

// "Never": later than any deadline that can be computed from a real time and a configured duration.
inline constexpr TimePoint never = TimePoint::max();

// t + d, saturating at `never`; a duration of zero or less stands for "no limit".
constexpr TimePoint deadline_after(TimePoint t, Duration d) {
  if (d <= Duration::zero()) return never;
  return (never - t > d) ? t + d : never;
}

constexpr double to_seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace dwspool
