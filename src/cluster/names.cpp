#include "dwspool/cluster/names.h"

#include <algorithm>

namespace dwspool::cluster {
namespace {

bool has(const AddressList& list, const std::string& address) {
  return std::find(list.begin(), list.end(), address) != list.end();
}

bool is_same_set(const AddressList& one, const AddressList& other) {
  return one.size() == other.size() &&
         std::all_of(one.begin(), one.end(),
                     [&](const std::string& address) { return has(other, address); });
}

}  // namespace

std::vector<AddressList> distribute(const std::vector<AddressList>& hosts,
                                    const AddressList& answer, std::size_t most) {
  if (answer.empty()) return hosts;
  std::vector<AddressList> result(std::max<std::size_t>(hosts.size(), 1));
  const bool one_kind = std::all_of(answer.begin(), answer.end(), [&](const std::string& address) {
    return address.size() == answer.front().size();
  });
  if (!one_kind) {
    // Name servers turn the order round each time.
    const bool same = !hosts.empty() && is_same_set(hosts.front(), answer);
    result.front() = same ? hosts.front() : answer;
    return result;
  }
  AddressList fresh = answer;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    for (const std::string& address : hosts[i]) {
      if (!has(fresh, address)) continue;
      result[i] = {address};
      std::erase(fresh, address);
      break;
    }
  }
  std::sort(fresh.begin(), fresh.end());
  for (std::size_t i = 0; !fresh.empty() && i < std::max(most, result.size()); ++i) {
    if (i == result.size()) result.emplace_back();
    if (!result[i].empty()) continue;
    result[i] = {fresh.front()};
    fresh.erase(fresh.begin());
  }
  return result;
}

void NameSchedule::on_begun(TimePoint now) {
  under_way_ = true;
  begun_ = now;
  next_ = now + patience;
}

void NameSchedule::on_answer(TimePoint now) {
  under_way_ = false;
  silences_ = 0;
  next_ = now + interval_;
}

void NameSchedule::on_silence(TimePoint now) {
  under_way_ = false;
  const Duration pause = shortest_pause * (1U << std::min<std::uint32_t>(silences_, 16));
  next_ = now + std::min(pause, longest_pause);
  ++silences_;
}

void NameSchedule::hurry(TimePoint now) {
  if (under_way_ || silences_ > 0) return;
  next_ = std::min(next_, std::max(now, begun_ + shortest_pause));
}

}  // namespace dwspool::cluster
