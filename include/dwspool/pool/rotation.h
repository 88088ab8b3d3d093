// Which coordinator the next connection goes to: in turn, leaving out those that have just
// failed to answer, unless all have.
#pragma once

#include <cstddef>
#include <vector>

#include "dwspool/base/time.h"

#include "dwspool/retry/backoff.h"

namespace dwspool::pool {

class Rotation {
 public:
  explicit Rotation(std::size_t coordinators) : entries_(coordinators) {}

  // The order in which to try all coordinators for one connection: those in good standing in
  // turn, then those that are held back, the one that comes free first in front.
  std::vector<std::size_t> order(TimePoint now);

  void on_success(std::size_t coordinator) { entries_[coordinator] = Entry(); }
  void on_failure(std::size_t coordinator, TimePoint now, double jitter);

  bool is_held_back(std::size_t coordinator, TimePoint now) const {
    return now < entries_[coordinator].held_until;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    TimePoint held_until;
    retry::Backoff backoff = retry::Backoff();
  };
  std::vector<Entry> entries_;
  std::size_t turn_ = 0;
};

}  // namespace dwspool::pool
