// "host:port" as it stands in the configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/result.h"

namespace dwspool::config {

struct Endpoint {
  std::string host;      // a name or an address without brackets, "*", or empty
  std::string unix_dir;  // or the directory of a Unix socket
  std::optional<std::uint16_t> port;
};

// "cn1:8000", "10.0.0.1", "[::1]:8000", "*:6432", "/run/dwspool:6432". The port may be missing.
Result<Endpoint> parse_endpoint(std::string_view text);

// A port from 0 to 65535.
Result<std::uint16_t> parse_port(std::string_view text);

// Why `host` can be no host name or address; empty when it can.
std::string_view host_problem(std::string_view host);

// Why `dir` cannot hold a Unix socket; empty when it can.
std::string_view unix_dir_problem(std::string_view dir);

// "host:port", with brackets where the host is an IPv6 address.
std::string join_host_port(std::string_view host, std::uint16_t port);

}  // namespace dwspool::config
