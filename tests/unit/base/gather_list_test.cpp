#include "dwspool/base/gather_list.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool {
namespace {

std::vector<std::string> from(const GatherList& list, std::size_t mark) {
  std::vector<std::string> pieces;
  list.for_each_from(mark, [&](std::string_view bytes) { pieces.emplace_back(bytes); });
  return pieces;
}

TEST_CASE("gather list: what stands behind a mark, at every mark") {
  const std::string one = "abc";
  const std::string two = "defg";
  GatherList list;
  list.add(one);
  list.copy("-");
  list.add(two);
  const std::string all = "abc-defg";
  for (std::size_t mark = 0; mark <= all.size(); ++mark) {
    std::string joined;
    for (const std::string& piece : from(list, mark)) {
      CHECK_FALSE(piece.empty());
      joined += piece;
    }
    CHECK(joined == all.substr(mark));
  }
  CHECK(from(list, 1) == std::vector<std::string>{"bc", "-", "defg"});
  CHECK(from(list, 100).empty());
}

TEST_CASE("gather list: taken back to every length, and added again") {
  const std::string one = "abc";
  const std::string two = "defg";
  const std::string long_one(10000, 'x');  // larger than what the list keeps itself
  for (std::size_t size = 0; size <= one.size() + 1 + two.size() + long_one.size();
       size += size < 20 ? 1 : 997) {
    GatherList list;
    list.add(one);
    list.copy("-");
    list.add(two);
    list.copy(long_one);
    const std::string all = list.flatten();
    std::vector<std::string_view> behind;
    list.for_each_from(size, [&](std::string_view bytes) { behind.push_back(bytes); });
    list.truncate(size);
    CHECK(list.size() == size);
    CHECK(list.flatten() == all.substr(0, size));
    CHECK(list.empty() == (size == 0));
    for (const std::string_view bytes : behind) list.add(bytes);
    CHECK(list.flatten() == all);
    list.truncate(all.size() + 1);  // nothing to take
    CHECK(list.flatten() == all);
  }
}

TEST_CASE("gather list: what is copied behind what was taken back is not mixed with it") {
  GatherList list;
  list.copy("abcdef");
  list.truncate(3);
  list.copy("XYZ");
  CHECK(list.flatten() == "abcXYZ");
  list.clear();
  CHECK(list.empty());
  CHECK(list.size() == 0);
  list.copy("new");
  CHECK(list.flatten() == "new");
}

}  // namespace
}  // namespace dwspool
