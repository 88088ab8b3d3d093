#include "config/units.h"

#include <chrono>
#include <limits>
#include <string>

#include <doctest/doctest.h>

namespace dwspool::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("durations with every unit") {
  struct Row {
    std::string_view text;
    Duration duration;
  };
  const Row rows[] = {
      {"0", Duration::zero()},     {"0s", Duration::zero()}, {"100ms", milliseconds{100}},
      {"30s", seconds{30}},        {"10min", minutes{10}},   {"1h", hours{1}},
      {"1d", hours{24}},           {"30 s", seconds{30}},    {"007s", seconds{7}},
      {"106751d", hours{2562024}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<Duration> parsed = parse_duration(row.text);
    REQUIRE(parsed);
    CHECK(*parsed == row.duration);
  }
}

TEST_CASE("durations that are none") {
  for (const std::string_view text :
       {"30", "00x", "", "s", "-1s", "+1s", "1.5s", "1m", "1S", "1 min 2 s", "1h30min", "30  s",
        " 30s", "30s ", "1us", "0x10s", "ms30"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
  CHECK(parse_duration("30").error().message ==
        "the unit is missing: write ms, s, min, h or d behind the number");
  CHECK(parse_duration("1m").error().message ==
        "expected a duration such as 100ms, 30s, 10min, 1h or 1d");
}

TEST_CASE("durations too large to count") {
  for (const std::string_view text :
       {"106752d", "99999999999999999999s", "9223372036855s1", "18446744073709551615ms"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("sizes with every unit") {
  struct Row {
    std::string_view text;
    std::uint64_t bytes;
  };
  const Row rows[] = {
      {"0", 0},
      {"512", 512},
      {"512B", 512},
      {"64KiB", 65536},
      {"8MiB", 8388608},
      {"2GiB", 1ULL << 31U},
      {"64kB", 64000},
      {"64KB", 64000},
      {"8MB", 8000000},
      {"1GB", 1000000000},
      {"1 GB", 1000000000},
      {"18446744073709551615", std::numeric_limits<std::uint64_t>::max()},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<std::uint64_t> parsed = parse_size(row.text);
    REQUIRE(parsed);
    CHECK(*parsed == row.bytes);
  }
}

TEST_CASE("sizes that are none") {
  for (const std::string_view text : {"", "GB", "1K", "1M", "1g", "-1", "1.5GB", "1 G B", "1TB",
                                      "18446744073709551616", "18014398509481985KiB"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("whole numbers") {
  CHECK(*parse_whole_number("0") == 0);
  CHECK(*parse_whole_number("0042") == 42);
  for (const std::string_view text : {"", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_whole_number(text));
  }
}

TEST_CASE("durations are shown in the unit that they were written in") {
  for (const std::string_view text : {"0", "1ms", "1500ms", "90s", "10min", "25h", "2d"}) {
    CAPTURE(text);
    CHECK(format_duration(*parse_duration(text)) == text);
  }
  CHECK(format_duration(*parse_duration("120s")) == "2min");
}

}  // namespace
}  // namespace dwspool::config
