// A one-shot timer.
#pragma once

#include <functional>

#include "dwspool/base/time.h"

#include "dwspool/net/loop.h"

namespace dwspool::net {

class Timer {
 public:
  // `on_time` is called on the loop; it may arm the timer again, or destroy it.
  Timer(Loop& loop, std::function<void()> on_time);

  // Calls at `deadline`, not before, to the millisecond; replaces what was armed. `never` disarms.
  void arm(TimePoint deadline);
  void disarm();
  TimePoint deadline() const { return deadline_; }

 private:
  Loop* loop_;
  std::function<void()> on_time_;
  UvPtr<uv_timer_t> handle_;
  TimePoint deadline_ = never;
};

}  // namespace dwspool::net
