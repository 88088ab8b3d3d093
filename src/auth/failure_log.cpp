#include "dwspool/auth/failure_log.h"

#include <algorithm>

namespace dwspool::auth {

bool FailureLog::is_blocked(const std::string& address, TimePoint now) {
  if (limit_ == 0) return false;
  forget_old(now);
  const auto found = entries_.find(address);
  return found != entries_.end() && found->second.failures >= limit_;
}

Duration FailureLog::on_failure(const std::string& address, TimePoint now) {
  if (limit_ == 0) return Duration::zero();
  forget_old(now);
  auto found = entries_.find(address);
  if (found == entries_.end()) {
    // Whoever has more addresses than we count is not kept out by counting.
    if (entries_.size() >= max_addresses) return longest_delay;
    found = entries_.emplace(address, Entry{0, now}).first;
    order_.emplace_back(now, address);
  }
  const std::uint32_t before = found->second.failures++;
  static constexpr std::uint32_t most_doublings = 10;
  return std::min(first_delay * (1U << std::min(before, most_doublings)), longest_delay);
}

void FailureLog::forget_old(TimePoint now) {
  while (!order_.empty() && order_.front().first + window <= now) {
    entries_.erase(order_.front().second);
    order_.pop_front();
  }
}

}  // namespace dwspool::auth
