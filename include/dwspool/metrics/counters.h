// Numbers that one thread writes and any thread may read. A write is a plain addition: no lock,
// no bus-locked instruction.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dwspool/base/time.h"

namespace dwspool::metrics {

// Only grows.
class Counter {
 public:
  // From the owning thread only.
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  // From the owning thread only.
  void add(std::int64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(std::int64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// Upper bounds of the buckets of every duration histogram, in seconds; +Inf follows.
inline constexpr std::array<double, 16> duration_bounds = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05,   0.1,     0.25,   0.5,   1,      2.5,   10,   60};

class DurationHistogram {
 public:
  // From the owning thread only.
  void observe(Duration d) {
    const double seconds = to_seconds(d);
    std::size_t i = 0;
    while (i < duration_bounds.size() && seconds > duration_bounds[i]) ++i;
    buckets_[i].add();
    nanoseconds_.add(d > Duration::zero() ? static_cast<std::uint64_t>(d.count()) : 0);
  }
  // Not cumulative; the last one is +Inf's.
  std::uint64_t bucket(std::size_t i) const { return buckets_[i].value(); }
  double sum_seconds() const { return static_cast<double>(nanoseconds_.value()) / 1e9; }

  static constexpr std::size_t size = duration_bounds.size() + 1;

 private:
  std::array<Counter, size> buckets_;
  Counter nanoseconds_;
};

}  // namespace dwspool::metrics
