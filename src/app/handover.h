// Another process of the same file takes over, with the same configuration: it gets the listening
// sockets, and when it serves, this one listens no more and gives it the clients as they come to
// rest (Server::hand_over). If it does not come to serve, nothing has happened.
//
//          start()              HTTP has ended          a word by the channel
//   idle ───────────► releasing ─────────────► waiting ─────────────────────► handed over
//     ▲                                           │ its end, or time is up
//     └───────────────────────────────────────────┘
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
  // The HTTP address, which only one process can have.
  struct Http {
    std::function<void(std::function<void()> done)> release;  // takes its time
    std::function<void()> restore;
  };
  // Keeps the environment and the name of the executable file as they are now.
  Handover(proxy::Hub& hub, proxy::Server& server, Http http);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // On the first worker's thread.
  void start();
  // Whether another file has come to the place of the one that this process runs, so that a reload
  // (`systemctl reload-or-restart` behind an upgrade, say) had better be a handover.
  bool has_new_file() const;
  bool done() const { return done_; }

 private:
  void go_on();
  bool spawn();
  void look();
  void succeed(bool takes_clients);
  void fail(const std::string& why);

  proxy::Hub& hub_;
  proxy::Server& server_;
  Http http_;
  std::string executable_;
  std::vector<std::string> environment_;
  net::Timer timer_;
  UniqueFd channel_;
  pid_t child_ = 0;
  TimePoint give_up_at_ = never;
  bool under_way_ = false;
  bool done_ = false;
};

}  // namespace dwspool::app
