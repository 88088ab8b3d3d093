// An event loop and its clock. Everything made with a loop belongs to the loop's thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include <uv.h>

#include "dwspool/base/time.h"

#include "dwspool/net/handle.h"

namespace dwspool::net {

class Loop {
 public:
  // Throws std::runtime_error when the system gives no loop.
  Loop();
  // Every handle must have been closed; their close callbacks are run.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop() is called or nothing is left to wait for.
  void run();
  void stop() { uv_stop(&loop_); }

  // The monotonic time, read once per turn of the loop: events that were found together have
  // happened together.
  TimePoint now() {
    if (!now_is_fresh_) refresh_now();
    return now_;
  }

  uv_loop_t* raw() { return &loop_; }

  // How many look-ups of names are under way; their threads may outlive the loop.
  const std::shared_ptr<std::atomic<std::size_t>>& lookups() const { return lookups_; }

  // Memory for the time of one call on this loop, for what TLS receives and sends: connections
  // that say nothing hold none.
  struct Scratch {
    static constexpr std::size_t size = 65536;
    std::string received = std::string(size, '\0');
    std::string to_send;  // empty between calls
  };
  Scratch& scratch() {
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
    return *scratch_;
  }

 private:
  void refresh_now();

  uv_loop_t loop_{};
  UvPtr<uv_prepare_t> before_poll_;
  TimePoint now_;
  bool now_is_fresh_ = false;
  std::unique_ptr<Scratch> scratch_;
  std::shared_ptr<std::atomic<std::size_t>> lookups_ =
      std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace dwspool::net
