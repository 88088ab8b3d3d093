// A client that can misbehave: plain sockets, and nothing that HTTP requires.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "dwspool/base/unique_fd.h"

namespace dwspool::admin::test {

inline UniqueFd connect_to(std::uint16_t port, const char* host = "127.0.0.1",
                           int receive_buffer = 0) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof(sockaddr_in);
  } else {
    REQUIRE(inet_pton(AF_INET6, host, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof(sockaddr_in6);
  }
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fd;
  if (receive_buffer > 0) {
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  }
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) fd.reset();
  return fd;
}

// False when the peer has gone.
inline bool put(const UniqueFd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// What comes until the peer closes.
inline std::string take_all(const UniqueFd& fd,
                            std::chrono::milliseconds patience = std::chrono::seconds(20)) {
  std::string bytes;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd waiting{fd.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
      FAIL("the server neither answers nor closes; so far: ", bytes);
    }
    char buffer[65536];
    const ssize_t n = ::recv(fd.get(), buffer, sizeof(buffer), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(n));
  }
}

struct Answer {
  int status = 0;
  std::string head;  // in lower case
  std::string body;

  bool has(std::string_view header_line) const {
    return head.find("\r\n" + std::string(header_line) + "\r\n") != std::string::npos;
  }
};

inline Answer parse(const std::string& bytes) {
  Answer answer;
  const std::size_t end = bytes.find("\r\n\r\n");
  if (bytes.rfind("HTTP/1.1 ", 0) != 0 || end == std::string::npos) return answer;
  answer.status = std::stoi(bytes.substr(9, 3));
  for (const char c : bytes.substr(0, end + 2)) {
    answer.head += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  }
  answer.body = bytes.substr(end + 4);
  return answer;
}

inline Answer exchange(std::uint16_t port, std::string_view request,
                       const char* host = "127.0.0.1") {
  const UniqueFd fd = connect_to(port, host);
  REQUIRE(fd);
  put(fd, request);
  return parse(take_all(fd));
}

inline Answer get(std::uint16_t port, const std::string& path, const std::string& method = "GET",
                  const char* host = "127.0.0.1") {
  return exchange(port, method + " " + path + " HTTP/1.1\r\nHost: test\r\n\r\n", host);
}

}  // namespace dwspool::admin::test
