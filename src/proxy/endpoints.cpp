#include "dwspool/proxy/endpoints.h"

#include <chrono>

#include <sys/socket.h>

namespace dwspool::proxy {

void set_endpoints(console::ConnectionFacts& facts, int fd, const net::Address& peer) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return;
  const net::Address local(reinterpret_cast<sockaddr*>(&storage), size);
  facts.local_address = local.is_unix() ? "unix" : local.host();
  facts.local_port = local.port();
  facts.address = peer.is_unix() ? "unix" : peer.host();
  facts.port = peer.port();
  if (!peer.is_unix()) return;
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
    facts.remote_pid = static_cast<std::uint32_t>(credentials.pid);
  }
}

std::int64_t wall_microseconds(TimePoint time, TimePoint now) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch() - (now - time);
  return std::chrono::duration_cast<std::chrono::microseconds>(wall).count();
}

std::uint64_t pointer_of(std::size_t worker, bool client, std::uint32_t slot) {
  return (static_cast<std::uint64_t>(worker + 1) << 40U) |
         (std::uint64_t{client ? 0U : 1U} << 39U) | slot;
}

}  // namespace dwspool::proxy
