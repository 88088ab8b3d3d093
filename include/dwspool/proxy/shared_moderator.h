// The moderator of a cluster, for all workers. Threads: any.
#pragma once

#include <mutex>

#include "dwspool/retry/moderator.h"

namespace dwspool::proxy {

class SharedModerator final : public retry::Moderator {
 public:
  using Moderator::Moderator;

  Answer may_wait(std::size_t bytes, TimePoint now) override {
    const std::lock_guard lock(mutex_);
    return Moderator::may_wait(bytes, now);
  }
  Seat enter(std::size_t bytes, TimePoint now) override {
    const std::lock_guard lock(mutex_);
    return Moderator::enter(bytes, now);
  }
  TimePoint next_attempt(TimePoint now) override {
    const std::lock_guard lock(mutex_);
    return Moderator::next_attempt(now);
  }
  bool note_taken_down(std::uint64_t statement, std::uint64_t session, TimePoint now) override {
    const std::lock_guard lock(mutex_);
    return Moderator::note_taken_down(statement, session, now);
  }
  bool is_quarantined(std::uint64_t statement, TimePoint now) override {
    const std::lock_guard lock(mutex_);
    return Moderator::is_quarantined(statement, now);
  }
  void note_survived(std::uint64_t statement) override {
    const std::lock_guard lock(mutex_);
    Moderator::note_survived(statement);
  }
  std::size_t waiting() const override {
    const std::lock_guard lock(mutex_);
    return Moderator::waiting();
  }

 protected:
  void leave(std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    Moderator::leave(bytes);
  }

 private:
  mutable std::mutex mutex_;
};

}  // namespace dwspool::proxy
