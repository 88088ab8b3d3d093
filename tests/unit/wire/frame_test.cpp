#include "dwspool/wire/frame.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/writer.h"

#include "support/cuts.h"

namespace dwspool::wire {
namespace {

using dwspool::testing::cuttings;
using dwspool::testing::Exact;

std::string header(char type, std::uint32_t length) {
  std::string bytes(1, type);
  append_u32(bytes, length);
  return bytes;
}

std::string message(char type, std::string_view body) {
  std::string bytes;
  MessageWriter(bytes, type).bytes(body).end();
  return bytes;
}

// What a reader sees that keeps what is not complete, as the shell does.
struct Reader {
  std::vector<std::string> seen;
  std::string kept;

  void read(std::string_view piece) {
    kept += piece;
    const Exact exact(kept);
    std::string_view in = exact;
    while (true) {
      const FrameView view = peek_frame(in);
      if (view.status == FrameStatus::bad) {
        seen.push_back("bad");
        in = {};
      }
      if (view.status != FrameStatus::complete) break;
      const Frame frame = take_frame(in, view);
      seen.push_back(frame.type + std::string(frame.body()));
    }
    kept = in;
  }
};

}  // namespace

TEST_CASE("frame: the length word is judged as soon as the header is there") {
  struct Row {
    std::uint32_t length;
    FrameStatus status;
    std::size_t total;
  };
  const std::vector<Row> rows = {
      {0, FrameStatus::bad, 0},
      {1, FrameStatus::bad, 0},
      {3, FrameStatus::bad, 0},
      {4, FrameStatus::complete, 5},
      {5, FrameStatus::partial, 6},
      {0x3ffffffe, FrameStatus::partial, 0x3fffffff},
      {0x3fffffff, FrameStatus::partial, 0x40000000},  // 2^30 - 1, the longest there is
      {0x40000000, FrameStatus::bad, 0},
      {0x7fffffff, FrameStatus::bad, 0},
      {0x80000000, FrameStatus::bad, 0},
      {0xffffffff, FrameStatus::bad, 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.length);
    const Exact bytes(header('Q', row.length));
    const FrameView view = peek_frame(bytes);
    CHECK(view.status == row.status);
    CHECK(view.type == 'Q');
    CHECK(view.total == row.total);
  }
}

TEST_CASE("frame: less than a header says nothing, whatever its length word begins with") {
  for (const std::uint32_t length : {0U, 4U, 0xffffffffU}) {
    const std::string bytes = header('Q', length);
    for (std::size_t n = 0; n < header_size; ++n) {
      CAPTURE(n);
      const Exact front(bytes.substr(0, n));
      CHECK(peek_frame(front).status == FrameStatus::incomplete);
    }
  }
}

TEST_CASE("frame: a message is partial until its last byte") {
  const std::string bytes = message('D', "0123456789");
  for (std::size_t n = header_size; n <= bytes.size() + 3; ++n) {
    CAPTURE(n);
    const Exact front((bytes + "Zzz").substr(0, n));
    const FrameView view = peek_frame(front);
    CHECK(view.status == (n < bytes.size() ? FrameStatus::partial : FrameStatus::complete));
    CHECK(view.total == bytes.size());
  }
}

TEST_CASE("frame: taking copies nothing and leaves the rest") {
  const std::string bytes = message('C', std::string("SELECT 1\0", 9)) + "rest";
  std::string_view in = bytes;
  const Frame frame = take_frame(in, peek_frame(in));
  CHECK(frame.type == 'C');
  CHECK(frame.bytes.data() == bytes.data());
  CHECK(frame.bytes.size() == 14);
  CHECK(frame.body() == std::string_view("SELECT 1\0", 9));
  CHECK(in == "rest");
  CHECK(in.data() == bytes.data() + 14);
}

TEST_CASE("frame: every type byte is a type") {
  for (int type = 0; type < 256; ++type) {
    const std::string bytes = message('x', "body");
    std::string changed = bytes;
    changed[0] = static_cast<char>(type);
    CHECK(peek_frame(changed).type == static_cast<char>(type));
    CHECK(peek_frame(changed).status == FrameStatus::complete);
  }
}

TEST_CASE("frame: a stream gives the same messages however it is cut") {
  std::string stream;
  std::vector<std::string> messages;
  const auto add = [&](char type, const std::string& body) {
    stream += message(type, body);
    messages.push_back(type + body);
  };
  add('Z', "I");
  add('1', "");
  add('n', "");
  add('D', std::string(1000, 'x'));
  add('S', std::string("a\0b\0", 4));
  add('\1', std::string(5, '\0'));
  add('E', std::string(300, 'Q'));  // a body that looks like headers
  add('\xff', "\xff\xff\xff\xff\xff\xff");
  for (const auto& cutting : cuttings(stream, 60)) {
    CAPTURE(cutting.name);
    Reader reader;
    for (const std::string_view piece : cutting.pieces) reader.read(piece);
    CHECK(reader.seen == messages);
    CHECK(reader.kept.empty());
  }
  for (std::size_t n = 0; n <= stream.size(); ++n) {
    CAPTURE(n);
    Reader reader;
    reader.read(std::string_view(stream).substr(0, n));
    reader.read(std::string_view(stream).substr(n));
    CHECK(reader.seen == messages);
  }
}

TEST_CASE("frame: a lost stream is found lost at the same message however it is cut") {
  const std::string stream = message('Z', "I") + message('C', "tag") + header('D', 3) + "more";
  for (const auto& cutting : cuttings(stream)) {
    CAPTURE(cutting.name);
    Reader reader;
    for (const std::string_view piece : cutting.pieces) {
      reader.read(piece);
      if (reader.seen.size() == 3) break;
    }
    CHECK(reader.seen == std::vector<std::string>{"ZI", "Ctag", "bad"});
  }
}

}  // namespace dwspool::wire
