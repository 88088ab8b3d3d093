#include "dwspool/wire/startup.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "dwspool/wire/types.h"
#include "dwspool/wire/writer.h"

#include "support/cuts.h"

namespace dwspool::wire {
namespace {

using dwspool::testing::cuttings;
using dwspool::testing::Exact;
using namespace std::string_literals;

constexpr std::uint32_t protocol_2_0 = 131072;
constexpr std::uint32_t protocol_3_2 = 196610;

std::string packet(std::uint32_t code, std::string_view body) {
  std::string bytes;
  MessageWriter(bytes, '\0').u32(code).bytes(body).end();
  return bytes;
}
std::string with_length(std::uint32_t length, std::string_view rest) {
  std::string bytes;
  append_u32(bytes, length);
  return bytes.append(rest);
}

// A packet as one line, so that whole outcomes can be compared.
struct Describe {
  std::string operator()(const NeedMore&) const { return "need more"; }
  std::string operator()(const BadStartup& bad) const { return "bad: " + bad.reason; }
  std::string operator()(const SslRequest&) const { return "ssl"; }
  std::string operator()(const GssEncRequest&) const { return "gss"; }
  std::string operator()(const CancelRequest& cancel) const {
    return "cancel " + std::to_string(cancel.pid) + " " + hex_encode(cancel.secret);
  }
  std::string operator()(const StartupMessage& message) const {
    std::string line =
        std::to_string(message.version >> 16U) + "." + std::to_string(message.version & 0xffffU);
    for (const auto& [name, value] : message.parameters) line += " " + name + "=" + value;
    return line;
  }
};
std::string read(std::string_view& in, std::size_t limit = max_startup_length) {
  return std::visit(Describe{}, read_startup_packet(in, limit));
}

const std::string bad_layout =
    "bad: invalid startup packet layout: expected terminator as last byte";
const std::string bad_length = "bad: invalid length of startup packet";

struct Row {
  const char* name;
  std::string bytes;
  std::string outcome;
};

std::vector<Row> rows() {
  return {
      {"SSL", packet(ssl_request_code, ""), "ssl"},
      {"GSS", packet(gssenc_request_code, ""), "gss"},
      {"SSL, too long", packet(ssl_request_code, "x"), "bad: invalid length of SSL request"},
      {"GSS, too long", packet(gssenc_request_code, "x"),
       "bad: invalid length of GSS encryption request"},
      {"3.0", packet(protocol_3_0, "user\0me\0database\0db\0\0"s), "3.0 user=me database=db"},
      {"3.0, nothing but the terminator", packet(protocol_3_0, "\0"s), "3.0"},
      {"3.2, as PostgreSQL 18 asks for", packet(protocol_3_2, "user\0me\0\0"s), "3.2 user=me"},
      {"GaussDB's 3.51", packet(protocol_gauss_3_51, "user\0me\0\0"s), "3.51 user=me"},
      {"a minor version of the future", packet(0x0003ffff, "user\0me\0\0"s), "3.65535 user=me"},
      {"protocol options", packet(protocol_3_0, "user\0me\0_pq_.new\0on\0_pq_.\0\0\0"s),
       "3.0 user=me _pq_.new=on _pq_.="},
      {"empty value", packet(protocol_3_0, "user\0\0database\0db\0\0"s), "3.0 user= database=db"},
      {"repeated name", packet(protocol_3_0, "user\0a\0user\0b\0\0"s), "3.0 user=a user=b"},
      {"bytes that are no text", packet(protocol_3_0, "user\0\xff\xfe\n\0\0"s),
       "3.0 user=\xff\xfe\n"},

      {"2.0, which had a packet of fixed size", packet(protocol_2_0, std::string(288, '\0')),
       "bad: unsupported frontend protocol 2.0: dwspool supports 3.0"},
      {"4.0", packet(0x00040000, "user\0me\0\0"s),
       "bad: unsupported frontend protocol 4.0: dwspool supports 3.0"},
      {"0.0", packet(0, ""), "bad: unsupported frontend protocol 0.0: dwspool supports 3.0"},
      {"the largest version", packet(0xffffffff, ""),
       "bad: unsupported frontend protocol 65535.65535: dwspool supports 3.0"},
      {"GaussDB's StopRequest", packet(80877105, std::string(12, '\0')),
       "bad: unsupported frontend protocol 1234.5681: dwspool supports 3.0"},

      {"no body at all", packet(protocol_3_0, ""), bad_layout},
      {"no terminator", packet(protocol_3_0, "user\0me\0"s), bad_layout},
      {"a name without a value", packet(protocol_3_0, "user\0"s), bad_layout},
      {"an unterminated name", packet(protocol_3_0, "user"), bad_layout},
      {"an unterminated value", packet(protocol_3_0, "user\0me"s), bad_layout},
      {"bytes behind the terminator", packet(protocol_3_0, "user\0me\0\0x"s), bad_layout},
      {"a NUL behind the terminator", packet(protocol_3_0, "user\0me\0\0\0"s), bad_layout},

      {"cancel", packet(cancel_request_code, "\0\0\0\x07\x01\x02\x03\x04"s), "cancel 7 01020304"},
      {"cancel, the largest numbers", packet(cancel_request_code, std::string(8, '\xff')),
       "cancel 4294967295 ffffffff"},
      {"cancel of 3.2", packet(cancel_request_code, "\0\0\0\x07"s + std::string(32, 's')),
       "cancel 7 " + hex_encode(std::string(32, 's'))},
      {"cancel, no secret", packet(cancel_request_code, "\0\0\0\x07"s),
       "bad: invalid length of cancel request"},
      {"cancel, half a pid", packet(cancel_request_code, "\0\0"s),
       "bad: invalid length of cancel request"},
      {"cancel, nothing", packet(cancel_request_code, ""), "bad: invalid length of cancel request"},
  };
}

}  // namespace

TEST_CASE("start-up: every kind of packet is read whole and what follows stays") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    const Exact bytes(row.bytes + "next");
    std::string_view in = bytes;
    CHECK(read(in) == row.outcome);
    CHECK(in == "next");
  }
}

