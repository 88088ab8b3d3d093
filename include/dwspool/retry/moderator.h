// What keeps the sessions of a cluster from making its failure worse (doc/replay.md, "Keeping the
// peace"): only so many wait, they do not come back all at once, a cluster that fails over and over
// is not waited for, and a statement that takes its server down is not carried from one server to
// the next.
//
// One for each cluster. It is asked only when something has failed. Threads: one; the shell has one
// with a lock (proxy/shared_moderator.h), which is why these are virtual.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>

#include "dwspool/base/time.h"

namespace dwspool::retry {

struct ModeratorOptions {
  std::size_t most_waiting = 5000;                   // sessions; 0: any number
  std::size_t most_bytes = std::size_t{256} << 20U;  // of what they have said
  std::uint32_t rate = 200;                          // attempts in the first second; 0: any
  std::uint32_t burst = 16;                          // attempts at once
  std::uint32_t most_switchovers = 20;               // within the window; 0: any number
  Duration switchover_window = std::chrono::minutes{10};
  std::uint32_t quarantine_after = 2;  // servers taken down; 0: never
  Duration quarantine_window = std::chrono::minutes{10};
  Duration quarantine_time = std::chrono::minutes{30};
};

class Moderator : public std::enable_shared_from_this<Moderator> {
 public:
  explicit Moderator(const ModeratorOptions& options) : options_(options) {}
  virtual ~Moderator() = default;
  Moderator(const Moderator&) = delete;
  Moderator& operator=(const Moderator&) = delete;

  // One that waits; it gives its place back when it goes.
  class Seat {
   public:
    Seat() = default;
    Seat(std::shared_ptr<Moderator> moderator, std::size_t bytes)
        : moderator_(std::move(moderator)), bytes_(bytes) {}
    Seat(Seat&& other) noexcept
        : moderator_(std::move(other.moderator_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Seat& operator=(Seat&& other) noexcept {
      std::swap(moderator_, other.moderator_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    ~Seat() {
      if (moderator_) moderator_->leave(bytes_);
    }

   private:
    std::shared_ptr<Moderator> moderator_;
    std::size_t bytes_ = 0;
  };

  enum class Answer : std::uint8_t { welcome, crowded, flapping };
  // Whether one more may wait, with so much to be said again.
  virtual Answer may_wait(std::size_t bytes, TimePoint now);
  virtual Seat enter(std::size_t bytes, TimePoint now);
  // When the next attempt may begin: now, or later. Each call is an attempt. The rate doubles with
  // every second, up to 64 times, since a server that has taken the first ones will take more.
  virtual TimePoint next_attempt(TimePoint now);

  // A statement, by its fingerprint (0: unknown, which is never in quarantine), was run again by
  // `session`, and its connection ended once more without a word of the server. Many that fail at
  // the same moment are one failure. True if it has just come into quarantine.
  virtual bool note_taken_down(std::uint64_t statement, std::uint64_t session, TimePoint now);
  virtual bool is_quarantined(std::uint64_t statement, TimePoint now);
  // It was run again, and answered: it was not to blame, unless it is in quarantine already.
  virtual void note_survived(std::uint64_t statement);

  virtual std::size_t waiting() const { return waiting_; }

 protected:
  virtual void leave(std::size_t bytes);

 private:
  struct Suspect {
    std::uint32_t times = 0;
    std::uint64_t session = 0;  // the last one
    TimePoint first{};
    TimePoint last{};
    TimePoint until{};  // in quarantine
  };

  void see(TimePoint now);

  const ModeratorOptions options_;
  TimePoint seen_{};  // the latest time that was told
  std::size_t waiting_ = 0;
  std::size_t bytes_ = 0;
  TimePoint began_{};                  // the first of those that wait
  std::deque<TimePoint> switchovers_;  // when they were over
  // The attempts:
  bool draining_ = false;
  TimePoint drain_began_{};
  TimePoint last_attempt_{};
  double tokens_ = 0;
  std::unordered_map<std::uint64_t, Suspect> suspects_;
};

}  // namespace dwspool::retry
