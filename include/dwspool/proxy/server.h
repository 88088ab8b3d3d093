// The whole proxy: its workers, their threads and what they listen on.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dwspool/base/result.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/config/config.h"

#include "dwspool/net/listener.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/arrivals.h"
#include "dwspool/proxy/departures.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/prober.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

class Server {
 public:
  // Listens on everything that the configuration names, but takes nobody in before run(). Throws
  // std::runtime_error when it cannot listen. `inherited`: sockets that listen already, from the
  // service manager or from a process that hands over; those that fit are used, the others closed.
  explicit Server(Hub& hub, std::vector<UniqueFd> inherited = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Serves until it is told to end and has ended. The calling thread becomes the first worker's.
  void run();

  // --- On the first worker's thread ---
  // No new clients. The old ones end at their next transaction boundary, or, after_servers, when
  // no backend is in use any more; all of them after shutdown_timeout. Called again: ends at once.
  void shut_down(Stop how = Stop::after_clients);
  // Another configuration from now on, without dropping a client (Worker::reconfigure). Whatever
  // needs a restart is as before (config::plan_reload). An error, and nothing has changed, when a
  // new address cannot be listened on.
  Status reload(const std::shared_ptr<const config::Config>& config);
  // The sockets that listen, to be handed over.
  std::vector<int> descriptors() const;
  // Another process listens now. The clients go to it by `channel` when they are at rest; with
  // none, or where they cannot (doc/service.md), they go on here for handover_time, and are then
  // ended as shut_down(after_clients) does. The end comes earlier when all have left.
  void hand_over(UniqueFd channel);
  // To be called before run(), by a process that takes over: says that it serves, and takes the
  // clients of the other one in.
  void take_over(UniqueFd channel);
  net::Loop& loop() { return workers_.front()->loop(); }

  const std::vector<std::unique_ptr<Worker>>& workers() const { return workers_; }

  // What is really listened on.
  std::vector<net::Address> addresses() const;

 private:
  void accept(UniqueFd fd, const net::Address& peer, bool by_proxy);
  UniqueFd take_inherited(const net::ListenOptions& options);
  void wait_for_leaving();
  std::int64_t connected_clients() const;
  std::unique_ptr<net::Listener> listen(const config::Listener& listener);
  void forget_coordinators(const config::Config& before, const config::Config& after);
  void sample_statistics();
  void drain_workers();
  void wait_for_servers();
  void look_after(const std::shared_ptr<ClusterState>& cluster);
  void change_clusters(const std::shared_ptr<const config::Config>& config);
  void worker_drained();
  void stop_all();

  Hub& hub_;
  std::vector<std::unique_ptr<Worker>> workers_;
  // On the first worker's loop.
  std::map<const ClusterState*, std::unique_ptr<Prober>> probers_;
  std::vector<std::weak_ptr<ClusterState>> listened_;  // that may call back
  std::vector<std::thread> threads_;
  struct Listening {
    config::Listener config;
    std::unique_ptr<net::Listener> socket;
  };
  std::vector<Listening> listeners_;
  std::unique_ptr<net::Timer> shutdown_timer_;
  std::unique_ptr<net::Timer> servers_timer_;
  std::unique_ptr<net::Timer> statistics_timer_;
  std::unique_ptr<net::Timer> handover_timer_;
  TimePoint handover_end_ = never;
  std::unique_ptr<Departures> departures_;
  std::unique_ptr<Arrivals> arrivals_;
  std::vector<UniqueFd> inherited_;  // while listening begins
  std::size_t next_worker_ = 0;
  std::size_t drained_ = 0;
  bool shutting_down_ = false;
  bool stopped_ = false;
};

}  // namespace dwspool::proxy
