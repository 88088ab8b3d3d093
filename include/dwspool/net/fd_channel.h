// Messages, each with a file descriptor or without, between two processes: one end of a pair of
// Unix sockets (SOCK_SEQPACKET, SCM_RIGHTS: unix(7)).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <uv.h>

#include "dwspool/base/unique_fd.h"

#include "dwspool/net/handle.h"
#include "dwspool/net/loop.h"

namespace dwspool::net {

class FdChannel {
 public:
  // A larger one cannot be sent: all of it lies in the socket at once.
  static constexpr std::size_t max_message = std::size_t{128} << 10U;

  // `on_closed` is called once, by the loop, and may destroy the channel; from then on what is
  // sent is dropped.
  struct Handler {
    std::function<void(std::string_view message, UniqueFd fd)> on_message;
    std::function<void()> on_closed;
  };

  // Both ends, non-blocking and closed on exec. False with errno when the system has none.
  static bool open_pair(UniqueFd& one, UniqueFd& other);

  // Throws std::runtime_error when the loop refuses the socket.
  FdChannel(Loop& loop, UniqueFd end, Handler handler);
  ~FdChannel();
  FdChannel(const FdChannel&) = delete;
  FdChannel& operator=(const FdChannel&) = delete;

  // In order. What the socket does not take yet is kept, and wiped when it is sent: how much that
  // may become is the caller's business. False when the other end is gone. Precondition: not
  // empty, and no larger than max_message.
  bool send(std::string message, UniqueFd fd = {});
  bool closed() const { return closed_; }

 private:
  struct Waiting {
    std::string message;
    UniqueFd fd;
  };
  enum class Sent : std::uint8_t { yes, later, never };
  Sent transmit(const Waiting& waiting) const;
  void on_event(int events);
  void receive_some();
  void send_some();
  void watch();
  void close();

  Handler handler_;
  UniqueFd end_;
  UvPtr<uv_poll_t> poll_;
  std::unique_ptr<char[]> buffer_;  // NOLINT(modernize-avoid-c-arrays)
  std::deque<Waiting> waiting_;
  int watched_ = 0;
  bool closed_ = false;
};

}  // namespace dwspool::net
