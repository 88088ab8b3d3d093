#include "dwspool/wire/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include <arpa/inet.h>

#include "dwspool/wire/cursor.h"

namespace dwspool::wire {
namespace {

using Status = ProxyHeader::Status;

constexpr std::string_view v1_start = "PROXY ";
constexpr std::string_view v1_end = "\r\n";
constexpr std::size_t v1_limit = 107;
constexpr std::string_view v2_start("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t v2_head = 16;

ProxyHeader failed() {
  ProxyHeader header;
  header.status = Status::bad;
  return header;
}

// As inet_pton has it, so no leading zeros and nothing left out.
std::optional<std::string> address_of(std::string_view text, int family) {
  const std::string copy(text);
  std::array<char, 16> bytes{};
  if (copy.find('\0') != std::string::npos) return std::nullopt;
  if (::inet_pton(family, copy.c_str(), bytes.data()) != 1) return std::nullopt;
  return std::string(bytes.data(), family == AF_INET ? 4 : 16);
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, port);
  const bool leading_zero = text.size() > 1 && text.front() == '0';
  if (failure != std::errc{} || rest != end || leading_zero) return std::nullopt;
  return port;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t space = line.find(' ');
    words.push_back(line.substr(0, space));
    if (space == std::string_view::npos) return words;
    line.remove_prefix(space + 1);
  }
}

// "PROXY TCP4 192.0.2.1 192.0.2.9 51234 6432"
ProxyHeader parse_v1(std::string_view bytes) {
  ProxyHeader header;
  const std::size_t end = bytes.substr(0, v1_limit).find(v1_end);
  if (end == std::string_view::npos) return bytes.size() >= v1_limit ? failed() : header;
  header.size = end + v1_end.size();
  const std::vector<std::string_view> words =
      words_of(bytes.substr(v1_start.size(), end - v1_start.size()));
  if (words.front() == "UNKNOWN") {  // whatever follows it
    header.status = Status::complete;
    return header;
  }
  const bool v4 = words.front() == "TCP4";
  if ((!v4 && words.front() != "TCP6") || words.size() != 5) return failed();
  const int family = v4 ? AF_INET : AF_INET6;
  const auto source = address_of(words[1], family);
  const auto source_port = port_of(words[3]);
  if (!source || !address_of(words[2], family) || !source_port || !port_of(words[4])) {
    return failed();
  }
  header.source = *source;
  header.source_port = *source_port;
  header.status = Status::complete;
  return header;
}

ProxyHeader parse_v2(std::string_view bytes) {
  ProxyHeader header;
  if (bytes.size() < v2_head) return header;
  const auto version = static_cast<unsigned char>(bytes[12]);
  const auto family = static_cast<unsigned char>(bytes[13]);
  const std::size_t length = Cursor(bytes.substr(14)).u16();
  constexpr unsigned char local = 0x20;
  constexpr unsigned char proxied = 0x21;
  if ((version != local && version != proxied) || v2_head + length > max_proxy_header) {
    return failed();
  }
  if (bytes.size() < v2_head + length) return header;
  header.size = v2_head + length;
  header.status = Status::complete;
  constexpr unsigned char tcp4 = 0x11;
  constexpr unsigned char tcp6 = 0x21;
  if (version == local || (family != tcp4 && family != tcp6)) return header;
  const std::size_t size = family == tcp4 ? 4 : 16;
  if (length < 2 * size + 4) return failed();
  const std::string_view addresses = bytes.substr(v2_head, length);
  header.source = std::string(addresses.substr(0, size));
  header.source_port = Cursor(addresses.substr(2 * size)).u16();
  return header;
}

// Whether `bytes` are, or may become, what begins with `start`.
bool may_begin(std::string_view bytes, std::string_view start) {
  const std::size_t size = std::min(bytes.size(), start.size());
  return bytes.substr(0, size) == start.substr(0, size);
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) {
  if (may_begin(bytes, v2_start)) return parse_v2(bytes);
  if (!may_begin(bytes, v1_start)) return failed();
  return bytes.size() < v1_start.size() ? ProxyHeader{} : parse_v1(bytes);
}

}  // namespace dwspool::wire
