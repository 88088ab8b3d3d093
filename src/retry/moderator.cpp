#include "dwspool/retry/moderator.h"

#include <algorithm>
#include <cmath>

namespace dwspool::retry {
namespace {

// What is over sooner was one connection, or a few, and no switchover.
constexpr Duration shortest_switchover = std::chrono::seconds{1};
// After so long without an attempt, the next one begins another drain.
constexpr Duration drain_ends_after = std::chrono::seconds{5};
constexpr double most_doublings = 6;
// Those that fail within it were taken down together.
constexpr Duration one_failure = std::chrono::seconds{1};
constexpr std::size_t most_suspects = 1024;

double seconds(Duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

void Moderator::see(TimePoint now) {
  seen_ = std::max(seen_, now);
}

Moderator::Answer Moderator::may_wait(std::size_t bytes, TimePoint now) {
  see(now);
  if (options_.most_waiting > 0 &&
      (waiting_ >= options_.most_waiting || bytes_ + bytes > options_.most_bytes)) {
    return Answer::crowded;
  }
  while (!switchovers_.empty() && now - switchovers_.front() > options_.switchover_window) {
    switchovers_.pop_front();
  }
  const bool flaps =
      options_.most_switchovers > 0 && switchovers_.size() >= options_.most_switchovers;
  return flaps ? Answer::flapping : Answer::welcome;
}

Moderator::Seat Moderator::enter(std::size_t bytes, TimePoint now) {
  see(now);
  if (waiting_++ == 0) began_ = now;
  bytes_ += bytes;
  return {shared_from_this(), bytes};
}

void Moderator::leave(std::size_t bytes) {
  bytes_ -= bytes;
  if (--waiting_ > 0 || seen_ - began_ < shortest_switchover) return;
  switchovers_.push_back(seen_);
  if (switchovers_.size() > std::max(options_.most_switchovers, 1U)) switchovers_.pop_front();
}

TimePoint Moderator::next_attempt(TimePoint now) {
  see(now);
  if (options_.rate == 0) return now;
  if (!draining_ || now - last_attempt_ > drain_ends_after) {
    draining_ = true;
    drain_began_ = last_attempt_ = now;
    tokens_ = options_.burst;
  }
  const double doublings = std::min(std::floor(seconds(now - drain_began_)), most_doublings);
  const double rate = options_.rate * std::exp2(std::max(doublings, 0.0));
  if (now > last_attempt_) {
    tokens_ = std::min<double>(options_.burst, tokens_ + seconds(now - last_attempt_) * rate);
    last_attempt_ = now;
  }
  tokens_ -= 1;
  if (tokens_ >= 0) return now;
  return now + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(-tokens_ / rate));
}

bool Moderator::note_taken_down(std::uint64_t statement, std::uint64_t session, TimePoint now) {
  see(now);
  if (statement == 0 || options_.quarantine_after == 0) return false;
  if (!suspects_.contains(statement) && suspects_.size() >= most_suspects) {
    suspects_.erase(std::min_element(
        suspects_.begin(), suspects_.end(),
        [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  }
  Suspect& suspect = suspects_[statement];
  const bool together =
      suspect.times > 0 && suspect.session != session && now - suspect.last < one_failure;
  if (together) return false;
  if (suspect.times == 0 || now - suspect.first > options_.quarantine_window) {
    suspect = Suspect{};
    suspect.first = now;
  }
  suspect.session = session;
  suspect.last = now;
  if (++suspect.times < options_.quarantine_after) return false;
  suspect.until = now + options_.quarantine_time;
  return true;
}

void Moderator::note_survived(std::uint64_t statement) {
  const auto found = suspects_.find(statement);
  if (found == suspects_.end() || found->second.times >= options_.quarantine_after) return;
  suspects_.erase(found);
}

bool Moderator::is_quarantined(std::uint64_t statement, TimePoint now) {
  see(now);
  const auto found = suspects_.find(statement);
  if (found == suspects_.end() || found->second.times < options_.quarantine_after ||
      options_.quarantine_after == 0) {
    return false;
  }
  if (now < found->second.until) return true;
  suspects_.erase(found);
  return false;
}

}  // namespace dwspool::retry
