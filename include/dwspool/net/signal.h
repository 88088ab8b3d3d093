// A signal, delivered on a loop.
#pragma once

#include <functional>

#include "dwspool/base/unique_fd.h"

#include "dwspool/net/loop.h"

namespace dwspool::net {

class Signal {
 public:
  // From now on the signal waits for a Signal object, in this thread and those that it starts: to
  // be called before there are any. Stays so to the end of the process, so that no signal kills it
  // while it winds up, as would be the case with uv_signal.
  static void block(int number);

  // `on_signal` is called on the loop. Precondition: the signal is blocked.
  Signal(Loop& loop, int number, std::function<void()> on_signal);

 private:
  void on_readable();

  std::function<void()> on_signal_;
  UniqueFd fd_;
  UvPtr<uv_poll_t> poll_;
};

}  // namespace dwspool::net
