#include "config/endpoint.h"

#include <utility>

#include <sys/un.h>

#include "config/units.h"

namespace dwspool::config {
namespace {

constexpr std::size_t max_host_name = 253;
constexpr std::size_t max_unix_dir =
    sizeof(sockaddr_un::sun_path) - std::string_view("/.s.PGSQL.65535").size() - 1;

Error unclear(std::string_view what) {
  return Error{"expected host:port, [IPv6 address]:port or /directory:port; " + std::string(what)};
}

struct Parts {
  std::string_view host;
  std::optional<std::string_view> port;
};

Result<Parts> split(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return unclear("the ']' is missing");
    Parts parts{text.substr(1, bracket - 1), std::nullopt};
    const std::string_view rest = text.substr(bracket + 1);
    if (rest.empty()) return parts;
    if (!rest.starts_with(':')) return unclear("behind ']' comes ':' and the port");
    parts.port = rest.substr(1);
    return parts;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Parts{text, std::nullopt};
  const Parts parts{text.substr(0, colon), text.substr(colon + 1)};
  if (!text.starts_with('/') && parts.host.find(':') != std::string_view::npos) {
    return unclear("an IPv6 address stands in brackets");
  }
  return parts;
}

}  // namespace

Result<std::uint16_t> parse_port(std::string_view text) {
  Result<std::uint64_t> number = parse_whole_number(text);
  if (!number || *number > 65535) return Error{"a port is a number from 1 to 65535"};
  return static_cast<std::uint16_t>(*number);
}

std::string_view host_problem(std::string_view host) {
  if (host.empty()) return "the host is missing";
  if (host.size() > max_host_name) return "the host name is too long";
  for (const char c : host) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte >= 0x7f || c == ',' || c == '[' || c == ']' || c == '/' || c == '@') {
      return "a host name is ASCII, without blanks and without , [ ] / @";
    }
  }
  return {};
}

std::string_view unix_dir_problem(std::string_view dir) {
  if (!dir.starts_with('/')) return "a socket's directory begins with '/'";
  if (dir.size() > max_unix_dir) return "the directory's name is too long for a Unix socket";
  for (const char c : dir) {
    if (static_cast<unsigned char>(c) < ' ') return "a directory's name has no control characters";
  }
  return {};
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const Result<Parts> parts = split(text);
  if (!parts) return parts.error();
  const bool is_dir = text.starts_with('/');
  const std::string_view problem =
      is_dir ? unix_dir_problem(parts->host) : host_problem(parts->host);
  if (!problem.empty()) return unclear(problem);
  Endpoint endpoint;
  (is_dir ? endpoint.unix_dir : endpoint.host) = parts->host;
  if (parts->port) {
    Result<std::uint16_t> number = parse_port(*parts->port);
    if (!number) return unclear(number.error().message);
    endpoint.port = *number;
  }
  return endpoint;
}

std::string join_host_port(std::string_view host, std::uint16_t port) {
  const bool is_ipv6 = !host.starts_with('/') && host.find(':') != std::string_view::npos;
  std::string joined;
  if (is_ipv6) joined += '[';
  joined += host;
  if (is_ipv6) joined += ']';
  return joined + ':' + std::to_string(port);
}

}  // namespace dwspool::config
