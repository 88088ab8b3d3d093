// Waking a loop from another thread.
#pragma once

#include <functional>

#include "dwspool/net/loop.h"

namespace dwspool::net {

class Async {
 public:
  // `on_wake` is called on the loop, at least once after every wake().
  Async(Loop& loop, std::function<void()> on_wake);

  // From any thread, as long as the object lives.
  void wake() { uv_async_send(handle_.get()); }

 private:
  std::function<void()> on_wake_;
  UvPtr<uv_async_t> handle_;
};

}  // namespace dwspool::net
