#include "dwspool/wire/writer.h"

#include <string>

#include <doctest/doctest.h>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"

namespace dwspool::wire {

using namespace std::string_literals;

TEST_CASE("writer: numbers are big-endian") {
  std::string out;
  append_u16(out, 0x8001);
  append_u32(out, 0xfffefdfc);
  CHECK(out == "\x80\x01\xff\xfe\xfd\xfc");
  store_u32(out.data() + 1, 0x01020304);
  CHECK(out == "\x80\x01\x02\x03\x04\xfc");
  CHECK(load_u32(out.data() + 1) == 0x01020304);
}

TEST_CASE("writer: the length counts itself and the body, not the type") {
  std::string out;
  MessageWriter(out, 'Q').cstring("select 1").end();
  CHECK(out == "Q\0\0\0\x0dselect 1\0"s);
}

TEST_CASE("writer: a message without a body is five bytes") {
  std::string out;
  MessageWriter(out, 'S').end();
  CHECK(out == "S\0\0\0\x04"s);
}

TEST_CASE("writer: type 0 stands for a start-up packet, which has none") {
  std::string out = "before";
  MessageWriter(out, '\0').u32(80877103).end();
  CHECK(out == "before\0\0\0\x08\x04\xd2\x16\x2f"s);
}

TEST_CASE("writer: every kind of field, one message behind the other") {
  std::string out;
  MessageWriter(out, 'a').u8(255).u16(0x0102).u32(0x03040506).end();
  MessageWriter(out, 'b').cstring("").cstring("x").bytes("\0y\0"s).end();
  std::string_view in = out;
  const Frame first = take_frame(in, peek_frame(in));
  CHECK(first.type == 'a');
  CHECK(first.body() == "\xff\x01\x02\x03\x04\x05\x06");
  const Frame second = take_frame(in, peek_frame(in));
  CHECK(second.type == 'b');
  CHECK(second.body() == "\0x\0\0y\0"s);
  CHECK(in.empty());
}

TEST_CASE("writer: what was in the string before stays, however often it grows") {
  std::string out;
  std::string expected;
  for (std::size_t size = 0; size < 300; ++size) {
    const std::string body(size, 'b');
    MessageWriter(out, 'd').bytes(body).end();
    expected += 'd';
    append_u32(expected, static_cast<std::uint32_t>(size + 4));
    expected += body;
  }
  CHECK(out == expected);
}

}  // namespace dwspool::wire