TEST_CASE("start-up: a packet is waited for, untouched, wherever it is cut") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    for (std::size_t n = 0; n < row.bytes.size(); ++n) {
      CAPTURE(n);
      const Exact front(row.bytes.substr(0, n));
      std::string_view in = front;
      CHECK(read(in) == "need more");
      CHECK(in.size() == n);
    }
    for (const auto& cutting : cuttings(row.bytes, 5)) {
      CAPTURE(cutting.name);
      std::string kept;
      std::string outcome = "need more";
      for (const std::string_view piece : cutting.pieces) {
        REQUIRE(outcome == "need more");
        kept += piece;
        std::string_view in = kept;
        outcome = read(in);
      }
      CHECK(outcome == row.outcome);
    }
  }
}

TEST_CASE("start-up: a length that cannot be true is refused before the packet is there") {
  struct Length {
    std::uint32_t length;
    std::string outcome;
  };
  const std::vector<Length> lengths = {
      {0, bad_length},
      {3, bad_length},
      {4, bad_length},
      {7, bad_length},
      {8, "need more"},
      {max_startup_length, "need more"},
      {max_startup_length + 1, bad_length},
      {0x3fffffff, bad_length},
      {0x7fffffff, bad_length},
      {0x80000000, bad_length},
      {0xffffffff, bad_length},
  };
  for (const Length& row : lengths) {
    CAPTURE(row.length);
    const Exact bytes(with_length(row.length, ""));
    std::string_view in = bytes;
    CHECK(read(in) == row.outcome);
  }
}

