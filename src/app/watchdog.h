// Tells the service manager that the process is well, as often as that wants to hear it
// (WatchdogSec= of systemd). The process says nothing when it is not, and is started anew.
#pragma once

#include <functional>

#include "dwspool/base/time.h"

#include "dwspool/net/timer.h"

namespace dwspool::app {

class Watchdog {
 public:
  // `is_well` is called on the loop, which shows by itself that this one turns.
  Watchdog(net::Loop& loop, std::function<bool()> is_well);

 private:
  void on_time();

  net::Loop& loop_;
  std::function<bool()> is_well_;
  Duration interval_;  // 0: nobody wants to hear it
  net::Timer timer_;
};

// Half of what the environment asks for; 0 when it asks nothing, or another process.
Duration watchdog_interval(const char* microseconds, const char* process, long self);

}  // namespace dwspool::app
