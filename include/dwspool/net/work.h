// Work that takes long, done in libuv's thread pool.
#pragma once

#include <functional>

#include "dwspool/net/loop.h"

namespace dwspool::net {

// Calls `work` in another thread, then `done` on the loop. Both are always called, in this order,
// unless the loop is destroyed first. `work` must not touch what the loop's thread uses.
void run_in_background(Loop& loop, std::function<void()> work, std::function<void()> done);

}  // namespace dwspool::net
