// Which servers of a cluster a database's clients want, and how their connections are spread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dwspool {

enum class Target : std::uint8_t {
  any,             // whichever server
  read_write,      // the primary; on DWS every coordinator
  read_only,       // a standby
  prefer_standby,  // a standby, or the primary while there is none
};
inline constexpr std::size_t target_count = 4;

constexpr std::string_view to_string(Target target) {
  switch (target) {
    case Target::any:
      return "any";
    case Target::read_write:
      return "read-write";
    case Target::read_only:
      return "read-only";
    case Target::prefer_standby:
      return "prefer-standby";
  }
  return "?";
}

// A set of targets.
using TargetMask = std::uint8_t;
constexpr TargetMask mask_of(Target target) {
  return static_cast<TargetMask>(1U << static_cast<unsigned>(target));
}
inline constexpr TargetMask all_targets = (1U << target_count) - 1;

enum class Balance : std::uint8_t { least_connections, round_robin, random_two, priority };

}  // namespace dwspool
