#include "dwspool/retry/transcript.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/frame.h"

#include "support/session_script.h"

namespace dwspool::retry {
namespace {

using testing::complete;
using testing::error;
using testing::message;
using testing::parameter;
using testing::ready;
using testing::row;

std::string column(std::string_view name, std::uint32_t table, std::uint32_t type,
                   std::int32_t modifier = -1, std::uint16_t format = 0) {
  std::string out;
  wire::MessageWriter(out, 'T')
      .u16(1)
      .cstring(name)
      .u32(table)
      .u16(3)
      .u32(type)
      .u16(4)
      .u32(static_cast<std::uint32_t>(modifier))
      .u16(format)
      .end();
  return out;
}

void say(Transcript& transcript, std::string_view bytes) {
  while (!bytes.empty()) {
    const wire::FrameView view = wire::peek_frame(bytes);
    REQUIRE(view.status == wire::FrameStatus::complete);
    const wire::Frame frame = wire::take_frame(bytes, view);
    transcript.add(frame.type, frame.body());
  }
}

UnitDigest unit(const std::string& bytes) {
  Transcript transcript;
  say(transcript, bytes + ready('T'));
  REQUIRE(transcript.units().size() == 1);
  CHECK(transcript.between_units());
  return transcript.units()[0];
}

bool same(const std::string& a, const std::string& b) {
  return unit(a).ordered == unit(b).ordered;
}
bool same_unordered(const std::string& a, const std::string& b) {
  return unit(a).unordered == unit(b).unordered;
}

TEST_CASE("transcript: the order of rows counts in one digest only, their number in both") {
  const std::string tag = complete("SELECT 3");
  const std::string rows = row("1") + row("2") + row("3") + tag;
  CHECK(same(rows, rows));
  CHECK(same_unordered(rows, row("3") + row("1") + row("2") + tag));
  CHECK_FALSE(same(rows, row("3") + row("1") + row("2") + tag));
  for (const std::string& other :
       {row("1") + row("2") + tag, row("1") + row("2") + row("4") + tag,
        row("1") + row("2") + row("3") + row("3") + tag, row("12") + row("3") + tag}) {
    CHECK_FALSE(same(rows, other));
    CHECK_FALSE(same_unordered(rows, other));
  }
  CHECK_FALSE(same_unordered(row("1") + row("1") + tag, row("2") + row("2") + tag));
}

TEST_CASE("transcript: rows of one result are not exchanged with those of another") {
  const std::string tag = complete("SELECT 1");
  CHECK_FALSE(same_unordered(row("1") + tag + row("2") + tag, row("2") + tag + row("1") + tag));
}

TEST_CASE("transcript: seen are tags, SQLSTATEs, columns; not seen are tables, texts and notices") {
  CHECK_FALSE(same(complete("UPDATE 1"), complete("UPDATE 2")));
  CHECK(same(error("23505", "one"), error("23505", "another")));
  CHECK_FALSE(same(error("23505"), error("40001")));
  CHECK(same(complete("X"), parameter("TimeZone", "UTC") + message('N', "n") + complete("X")));
  const std::string described = column("a", 16500, 23);
  CHECK(same(described, column("a", 17000, 23)));
  CHECK_FALSE(same(described, column("b", 16500, 23)));
  CHECK_FALSE(same(described, column("a", 16500, 25)));
  CHECK_FALSE(same(described, column("a", 16500, 23, 7)));
  CHECK_FALSE(same(described, column("a", 16500, 23, -1, 1)));
  CHECK(same(column("a", 1, 20001), column("a", 1, 20002)));  // a type of the users' own
  CHECK_FALSE(same(message('n'), message('s')));

  Transcript open;
  say(open, ready('T'));
  Transcript idle;
  say(idle, ready('I'));
  CHECK_FALSE(open.units()[0].ordered == idle.units()[0].ordered);
}

TEST_CASE("transcript: what is counted") {
  Transcript transcript;
  say(transcript, row("1") + complete("SELECT 1") + error("22012"));
  CHECK(transcript.units().empty());
  CHECK(transcript.current().messages == 3);
  CHECK(transcript.current().completed == 1);
  CHECK(transcript.current().failed);
  CHECK_FALSE(transcript.between_units());
  say(transcript, ready('E') + message('I'));
  CHECK(transcript.units().size() == 1);
  CHECK(transcript.units()[0].failed);
  CHECK(transcript.current().completed == 1);
  CHECK_FALSE(transcript.current().failed);
  transcript.clear();
  CHECK(transcript.units().empty());
  CHECK(transcript.between_units());
  CHECK(transcript.current().ordered == Digest{});
}

TEST_CASE("transcript: a large row in pieces is the same as in one") {
  const std::string value(50000, 'x');
  const std::string whole = row(value);
  for (const std::size_t first : {std::size_t{5}, std::size_t{6}, std::size_t{1000}}) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{4096}, whole.size()}) {
      Transcript transcript;
      std::string_view rest = whole;
      transcript.begin_large('D', rest.substr(5, first - 5), whole.size() - first);
      rest.remove_prefix(first);
      while (!rest.empty()) {
        CHECK(transcript.large_left() == rest.size());
        CHECK_FALSE(transcript.between_units());
        const std::string_view next = rest.substr(0, piece);
        transcript.add_rest(next);
        rest.remove_prefix(next.size());
        if (piece == 1 && rest.size() > 10) {  // byte by byte takes long
          transcript.add_rest(rest.substr(0, rest.size() - 10));
          rest = rest.substr(rest.size() - 10);
        }
      }
      CHECK(transcript.large_left() == 0);
      say(transcript, ready('T'));
      CHECK(transcript.units()[0].ordered == unit(whole).ordered);
      CHECK(transcript.units()[0].unordered == unit(whole).unordered);
    }
  }
}

TEST_CASE("transcript: it moves with all that it knows") {
  Transcript transcript;
  say(transcript, complete("A") + ready('T') + row("1"));
  transcript.begin_large('D', "abc", 3);
  Transcript moved = std::move(transcript);
  moved.add_rest("def");
  CHECK(moved.units().size() == 1);
  CHECK(moved.current().messages == 2);
}

}  // namespace
}  // namespace dwspool::retry
