// When a backend goes back to its pool (README "Pool modes"; design decision in
// doc/architecture.md).
#pragma once

#include <cstdint>
#include <string_view>

namespace dwspool {

enum class PoolMode : std::uint8_t {
  session,      // when the client leaves
  transaction,  // when the transaction ends; session state is the application's problem
  statement,    // when the statement ends; transaction blocks are refused
  automatic,    // when the transaction ends and nothing binds the session to its backend
};

constexpr std::string_view to_string(PoolMode mode) {
  switch (mode) {
    case PoolMode::session:
      return "session";
    case PoolMode::transaction:
      return "transaction";
    case PoolMode::statement:
      return "statement";
    case PoolMode::automatic:
      return "auto";
  }
  return "?";
}

// What the server speaks besides the common protocol; `unknown` until the first log-in has shown
// it.
enum class Dialect : std::uint8_t { unknown, postgres, dws };

constexpr std::string_view to_string(Dialect dialect) {
  switch (dialect) {
    case Dialect::unknown:
      return "unknown";
    case Dialect::postgres:
      return "postgres";
    case Dialect::dws:
      return "dws";
  }
  return "?";
}

}  // namespace dwspool
