// The whole proxy: its workers, their threads and what they listen on.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dwspool/net/listener.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/prober.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

class Server {
 public:
  // Listens on everything that the configuration names, but takes nobody in before run(). Throws
  // std::runtime_error when it cannot listen.
  explicit Server(Hub& hub);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Serves until it is told to end and has ended. The calling thread becomes the first worker's.
  void run();

  // --- On the first worker's thread ---
  // No new clients; each old one ends at its next transaction boundary, all of them after
  // shutdown_timeout. Called again: ends at once.
  void shut_down();
  net::Loop& loop() { return workers_.front()->loop(); }

  // What is really listened on.
  std::vector<net::Address> addresses() const;

 private:
  void accept(UniqueFd fd, const net::Address& peer);
  void worker_drained();
  void stop_all();

  Hub& hub_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Prober>> probers_;  // by cluster; on the first worker's loop
  std::vector<std::thread> threads_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::unique_ptr<net::Timer> shutdown_timer_;
  std::size_t next_worker_ = 0;
  std::size_t drained_ = 0;
  bool shutting_down_ = false;
  bool stopped_ = false;
};

}  // namespace dwspool::proxy
