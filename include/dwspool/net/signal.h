// A signal, delivered on a loop.
#pragma once

#include <functional>

#include "dwspool/net/loop.h"

namespace dwspool::net {

class Signal {
 public:
  // `on_signal` is called on the loop, once per delivery.
  Signal(Loop& loop, int number, std::function<void()> on_signal);

 private:
  std::function<void()> on_signal_;
  UvPtr<uv_signal_t> handle_;
};

}  // namespace dwspool::net
