#include "config/units.h"

#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <string>
#include <system_error>

#include "dwspool/base/text.h"

namespace dwspool::config {
namespace {

using std::chrono::duration_cast;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t nanoseconds_of(Duration duration) {
  return static_cast<std::uint64_t>(duration.count());
}

// From the largest down: the order that format_duration needs.
constexpr std::array time_units = {
    Unit{"d", nanoseconds_of(std::chrono::hours{24})},
    Unit{"h", nanoseconds_of(std::chrono::hours{1})},
    Unit{"min", nanoseconds_of(std::chrono::minutes{1})},
    Unit{"s", nanoseconds_of(std::chrono::seconds{1})},
    Unit{"ms", nanoseconds_of(std::chrono::milliseconds{1})},
};

constexpr std::array size_units = {
    Unit{"B", 1},
    Unit{"KiB", std::uint64_t{1} << 10U},
    Unit{"MiB", std::uint64_t{1} << 20U},
    Unit{"GiB", std::uint64_t{1} << 30U},
    Unit{"kB", 1000},
    Unit{"KB", 1000},
    Unit{"MB", 1000000},
    Unit{"GB", 1000000000},
};

constexpr std::string_view too_large = "the number is too large";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Splits "10 min" into its number and its unit.
struct Quantity {
  std::uint64_t number = 0;
  std::string_view unit;
};

Result<Quantity> parse_quantity(std::string_view text, std::string_view expected) {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) ++digits;
  if (digits == 0) return Error{"expected " + std::string(expected)};
  Result<std::uint64_t> number = parse_whole_number(text.substr(0, digits));
  if (!number) return number.error();
  std::string_view unit = text.substr(digits);
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  return Quantity{*number, unit};
}

Result<std::uint64_t> multiply(std::uint64_t number, std::uint64_t factor, std::uint64_t most) {
  if (number > most / factor) return Error{std::string(too_large)};
  return number * factor;
}

}  // namespace

Result<std::uint64_t> parse_whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  if (failure == std::errc::result_out_of_range) return Error{std::string(too_large)};
  if (failure != std::errc{} || rest != end) return Error{"expected a whole number"};
  return number;
}

Result<Duration> parse_duration(std::string_view text) {
  static constexpr std::string_view expected = "a duration such as 100ms, 30s, 10min, 1h or 1d";
  Result<Quantity> quantity = parse_quantity(text, expected);
  if (!quantity) return quantity.error();
  if (quantity->unit.empty()) {
    if (quantity->number == 0) return Duration::zero();
    return Error{"the unit is missing: write ms, s, min, h or d behind the number"};
  }
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<Duration::rep>::max());
  for (const Unit& unit : time_units) {
    if (unit.name != quantity->unit) continue;
    Result<std::uint64_t> count = multiply(quantity->number, unit.factor, most);
    if (!count) return count.error();
    return Duration{static_cast<Duration::rep>(*count)};
  }
  return Error{"expected " + std::string(expected)};
}

Result<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::string_view expected = "a size such as 64KiB, 8MiB or 1GB";
  Result<Quantity> quantity = parse_quantity(text, expected);
  if (!quantity) return quantity.error();
  if (quantity->unit.empty()) return quantity->number;
  for (const Unit& unit : size_units) {
    if (unit.name != quantity->unit) continue;
    return multiply(quantity->number, unit.factor, std::numeric_limits<std::uint64_t>::max());
  }
  return Error{"expected " + std::string(expected)};
}

std::string format_duration(Duration duration) {
  if (duration <= Duration::zero()) return "0";
  const std::uint64_t count = nanoseconds_of(duration);
  for (const Unit& unit : time_units) {
    if (count % unit.factor == 0) {
      return std::to_string(count / unit.factor) + std::string(unit.name);
    }
  }
  return std::to_string(duration_cast<std::chrono::milliseconds>(duration).count()) + "ms";
}

}  // namespace dwspool::config
