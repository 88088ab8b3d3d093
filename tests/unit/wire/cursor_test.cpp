#include "dwspool/wire/cursor.h"

#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "support/cuts.h"

namespace dwspool::wire {

using dwspool::testing::Exact;
using dwspool::testing::random_text;

TEST_CASE("cursor: numbers are big-endian and unsigned") {
  Cursor cursor(std::string_view("\x80\xff\xfe\x80\x00\x00\x01\xff\xff\xff\xff", 11));
  CHECK(cursor.u8() == 0x80);
  CHECK(cursor.u16() == 0xfffe);
  CHECK(cursor.u32() == 0x80000001);
  CHECK(cursor.u32() == 0xffffffff);
  CHECK(cursor.finished_cleanly());
}

TEST_CASE("cursor: a C string ends at its NUL, which goes with it") {
  Cursor cursor(std::string_view("name\0\0rest", 10));
  CHECK(cursor.cstring() == "name");
  CHECK(cursor.cstring().empty());
  CHECK(cursor.ok());
  CHECK(cursor.rest() == "rest");
  CHECK_FALSE(cursor.finished_cleanly());
  CHECK(cursor.cstring().empty());  // no NUL left
  CHECK_FALSE(cursor.ok());
}

TEST_CASE("cursor: bytes() gives what is asked for and not one more") {
  const Exact body("abc");
  Cursor whole(body);
  CHECK(whole.bytes(0).empty());
  CHECK(whole.bytes(3) == "abc");
  CHECK(whole.finished_cleanly());
  for (const std::size_t n :
       {std::size_t{4}, std::size_t{0xffffffff}, std::numeric_limits<std::size_t>::max()}) {
    CAPTURE(n);
    Cursor cursor(body);
    CHECK(cursor.bytes(n).empty());
    CHECK_FALSE(cursor.ok());
  }
}

TEST_CASE("cursor: a step too far fails for good and yields zeros") {
  struct Row {
    std::string name;
    std::string_view body;
    void (*step)(Cursor&);
  };
  const Row rows[] = {
      {"u8", "", [](Cursor& c) { CHECK(c.u8() == 0); }},
      {"u16", "\xff", [](Cursor& c) { CHECK(c.u16() == 0); }},
      {"u32", std::string_view("a\0b", 3), [](Cursor& c) { CHECK(c.u32() == 0); }},
      {"cstring", "text", [](Cursor& c) { CHECK(c.cstring().empty()); }},
      {"bytes", "text", [](Cursor& c) { CHECK(c.bytes(5).empty()); }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const Exact body(row.body);
    Cursor cursor(body);
    row.step(cursor);
    CHECK_FALSE(cursor.ok());
    CHECK_FALSE(cursor.finished_cleanly());
    // Even what would have fitted does not come any more.
    CHECK(cursor.u8() == 0);
    CHECK(cursor.u16() == 0);
    CHECK(cursor.u32() == 0);
    CHECK(cursor.bytes(1).empty());
    CHECK(cursor.cstring().empty());
    CHECK_FALSE(cursor.ok());
  }
}

TEST_CASE("cursor: an empty body is finished and a missing one fails") {
  Cursor cursor{std::string_view()};
  CHECK(cursor.finished_cleanly());
  CHECK(cursor.bytes(0).empty());
  CHECK(cursor.finished_cleanly());
  CHECK(cursor.cstring().empty());
  CHECK_FALSE(cursor.ok());
}

TEST_CASE("cursor: random walks over random bytes never leave them") {
  std::mt19937 random(20261121);
  std::uniform_int_distribution<int> step(0, 4);
  for (int round = 0; round < 20000; ++round) {
    const Exact body(random_text(random, random() % 24, std::string_view("\0\0\1ab\xff", 6)));
    Cursor cursor(body);
    std::size_t taken = 0;
    for (int i = 0; i < 12 && cursor.ok(); ++i) {
      const std::size_t before = cursor.rest().size();
      switch (step(random)) {
        case 0:
          cursor.u8();
          break;
        case 1:
          cursor.u16();
          break;
        case 2:
          cursor.u32();
          break;
        case 3:
          cursor.cstring();
          break;
        default:
          cursor.bytes(random() % 8);
          break;
      }
      REQUIRE(cursor.rest().size() <= before);
      taken += before - cursor.rest().size();
    }
    REQUIRE(taken + cursor.rest().size() == body.view().size());
  }
}

}  // namespace dwspool::wire
