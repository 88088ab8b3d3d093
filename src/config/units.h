// Durations and sizes as people write them.
#pragma once

#include <cstdint>
#include <string_view>

#include "dwspool/base/result.h"
#include "dwspool/base/time.h"

namespace dwspool::config {

// "30s", "100ms", "10min", "1h", "1d", with or without a space; and "0", which needs no unit.
// Other numbers without a unit are refused: half of their readers would take them for the
// other unit.
Result<Duration> parse_duration(std::string_view text);

// "64KiB", "8MiB", "1GiB" (powers of 1024), "64kB", "8MB", "1GB" (powers of 1000), "512B" and
// "512" (bytes).
Result<std::uint64_t> parse_size(std::string_view text);

// Decimal digits only: no sign, no space, no fraction.
Result<std::uint64_t> parse_whole_number(std::string_view text);

// As parse_duration reads it, in the largest unit that loses nothing: "90s", "10min", "0".
std::string format_duration(Duration duration);

}  // namespace dwspool::config
