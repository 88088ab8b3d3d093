// The packets a connection may begin with (protocol chapter, "Start-up", "SSL Session
// Encryption", "Canceling Requests in Progress").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace dwspool::wire {

struct SslRequest {};
struct GssEncRequest {};
struct CancelRequest {
  std::uint32_t pid = 0;
  std::string secret;    // 4 bytes in protocol 3.0, up to 256 in 3.2
  bool by_peer = false;  // another dwspool passes it on: see write_passed_on_cancel
};
struct StartupMessage {
  std::uint32_t version = 0;
  // In the order sent. Names of the form _pq_.* are protocol options, not settings.
  std::vector<std::pair<std::string, std::string>> parameters;

  // The last value given for `name`, empty if there is none.
  std::string_view find(std::string_view name) const;
};
struct NeedMore {};
// The packet cannot be understood; the text goes to the client as 08P01.
struct BadStartup {
  std::string reason;
};

using StartupPacket =
    std::variant<NeedMore, BadStartup, SslRequest, GssEncRequest, CancelRequest, StartupMessage>;

// Reads one packet from the front of `in` and removes it; leaves `in` alone when more bytes are
// needed. A declared length above `limit` is refused before anything of it is stored.
// Versions are not judged here but for their major number, which must be 3.
StartupPacket read_startup_packet(std::string_view& in, std::size_t limit);

std::string write_startup_message(const StartupMessage& message);
std::string write_ssl_request();
std::string write_cancel_request(std::uint32_t pid, std::string_view secret);
// The same with a mark behind the secret, by which another dwspool knows that it came from one. It
// proves nothing, and need not: it only keeps the request from being passed on once more.
std::string write_passed_on_cancel(std::uint32_t pid, std::string_view secret);

// The `options` start-up parameter: command-line switches, split at white space, a backslash
// takes the next character literally. Understands -c name=value, -cname=value and --name=value,
// in which a '-' in the name stands for '_'.
struct ParsedOptions {
  std::vector<std::pair<std::string, std::string>> settings;
  std::string bad_switch;  // the first switch that is none of these; empty when all is well
};
ParsedOptions parse_options(std::string_view options);

}  // namespace dwspool::wire
