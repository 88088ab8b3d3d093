#include "app/watchdog.h"

#include <doctest/doctest.h>

namespace dwspool::app {
namespace {

using namespace std::chrono_literals;

TEST_CASE("the watchdog is told twice as often as it asks, and only by whom it asks") {
  CHECK(watchdog_interval("60000000", nullptr, 42) == 30s);
  CHECK(watchdog_interval("60000000", "42", 42) == 30s);
  CHECK(watchdog_interval("60000000", "41", 42) == 0s);
  CHECK(watchdog_interval(nullptr, "42", 42) == 0s);
  for (const char* nonsense : {"", "0", "-5", "soon", "60s", "99999999999999999999"}) {
    CHECK(watchdog_interval(nonsense, nullptr, 42) == 0s);
  }
}

}  // namespace
}  // namespace dwspool::app
