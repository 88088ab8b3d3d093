// How much of what a switchover breaks is made good (doc/replay.md).
#pragma once

#include <cstdint>
#include <string_view>

namespace dwspool {

// Each level contains those before it.
enum class ReplayLevel : std::uint8_t {
  off,
  connect,      // what was never sent
  statement,    // what the server refused before it ran, and what is proven to have only read
  transaction,  // a transaction that cannot have been committed, its results compared
  token,        // a COMMIT without an answer, its outcome found out
};

constexpr std::string_view to_string(ReplayLevel level) {
  switch (level) {
    case ReplayLevel::off:
      return "off";
    case ReplayLevel::connect:
      return "connect";
    case ReplayLevel::statement:
      return "statement";
    case ReplayLevel::transaction:
      return "transaction";
    case ReplayLevel::token:
      return "token";
  }
  return "?";
}

}  // namespace dwspool
