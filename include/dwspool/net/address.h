// Addresses of sockets.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace dwspool::net {

class Address {
 public:
  Address() { std::memset(&storage_, 0, sizeof(storage_)); }  // {} would clear one member only
  Address(const sockaddr* address, socklen_t size);

  // A numeric IPv4 or IPv6 address; nothing if it is a name.
  static std::optional<Address> numeric(const std::string& host, std::uint16_t port);
  // Precondition: 4 or 16 bytes.
  static Address of_bytes(std::string_view bytes, std::uint16_t port);
  // Nothing when the path is too long for a socket.
  static std::optional<Address> unix_path(std::string_view path);

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.generic.sa_family; }
  bool is_unix() const { return family() == AF_UNIX; }

  // "192.0.2.1:5432", "[2001:db8::1]:5432", "unix:/run/postgresql/.s.PGSQL.5432", "unix".
  std::string text() const;
  // The 4 or 16 bytes of an IP address; none of a Unix socket.
  std::string bytes() const;
  std::string host() const;
  std::uint16_t port() const;

 private:
  union Storage {
    sockaddr generic;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  };
  Storage storage_{};
  socklen_t size_ = 0;
};

}  // namespace dwspool::net
