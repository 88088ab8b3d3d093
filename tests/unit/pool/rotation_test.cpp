#include "dwspool/pool/rotation.h"

#include <doctest/doctest.h>

namespace dwspool::pool {

using Order = std::vector<std::size_t>;
constexpr TimePoint start{std::chrono::seconds(100)};

TEST_CASE("coordinators take turns") {
  Rotation rotation(3);
  CHECK(rotation.order(start) == Order{0, 1, 2});
  CHECK(rotation.order(start) == Order{1, 2, 0});
  CHECK(rotation.order(start) == Order{2, 0, 1});
}

TEST_CASE("one that fails goes to the end for a while, longer each time, then comes back") {
  Rotation rotation(2);
  rotation.on_failure(0, start, 0);
  CHECK(rotation.is_held_back(0, start + std::chrono::milliseconds(99)));
  CHECK(rotation.order(start) == Order{1, 0});
  CHECK_FALSE(rotation.is_held_back(0, start + std::chrono::milliseconds(100)));
  rotation.on_failure(0, start, 0);
  CHECK(rotation.is_held_back(0, start + std::chrono::milliseconds(199)));
  for (int i = 0; i < 20; ++i) rotation.on_failure(0, start, 0);
  CHECK_FALSE(rotation.is_held_back(0, start + std::chrono::seconds(2)));
  rotation.on_success(0);
  CHECK_FALSE(rotation.is_held_back(0, start));
}

TEST_CASE("when all have failed, the one that comes free first is tried first") {
  Rotation rotation(3);
  rotation.on_failure(0, start + std::chrono::milliseconds(50), 0);
  rotation.on_failure(1, start, 0);
  rotation.on_failure(2, start + std::chrono::milliseconds(20), 0);
  CHECK(rotation.order(start) == Order{1, 2, 0});
}

}  // namespace dwspool::pool
