// How many backends there may be of one pool, whatever the number of workers: an exact count, and
// the places go to whoever waits longest.
//
// Thread-safe. The lock is taken when a backend is opened or closed and when a worker is refused,
// never for a transaction.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "dwspool/base/time.h"

namespace dwspool::proxy {

inline constexpr std::size_t max_workers = 64;

// One pool's places.
class SlotAccount {
 public:
  SlotAccount(std::size_t workers, std::uint32_t limit, std::uint32_t reserve)
      : workers_(workers), limit_(limit), reserve_(reserve) {}

  // Takes a place if there is one; else the worker is put on the list of those to be told when
  // one comes free.
  bool try_take(std::size_t worker, bool reserve);
  // Gives a place back. Returns the workers that were refused since and should ask again.
  std::vector<std::size_t> give_back();
  std::uint32_t taken() const;
  // Other limits from now on. Returns the workers that were refused before and should ask again.
  std::vector<std::size_t> set_limits(std::uint32_t limit, std::uint32_t reserve);
  // How many places more are taken than there are, since the limits came down. Takes no lock.
  std::uint32_t surplus() const { return surplus_.load(std::memory_order_relaxed); }

  // What this worker's clients wait for, seen by the others: since when, or `never`.
  void publish_wait(std::size_t worker, TimePoint since) {
    waits_[worker].store(since.time_since_epoch().count(), std::memory_order_relaxed);
  }
  // The longest wait on any other worker: since when, or `never`.
  TimePoint foreign_wait(std::size_t worker) const {
    if (workers_ == 1) return never;
    return oldest_other(worker).since;
  }
  struct Waiting {
    std::size_t worker = 0;
    TimePoint since = never;
  };
  Waiting oldest_other(std::size_t worker) const;

 private:
  void note_surplus();

  std::size_t workers_;
  std::uint32_t limit_;
  std::uint32_t reserve_;
  mutable std::mutex mutex_;
  std::uint32_t taken_ = 0;
  std::vector<std::size_t> refused_;
  std::atomic<std::uint32_t> surplus_{0};  // written under the lock
  struct alignas(64) Wait : std::atomic<std::int64_t> {
    Wait() : std::atomic<std::int64_t>(never.time_since_epoch().count()) {}
    using std::atomic<std::int64_t>::store;
  };
  std::array<Wait, max_workers> waits_;
};

class SlotLedger {
 public:
  explicit SlotLedger(std::size_t workers) : workers_(workers) {}
  // The account of that name; made with these limits if it is new.
  std::shared_ptr<SlotAccount> account(const std::string& pool, std::uint32_t limit,
                                       std::uint32_t reserve);

 private:
  std::size_t workers_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<SlotAccount>> accounts_;
};

}  // namespace dwspool::proxy
