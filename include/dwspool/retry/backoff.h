// Growing, bounded pauses between attempts.
#pragma once

#include <algorithm>

#include "dwspool/base/time.h"

namespace dwspool::retry {

class Backoff {
 public:
  constexpr explicit Backoff(Duration first = std::chrono::milliseconds{100},
                             Duration longest = std::chrono::seconds{2})
      : first_(first), longest_(longest), current_(first) {}

  // The pause before the next attempt; doubles with every call. `jitter` in [0, 1) takes up to a
  // quarter off, so that those who failed together do not come back together.
  Duration next(double jitter) {
    const Duration pause = current_;
    current_ = std::min(current_ * 2, longest_);
    return pause - std::chrono::duration_cast<Duration>(pause * (jitter / 4));
  }
  void reset() { current_ = first_; }

 private:
  Duration first_;
  Duration longest_;
  Duration current_;
};

}  // namespace dwspool::retry
