// Another process of the same file takes over, with the same configuration: it gets the listening
// sockets, and when it serves, this one listens no more and goes on with the clients that it has
// (Server::hand_over). If it does not come to serve, nothing has happened.
//
//          start()                 a byte by the pipe
//   idle ───────────► waiting ─────────────────────────► handed over
//     ▲                  │ its end, or time is up
//     └──────────────────┘
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "dwspool/base/time.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/net/timer.h"

#include "dwspool/proxy/server.h"

namespace dwspool::app {

class Handover {
 public:
  // `lend_http(true)`: the HTTP address is the other process's for the moment, `false`: it is ours
  // again. Keeps the environment and the name of the executable file as they are now.
  Handover(proxy::Hub& hub, proxy::Server& server, std::function<void(bool)> lend_http);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // On the first worker's thread.
  void start();
  bool done() const { return done_; }

 private:
  bool spawn();
  void look();
  void succeed();
  void fail(const std::string& why);

  proxy::Hub& hub_;
  proxy::Server& server_;
  std::function<void(bool)> lend_http_;
  std::string executable_;
  std::vector<std::string> environment_;
  net::Timer timer_;
  UniqueFd ready_;
  pid_t child_ = 0;
  TimePoint give_up_at_ = never;
  bool done_ = false;
};

}  // namespace dwspool::app
