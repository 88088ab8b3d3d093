// What stands behind a host name: which of its addresses are hosts of their own, and when to look
// the name up again. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dwspool/base/time.h"

namespace dwspool::cluster {

// Each the 4 bytes of an IPv4 address, or the 16 of an IPv6 one.
using AddressList = std::vector<std::string>;

// What each host of a name has from now on, by what each has now and what the name server says.
// Hosts keep their addresses as long as they are named. Several addresses of one kind are as many
// hosts, of which there is no less than one and no more than `most`; of both kinds they are one
// host that can be reached in different ways. An empty list: the host is gone, and its place free.
// An empty answer changes nothing: that no server is there any more is not what it means.
std::vector<AddressList> distribute(const std::vector<AddressList>& hosts,
                                    const AddressList& answer, std::size_t most);

// When one name is looked up.
class NameSchedule {
 public:
  // How long an answer is waited for, and how long at least from one look-up to the next.
  static constexpr Duration patience = std::chrono::seconds{5};
  static constexpr Duration shortest_pause = std::chrono::seconds{1};
  // The longest pause when there is no answer.
  static constexpr Duration longest_pause = std::chrono::minutes{5};

  NameSchedule(Duration interval, TimePoint now) : interval_(interval), next_(now) {}

  bool is_due(TimePoint now) const { return !under_way_ && now >= next_; }
  // There was no answer in time: the look-up is to be abandoned, and on_silence called.
  bool is_late(TimePoint now) const { return under_way_ && now >= next_; }
  TimePoint next() const { return next_; }

  void on_begun(TimePoint now);
  void on_answer(TimePoint now);
  // A look-up that failed, or that was abandoned. More and more time passes between them, since
  // each may hold a thread for long.
  void on_silence(TimePoint now);
  // Something cannot be reached: the answer may be another one by now.
  void hurry(TimePoint now);

 private:
  Duration interval_;
  TimePoint next_;
  TimePoint begun_;
  bool under_way_ = false;
  std::uint32_t silences_ = 0;  // in a row
};

}  // namespace dwspool::cluster
