#include "dwspool/wire/proxy_header.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::wire {
namespace {

using namespace std::string_literals;
using Status = ProxyHeader::Status;

const std::string v2_start = "\r\n\r\n\0\r\nQUIT\n"s;

std::string v2(char version, char family, const std::string& rest) {
  std::string bytes = v2_start + version + family;
  bytes += static_cast<char>(rest.size() >> 8U);
  bytes += static_cast<char>(rest.size() & 0xffU);
  return bytes + rest;
}

const std::string four = "\xc0\x00\x02\x01\x0a\x00\x00\x01\xc8\x22\x19\x20"s;

TEST_CASE("a load balancer's header says who the client is, in both versions") {
  struct Case {
    std::string bytes;
    std::string source;
    std::uint16_t port;
  };
  const std::string six(16, '\x11');
  const Case cases[] = {
      // NOLINT
      {"PROXY TCP4 192.0.2.1 10.0.0.1 51234 6432\r\n", "\xc0\x00\x02\x01"s, 51234},
      {"PROXY TCP6 1111:1111:1111:1111:1111:1111:1111:1111 ::1 0 65535\r\n", six, 0},
      {"PROXY UNKNOWN\r\n", "", 0},
      {"PROXY UNKNOWN ffff:f 1 2 3 and whatever\r\n", "", 0},
      {v2('\x21', '\x11', four), "\xc0\x00\x02\x01"s, 51234},
      {v2('\x21', '\x11', four + "\x03\x00\x04 crc"s), "\xc0\x00\x02\x01"s, 51234},
      {v2('\x21', '\x21', six + six + "\x00\x05\x19\x20"s), six, 5},
      {v2('\x20', '\x00', ""), "", 0},    // a health check of the balancer's own
      {v2('\x20', '\x11', four), "", 0},  // the same, and what it says does not count
      {v2('\x21', '\x31', std::string(216, 'u')), "", 0},  // a Unix socket's
      {v2('\x21', '\x12', four), "", 0},                   // UDP
  };
  for (const Case& each : cases) {
    CAPTURE(each.bytes);
    for (const std::string& behind : {""s, "\0\0\0\x08more"s}) {
      const ProxyHeader header = parse_proxy_header(each.bytes + behind);
      CHECK(header.status == Status::complete);
      CHECK(header.size == each.bytes.size());
      CHECK(header.source == each.source);
      CHECK(header.source_port == each.port);
    }
    // However it is cut, nothing is decided before its end.
    for (std::size_t size = 0; size < each.bytes.size(); ++size) {
      CHECK(parse_proxy_header(each.bytes.substr(0, size)).status == Status::incomplete);
    }
  }
}

TEST_CASE("what is no header of the PROXY protocol is bad, and seen at once") {
  const std::string bad[] = {
      // NOLINT
      "\0\0\0\x08\x04\xd2\x16\x2f"s,  // SSLRequest
      "GET / HTTP/1.0\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 51234\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 51234 6432 1\r\n",
      "PROXY TCP4 192.0.2.1  10.0.0.1 51234 6432\r\n",
      "PROXY TCP4 192.0.2.999 10.0.0.1 51234 6432\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 65536 6432\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 051 6432\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 -1 6432\r\n",
      "PROXY TCP4 ::1 ::1 1 2\r\n",
      "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
      "PROXY TCP4 192.0.2.1\0 10.0.0.1 1 2\r\n"s,
      "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
      "PROXY \r\n",
      "PROXY UNKNOWN " + std::string(100, 'x'),  // too long for a line
      v2('\x11', '\x11', four),                  // version 1 in the binary form
      v2('\x22', '\x11', four),                  // no such command
      v2('\x21', '\x11', four.substr(1)),        // too short for its addresses
      v2('\x21', '\x21', four),
      v2('\x21', '\x11', std::string(max_proxy_header, 'x')).substr(0, 16),
  };
  for (const std::string& bytes : bad) {
    CAPTURE(bytes);
    CHECK(parse_proxy_header(bytes).status == Status::bad);
  }
}

}  // namespace
}  // namespace dwspool::wire
