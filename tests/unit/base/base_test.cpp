#include <array>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "dwspool/base/byte_queue.h"
#include "dwspool/base/gather_list.h"
#include "dwspool/base/ids.h"
#include "dwspool/base/secret.h"
#include "dwspool/base/slot_map.h"
#include "dwspool/base/text.h"
#include "dwspool/base/time.h"

namespace dwspool {

TEST_CASE("a gather list borrows, copies, and merges neighbours") {
  GatherList list;
  const std::string buffer = "hello world";
  const std::string_view view = buffer;
  list.add(view.substr(0, 5));
  list.add(view.substr(5, 1));
  CHECK(list.slices().size() == 1);
  list.copy("X");
  list.copy("Y");
  CHECK(list.slices().size() == 2);
  list.add(view.substr(6));
  CHECK(list.flatten() == "hello XYworld");
  CHECK(list.size() == 13);
  list.copy(std::string(100000, 'z'));
  CHECK(list.size() == 100013);
  list.clear();
  CHECK(list.empty());
  list.copy("again");
  CHECK(list.flatten() == "again");
}

TEST_CASE("what is copied stays while the list grows") {
  GatherList list;
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece = std::to_string(i) + ",";
    list.copy(piece);
    expected += piece;
  }
  CHECK(list.flatten() == expected);
}

TEST_CASE("a byte queue gives back what it got, and holds nothing while empty") {
  ByteQueue queue;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    queue.append("abcdefg");
    expected += "abcdefg";
    const std::size_t taken = static_cast<std::size_t>(i % 6);
    CHECK(queue.view().substr(0, taken) == expected.substr(0, taken));
    queue.consume(taken);
    expected.erase(0, taken);
  }
  CHECK(queue.view() == expected);
  queue.assign(queue.view().substr(3));  // from within itself
  CHECK(queue.view() == expected.substr(3));
  char* room = queue.grow_by(10);
  room[0] = '!';
  queue.shrink_by(9);
  CHECK(queue.view().back() == '!');
  queue.consume(queue.size());
  CHECK(queue.empty());
}

TEST_CASE("an id of something gone names nothing, also when its place is taken again") {
  struct Thing {
    int value;
  };
  SlotMap<Thing, ClientId> map;
  ClientId first;
  map.emplace([&](ClientId id) {
    first = id;
    return std::make_unique<Thing>(Thing{1});
  });
  CHECK(map.find(first)->value == 1);
  CHECK(map.find({}) == nullptr);
  CHECK(map.take(first)->value == 1);
  CHECK(map.take(first) == nullptr);
  ClientId second;
  map.emplace([&](ClientId id) {
    second = id;
    return std::make_unique<Thing>(Thing{2});
  });
  CHECK(second.slot == first.slot);
  CHECK(map.find(first) == nullptr);
  CHECK(map.find(second)->value == 2);
  CHECK(map.size() == 1);
}

TEST_CASE("a secret is wiped when it goes") {
  std::string text = "a password that is long enough for the heap, surely";
  wipe(text);
  CHECK(text.empty());
  Secret a(std::string("x"));
  const Secret b = a;
  const Secret c = std::move(a);
  CHECK(b == c);
  CHECK(c.reveal() == "x");
}

TEST_CASE("deadlines saturate") {
  CHECK(deadline_after(TimePoint{}, Duration::zero()) == never);
  CHECK(deadline_after(TimePoint{}, std::chrono::seconds(1)) == TimePoint(std::chrono::seconds(1)));
  CHECK(deadline_after(never - std::chrono::seconds(1), std::chrono::seconds(5)) == never);
}

TEST_CASE("text helpers") {
  std::string bytes;
  CHECK(hex_encode(std::string_view("\0\xff", 2)) == "00ff");
  CHECK(hex_decode("00FF", bytes));
  CHECK(bytes == std::string("\0\xff", 2));
  CHECK_FALSE(hex_decode("0", bytes));
  CHECK_FALSE(hex_decode("0g", bytes));
  CHECK(printable("a\nb\xff") == "a\\x0ab\\xff");
  CHECK(printable(std::string(200, 'x')).size() == 131);
  CHECK(trim("  x \n") == "x");
  CHECK(equals_ignore_case("AbC", "aBc"));
  const std::array<std::string_view, 3> words = {"dialect", "database", "coordinators"};
  CHECK(nearest("dialekt", words) == "dialect");
  CHECK(nearest("coordinator", words) == "coordinators");
  CHECK(nearest("xyzzy", words).empty());
}

TEST_CASE("UTF-8, and what only looks like it") {
  const auto length = [](std::string_view text) { return utf8_length(text); };
  CHECK(length("") == 0);
  CHECK(length("a\xc3\xa4") == 1);
  CHECK(length(std::string_view("\0", 1)) == 1);
  CHECK(length("\xc3\xa4x") == 2);
  CHECK(length("\xe2\x82\xac") == 3);
  CHECK(length("\xf0\x9f\x98\x80") == 4);
  CHECK(length("\xc2\x80") == 2);
  CHECK(length("\xdf\xbf") == 2);
  CHECK(length("\xe0\xa0\x80") == 3);
  CHECK(length("\xed\x9f\xbf") == 3);
  CHECK(length("\xee\x80\x80") == 3);
  CHECK(length("\xf0\x90\x80\x80") == 4);
  CHECK(length("\xf4\x8f\xbf\xbf") == 4);
  for (const char* bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xe2\x82",
        "\xe2\x82(", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xfe"}) {
    CAPTURE(hex_encode(bad));
    CHECK(length(bad) == 0);
  }
}

TEST_CASE("JSON strings are JSON, whatever is put into them") {
  const auto json = [](std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  };
  CHECK(json("") == R"("")");
  CHECK(json(R"(a"b\c)") == R"("a\"b\\c")");
  CHECK(json("\n\r\t") == R"("\n\r\t")");
  CHECK(json(std::string_view("\0\x1f\x7f", 3)) == "\"\\u0000\\u001f\x7f\"");
  CHECK(json("\xc3\xa4\xf0\x9f\x98\x80") == "\"\xc3\xa4\xf0\x9f\x98\x80\"");
  CHECK(json("a\xffz") == "\"a\xef\xbf\xbdz\"");
  CHECK(json("\xe2\x82\"") == "\"\xef\xbf\xbd\xef\xbf\xbd\\\"\"");
  for (int byte = 0; byte < 256; ++byte) {
    std::string_view rest;
    const std::string out = json(std::string(1, static_cast<char>(byte)) + "\xc3");
    for (rest = out; !rest.empty(); rest.remove_prefix(utf8_length(rest))) {
      REQUIRE(utf8_length(rest) > 0);
      REQUIRE(static_cast<unsigned char>(rest.front()) >= 0x20);
    }
  }
}

}  // namespace dwspool
