// What every part of the simulation shares: the one source of chance, the time, the trace, and the
// way to say that a promise was broken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/time.h"

#include "sim/broken.h"

namespace dwspool::sim {

// A promise of dwspool's that was not kept; ends the schedule.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// splitmix64: small, and the same everywhere, which std::uniform_int_distribution is not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  // Precondition: n > 0.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  std::size_t between(std::size_t low, std::size_t high) { return low + below(high - low + 1); }
  bool chance(unsigned percent) { return next() % 100 < percent; }
  bool per_mille(unsigned of_thousand) { return next() % 1000 < of_thousand; }

 private:
  std::uint64_t state_;
};

class Trace {
 public:
  bool on() const { return on_; }
  void enable() { on_ = true; }
  void add(std::string line) {
    if (on_) lines_.push_back(std::move(line));
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  bool on_ = false;
  std::vector<std::string> lines_;
};

struct Context {
  Context(std::uint64_t seed, Broken which) : random(seed), apart(~seed), broken(which) {}

  Random random;
  Random apart;  // for whether a schedule is of a special kind: the others play as they did
  TimePoint now{std::chrono::seconds{1000}};
  Trace trace;
  Broken broken;
  bool long_schedules = false;
  bool was_read_only = false;      // what has passed once may be refused the next time
  std::uint64_t broken_times = 0;  // how often the defect has shown itself

  bool is_broken(Broken which) const { return broken == which; }
  // Builds the text only when somebody reads it.
  template <class Make>
  void note(Make&& make) {
    if (trace.on()) trace.add(std::forward<Make>(make)());
  }
  [[noreturn]] void violate(const std::string& what) { throw Violation(what); }
};

// For the trace: letters of messages, as in "QZ".
std::string message_types(std::string_view bytes);

}  // namespace dwspool::sim
