// What the tests of the pool share: short names, and actions as text.
#pragma once

#include <string>
#include <vector>

#include "dwspool/pool/pool.h"

namespace dwspool::pool {

constexpr TimePoint at(int ms) {
  return TimePoint(std::chrono::milliseconds(ms));
}
inline ClientId client(std::uint32_t n) {
  return {n, 1};
}
inline BackendId backend(std::uint32_t n) {
  return {n, 1};
}

inline std::string text(const Action& action) {
  const std::string c = std::to_string(action.client.slot);
  const std::string b = std::to_string(action.backend.slot);
  switch (action.kind) {
    case Action::Kind::grant:
      return "grant " + b + " to " + c;
    case Action::Kind::open:
      return "open " + std::to_string(action.slot);
    case Action::Kind::close:
      return "close " + b;
    case Action::Kind::need_slot:
      return action.reserve ? "need reserve" : "need";
    case Action::Kind::free_slot:
      return "free";
    case Action::Kind::surrender:
      return "surrender " + b;
    case Action::Kind::timeout:
      return "timeout " + c;
    case Action::Kind::notice:
      return "notice " + c;
  }
  return "?";
}

inline std::string actions(Pool& pool) {
  std::vector<Action> list;
  pool.take_actions(list);
  std::string all;
  for (const Action& action : list) all += (all.empty() ? "" : ", ") + text(action);
  return all;
}

}  // namespace dwspool::pool