TEST_CASE("start-up: the first bytes of other protocols are refused at once") {
  for (const char* bytes :
       {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", "SSH-2.0-x\r\n", "EHLO there\r\n", "PUT /"}) {
    CAPTURE(bytes);
    std::string_view in(bytes, std::string_view(bytes).size());
    CHECK(read(in) == bad_length);
  }
}

TEST_CASE("start-up: the limit is that of the caller") {
  const std::string long_name(65536, 'n');
  const std::string bytes = write_startup_message(
      {protocol_3_0, {{"user", long_name}, {long_name, "value"}, {"options", long_name}}});
  std::string_view in = bytes;
  CHECK(read(in, max_startup_length) == bad_length);
  CHECK(in.size() == bytes.size());
  CHECK(read(in, bytes.size() - 1) == bad_length);
  CHECK(read(in, bytes.size()) ==
        "3.0 user=" + long_name + " " + long_name + "=value options=" + long_name);
  CHECK(in.empty());
}

TEST_CASE("start-up: a packet that is just as long as allowed is read") {
  // Four bytes of length, four of version, "user" and its NUL, the value's NUL, the terminator.
  const std::string name(max_startup_length - 15, 'u');
  const std::string bytes = write_startup_message({protocol_3_0, {{"user", name}}});
  REQUIRE(bytes.size() == max_startup_length);
  std::string_view in = bytes;
  CHECK(read(in) == "3.0 user=" + name);
  const std::string longer = write_startup_message({protocol_3_0, {{"user", name + "u"}}});
  in = longer;
  CHECK(read(in) == bad_length);
}

TEST_CASE("start-up: cancel keys of 4 to 256 bytes survive the way there and back") {
  for (std::size_t size = 4; size <= 256; ++size) {
    const std::string secret(size, static_cast<char>(size));
    const Exact bytes(write_cancel_request(0x80000007, secret));
    CHECK(bytes.view().size() == 12 + size);
    std::string_view in = bytes;
    CHECK(read(in) == "cancel 2147483655 " + hex_encode(secret));
  }
  const std::string too_long = write_cancel_request(1, std::string(257, 's'));
  std::string_view in = too_long;
  CHECK(read(in) == "bad: invalid length of cancel request");
  const std::string none = write_cancel_request(1, "");
  in = none;
  CHECK(read(in) == "bad: invalid length of cancel request");
}

TEST_CASE("start-up: a cancel request that a peer passes on is known by its mark") {
  const auto read_cancel = [](const std::string& packet) {
    std::string_view in = packet;
    return std::get<CancelRequest>(read_startup_packet(in, max_startup_length));
  };
  const CancelRequest passed = read_cancel(write_passed_on_cancel(7, "abcd"));
  CHECK(passed.pid == 7);
  CHECK(passed.secret == "abcd");
  CHECK(passed.by_peer);
  CHECK_FALSE(read_cancel(write_cancel_request(7, "abcd")).by_peer);
  // Whatever the secret is, what is left of it is never nothing, and one mark is taken off at most.
  const std::string mark = write_passed_on_cancel(7, "").substr(12);
  CHECK_FALSE(read_cancel(write_cancel_request(7, mark)).by_peer);
  CHECK(read_cancel(write_passed_on_cancel(7, "abcd" + mark)).secret == "abcd" + mark);
}

TEST_CASE("start-up: the exact bytes of what dwspool writes") {
  CHECK(write_cancel_request(7, "\x01\x02\x03\x04") ==
        "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\x01\x02\x03\x04"s);
  CHECK(write_startup_message({protocol_3_0, {{"user", "u"}, {"database", ""}}}) ==
        "\0\0\0\x1a\0\x03\0\0user\0u\0database\0\0\0"s);
  CHECK(write_startup_message({protocol_gauss_3_51, {}}) == "\0\0\0\x09\0\x03\0\x33\0"s);
}

TEST_CASE("start-up: a message that is written is read as it was") {
  const StartupMessage message{protocol_3_0,
                               {{"user", "\xd0\xbf\xd1\x83"},
                                {"database", ""},
                                {"options", "-c a=b\\ c"},
                                {"_pq_.x", "1"},
                                {"user", "again"}}};
  const std::string bytes = write_startup_message(message);
  std::string_view in = bytes;
  const StartupPacket packet = read_startup_packet(in, max_startup_length);
  REQUIRE(std::holds_alternative<StartupMessage>(packet));
  CHECK(std::get<StartupMessage>(packet).version == message.version);
  CHECK(std::get<StartupMessage>(packet).parameters == message.parameters);
}

TEST_CASE("start-up: of a name given twice the last value counts") {
  const StartupMessage message{protocol_3_0, {{"user", "a"}, {"x", "1"}, {"user", "b"}, {"y", ""}}};
  CHECK(message.find("user") == "b");
  CHECK(message.find("x") == "1");
  CHECK(message.find("y").empty());
  CHECK(message.find("z").empty());
  CHECK(message.find("USER").empty());
}

TEST_CASE("start-up: random bytes are read to the same end whole and byte by byte") {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    const std::uint32_t codes[] = {protocol_3_0, protocol_3_2, cancel_request_code,
                                   ssl_request_code, 77};
    const std::string body =
        dwspool::testing::random_text(random, random() % 40, std::string_view("\0\0\0ab_=", 7));
    const std::string bytes = packet(codes[random() % 5], body);
    const Exact exact(bytes);
    std::string_view whole = exact;
    const std::string outcome = read(whole);
    REQUIRE(outcome != "need more");
    std::string kept;
    std::string piecewise = "need more";
    for (const char c : bytes) {
      REQUIRE(piecewise == "need more");
      kept += c;
      std::string_view in = kept;
      piecewise = read(in);
    }
    REQUIRE(piecewise == outcome);
  }
}

}  // namespace dwspool::wire
