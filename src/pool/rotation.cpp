#include "dwspool/pool/rotation.h"

#include <algorithm>

namespace dwspool::pool {

std::vector<std::size_t> Rotation::order(TimePoint now) {
  std::vector<std::size_t> order;
  std::vector<std::size_t> held_back;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::size_t coordinator = (turn_ + i) % entries_.size();
    (is_held_back(coordinator, now) ? held_back : order).push_back(coordinator);
  }
  std::stable_sort(held_back.begin(), held_back.end(), [&](std::size_t a, std::size_t b) {
    return entries_[a].held_until < entries_[b].held_until;
  });
  order.insert(order.end(), held_back.begin(), held_back.end());
  turn_ = (turn_ + 1) % entries_.size();
  return order;
}

void Rotation::on_failure(std::size_t coordinator, TimePoint now, double jitter) {
  Entry& entry = entries_[coordinator];
  entry.held_until = now + entry.backoff.next(jitter);
}

}  // namespace dwspool::pool
