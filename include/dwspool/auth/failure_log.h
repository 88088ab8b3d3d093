// Failed log-ins by address: the more there are, the longer the next refusal takes, and at some
// point nobody from there is listened to for a while. Forgets with time; knows a bounded number of
// addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "dwspool/base/hash.h"
#include "dwspool/base/time.h"

namespace dwspool::auth {

class FailureLog {
 public:
  // `limit`: failures within `window` from one address; 0: no limit and no delays.
  explicit FailureLog(std::uint32_t limit) : limit_(limit) {}

  static constexpr Duration window = std::chrono::minutes{1};
  static constexpr Duration first_delay = std::chrono::milliseconds{50};
  static constexpr Duration longest_delay = std::chrono::seconds{3};
  static constexpr std::size_t max_addresses = 10000;

  // Whether this address has had its share, and is not to be tried at all.
  bool is_blocked(const std::string& address, TimePoint now);
  // How long to wait before saying so.
  Duration on_failure(const std::string& address, TimePoint now);

 private:
  struct Entry {
    std::uint32_t failures = 0;
    TimePoint since;  // of the first failure in this window
  };
  void forget_old(TimePoint now);

  std::uint32_t limit_;
  StringMap<Entry> entries_;
  std::deque<std::pair<TimePoint, std::string>> order_;  // when each was entered
};

}  // namespace dwspool::auth
