// A listening socket.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "dwspool/base/unique_fd.h"

#include "dwspool/net/address.h"
#include "dwspool/net/loop.h"
#include "dwspool/net/timer.h"

namespace dwspool::net {

struct ListenOptions {
  std::string host;      // "*" for all addresses of both families
  std::string unix_dir;  // not empty: a Unix socket in this directory
  std::uint16_t port = 0;
  std::uint32_t unix_mode = 0777;
  int backlog = 1024;
};

class Listener {
 public:
  // `on_accept` takes each new connection. `on_error` hears why accepting pauses (no file
  // descriptors left); it goes on by itself. Throws std::runtime_error, with the address and the
  // reason, when the address cannot be listened on.
  Listener(Loop& loop, const ListenOptions& options,
           std::function<void(UniqueFd, const Address&)> on_accept,
           std::function<void(const std::string&)> on_error);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // What is really listened on: with port 0, the port that the system has chosen.
  const Address& address() const { return address_; }

 private:
  void listen_tcp(const ListenOptions& options);
  void listen_unix(const ListenOptions& options);
  void accept_some();
  void watch();

  Loop* loop_;
  UniqueFd fd_;
  Address address_;
  std::string unix_path_;
  std::function<void(UniqueFd, const Address&)> on_accept_;
  std::function<void(const std::string&)> on_error_;
  UvPtr<uv_poll_t> poll_;
  Timer pause_;
};

}  // namespace dwspool::net
