#include "dwspool/net/address.h"

#include <cstddef>
#include <cstring>

#include <arpa/inet.h>

namespace dwspool::net {

Address::Address(const sockaddr* address, socklen_t size) : Address() {
  size_ = size <= sizeof(storage_) ? size : static_cast<socklen_t>(sizeof(storage_));
  std::memcpy(&storage_, address, size_);
}

std::optional<Address> Address::numeric(const std::string& host, std::uint16_t port) {
  Address address;
  if (::inet_pton(AF_INET, host.c_str(), &address.storage_.v4.sin_addr) == 1) {
    address.storage_.v4.sin_family = AF_INET;
    address.storage_.v4.sin_port = htons(port);
    address.size_ = sizeof(sockaddr_in);
    return address;
  }
  address = Address();
  if (::inet_pton(AF_INET6, host.c_str(), &address.storage_.v6.sin6_addr) == 1) {
    address.storage_.v6.sin6_family = AF_INET6;
    address.storage_.v6.sin6_port = htons(port);
    address.size_ = sizeof(sockaddr_in6);
    return address;
  }
  return std::nullopt;
}

Address Address::of_bytes(std::string_view bytes, std::uint16_t port) {
  Address address;
  if (bytes.size() == sizeof(in_addr)) {
    address.storage_.v4.sin_family = AF_INET;
    address.storage_.v4.sin_port = htons(port);
    std::memcpy(&address.storage_.v4.sin_addr, bytes.data(), sizeof(in_addr));
    address.size_ = sizeof(sockaddr_in);
  } else {
    address.storage_.v6.sin6_family = AF_INET6;
    address.storage_.v6.sin6_port = htons(port);
    std::memcpy(&address.storage_.v6.sin6_addr, bytes.data(), sizeof(in6_addr));
    address.size_ = sizeof(sockaddr_in6);
  }
  return address;
}

std::optional<Address> Address::unix_path(std::string_view path) {
  Address address;
  if (path.empty() || path.size() >= sizeof(address.storage_.local.sun_path)) return std::nullopt;
  address.storage_.local.sun_family = AF_UNIX;
  std::memcpy(address.storage_.local.sun_path, path.data(), path.size());
  address.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = {};  // NOLINT(modernize-avoid-c-arrays): inet_ntop's
  switch (family()) {
    case AF_INET:
      ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text, sizeof(text));
      return text;
    case AF_INET6:
      ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text, sizeof(text));
      return text;
    case AF_UNIX: {
      if (size_ <= offsetof(sockaddr_un, sun_path)) return {};
      const std::size_t length = size_ - offsetof(sockaddr_un, sun_path);
      return {storage_.local.sun_path, ::strnlen(storage_.local.sun_path, length)};
    }
    default:
      return {};
  }
}

std::string Address::bytes() const {
  if (family() == AF_INET) {
    return {reinterpret_cast<const char*>(&storage_.v4.sin_addr), sizeof(in_addr)};
  }
  if (family() == AF_INET6) {
    return {reinterpret_cast<const char*>(&storage_.v6.sin6_addr), sizeof(in6_addr)};
  }
  return {};
}

std::uint16_t Address::port() const {
  switch (family()) {
    case AF_INET:
      return ntohs(storage_.v4.sin_port);
    case AF_INET6:
      return ntohs(storage_.v6.sin6_port);
    default:
      return 0;
  }
}

std::string Address::text() const {
  switch (family()) {
    case AF_INET:
      return host() + ":" + std::to_string(port());
    case AF_INET6:
      return "[" + host() + "]:" + std::to_string(port());
    case AF_UNIX:
      return host().empty() ? "unix" : "unix:" + host();
    default:
      return "unknown";
  }
}

}  // namespace dwspool::net
