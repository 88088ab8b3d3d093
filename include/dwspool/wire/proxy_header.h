// The header of the PROXY protocol, by which a load balancer says for whom it connects: version 1
// (a line of text) and version 2 (binary), as HAProxy's specification has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dwspool::wire {

struct ProxyHeader {
  enum class Status : std::uint8_t {
    incomplete,  // more bytes are needed to tell
    bad,         // this is none, or one that nobody should trust
    complete,
  };
  Status status = Status::incomplete;
  std::size_t size = 0;  // how many bytes it takes
  std::string source;    // 4 or 16 bytes; empty when the balancer speaks for itself (a health
                         // check) or of something that is no IP address
  std::uint16_t source_port = 0;
};

// Longer ones are bad. Version 1 has at most 107 bytes; in version 2 extensions may follow.
inline constexpr std::size_t max_proxy_header = 4096;

// From the front of `bytes`. The answer does not depend on what follows the header.
ProxyHeader parse_proxy_header(std::string_view bytes);

}  // namespace dwspool::wire
