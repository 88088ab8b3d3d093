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

// Whether this socket, which somebody else has opened, listens at exactly that place.
bool listens_at(int fd, const ListenOptions& options);

class Listener {
 public:
  // `inherited`: a socket that listens there already; its file, if it has one, stays in the end.
  // `on_accept` takes each new connection. `on_error` hears why accepting pauses (no file
  // descriptors left); it goes on by itself. Throws std::runtime_error, with the address and the
  // reason, when the address cannot be listened on.
  Listener(Loop& loop, const ListenOptions& options,
           std::function<void(UniqueFd, const Address&)> on_accept,
           std::function<void(const std::string&)> on_error, UniqueFd inherited = {});
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // What is really listened on: with port 0, the port that the system has chosen.
  const Address& address() const { return address_; }
  int fd() const { return fd_.get(); }
  // Another process listens here from now on: the socket's file, if it has one, is its.
  void leave_file() { unix_path_.clear(); }

 private:
  void adopt();
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
