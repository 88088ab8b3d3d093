// A connected socket on a loop: told when it is ready, read and written directly.
//
// Interest in events is changed only when the caller asks for a change, since every change costs
// a system call; in steady state there is none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dwspool/base/gather_list.h"
#include "dwspool/base/time.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/net/loop.h"

namespace dwspool::net {

struct IoResult {
  enum class Status : std::uint8_t { ok, would_block, closed, failed };
  Status status = Status::ok;
  std::size_t bytes = 0;
  int error = 0;  // errno, when failed
};

class Socket {
 public:
  class Handler {
   public:
    // Bytes can be read (or the end, or an error, found by reading), or written. The socket may
    // be destroyed from within.
    virtual void on_ready(bool readable, bool writable) = 0;

   protected:
    ~Handler() = default;
  };

  // Takes a connected socket and makes it non-blocking. Nothing is watched at first. Throws
  // std::runtime_error when the loop refuses it.
  Socket(Loop& loop, UniqueFd fd, Handler& handler);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Holds until it is changed, also over an error of the socket: the handler is told to read (or
  // to write) until it has found the error and destroys the socket.
  void watch(bool readable, bool writable);
  bool watches_reading() const { return (watched_ & UV_READABLE) != 0; }

  // One recv(). `closed` when the peer has shut down its side.
  IoResult receive(char* buffer, std::size_t size);
  // One gathered send. Fewer bytes than there are means that the socket is full.
  IoResult send(const Slice* slices, std::size_t count);

  // Takes the socket off the loop, to be used elsewhere.
  UniqueFd release();
  int fd() const { return fd_.get(); }

 private:
  void on_event(int status, int events);

  UniqueFd fd_;
  Handler* handler_;
  UvPtr<uv_poll_t> poll_;
  int watched_ = 0;
  bool stopped_ = false;  // libuv has stopped watching, because of an error
};

struct KeepAliveOptions {
  Duration idle{};
  Duration interval{};
  int count = 0;
};
// TCP_NODELAY and keep-alive; a peer that does not acknowledge for as long as keep-alive would
// take to notice is given up (TCP_USER_TIMEOUT). No effect on Unix sockets.
void set_tcp_options(int fd, const KeepAliveOptions& keepalive);

}  // namespace dwspool::net
