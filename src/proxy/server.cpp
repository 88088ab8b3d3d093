#include "dwspool/proxy/server.h"

#include <algorithm>
#include <exception>

namespace dwspool::proxy {

namespace {

// How often it is looked whether backends are left.
constexpr Duration servers_interval = std::chrono::milliseconds{20};
// The same of clients, when another process has taken over.
constexpr Duration leaving_interval = std::chrono::milliseconds{200};

bool has_coordinator(const config::Config& config, const std::string& cluster,
                     const std::string& label) {
  const config::Cluster* const entry = config.find_cluster(cluster);
  return entry != nullptr &&
         std::any_of(entry->coordinators.begin(), entry->coordinators.end(),
                     [&](const config::Coordinator& each) { return each.label() == label; });
}

}  // namespace

Server::Server(Hub& hub, std::vector<UniqueFd> inherited)
    : hub_(hub), inherited_(std::move(inherited)) {
  const std::shared_ptr<const config::Config> config = hub.config();
  for (std::size_t i = 0; i < config->workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(hub, i, workers_));
  }
  for (const std::shared_ptr<ClusterState>& cluster : hub.clusters) look_after(cluster);
  for (const config::Listener& listener : config->listeners) {
    listeners_.push_back({listener, listen(listener)});
  }
  if (!inherited_.empty()) {
    hub_.log.write(LogLevel::warning, "listener.unused",
                   "sockets were passed to dwspool that `listen` does not name; they are closed",
                   {{"count", static_cast<std::int64_t>(inherited_.size())}});
    inherited_.clear();
  }
  statistics_timer_ = std::make_unique<net::Timer>(loop(), [this] { sample_statistics(); });
  sample_statistics();
  hub.control.apply = [this](const std::shared_ptr<const config::Config>& changed) {
    return reload(changed);
  };
}

void Server::sample_statistics() {
  hub_.statistics.sample(loop().now());
  statistics_timer_->arm(loop().now() + Statistics::period);
}

Server::~Server() {
  for (const std::weak_ptr<ClusterState>& known : listened_) {
    if (const std::shared_ptr<ClusterState> cluster = known.lock()) cluster->listen({});
  }
}

// Probes, and tells everybody what they find out.
void Server::look_after(const std::shared_ptr<ClusterState>& cluster) {
  const std::weak_ptr<ClusterState> known = cluster;
  std::erase_if(listened_, [](const auto& one) { return one.expired(); });
  listened_.push_back(known);
  cluster->listen({.changed =
                       [this, known] {
                         for (const std::unique_ptr<Worker>& worker : workers_) {
                           worker->post([known](Worker& self) {
                             if (const auto state = known.lock()) self.on_topology(*state);
                           });
                         }
                       },
                   .wake =
                       [this, known] {
                         workers_.front()->post([this, known](Worker&) {
                           const auto state = known.lock();
                           const auto found = probers_.find(state.get());
                           if (found != probers_.end()) found->second->wake();
                         });
                       }});
  probers_[cluster.get()] = std::make_unique<Prober>(hub_, *cluster, loop());
}

// The states of clusters that are as they were stay; the others begin anew.
void Server::change_clusters(const std::shared_ptr<const config::Config>& config) {
  Clusters clusters;
  for (const config::Cluster& cluster : config->clusters) {
    const auto same = std::find_if(
        hub_.clusters.begin(), hub_.clusters.end(), [&](const std::shared_ptr<ClusterState>& old) {
          return old->config() == cluster &&
                 old->is_configured_probed() == config->is_probed(cluster);
        });
    if (same != hub_.clusters.end()) {
      clusters.push_back(*same);
      continue;
    }
    clusters.push_back(hub_.make_cluster(config, cluster));
    look_after(clusters.back());
  }
  for (const std::shared_ptr<ClusterState>& old : hub_.clusters) {
    if (std::find(clusters.begin(), clusters.end(), old) != clusters.end()) continue;
    probers_.erase(old.get());
    for (const std::string& label : old->found_hosts()) {
      const std::string& name = old->config().name;
      if (!has_coordinator(*config, name, label)) hub_.metrics.forget_coordinator(name, label);
    }
  }
  hub_.clusters = std::move(clusters);
}

UniqueFd Server::take_inherited(const net::ListenOptions& options) {
  const auto found =
      std::find_if(inherited_.begin(), inherited_.end(),
                   [&](const UniqueFd& socket) { return net::listens_at(socket.get(), options); });
  if (found == inherited_.end()) return {};
  UniqueFd taken = std::move(*found);
  inherited_.erase(found);
  return taken;
}

std::unique_ptr<net::Listener> Server::listen(const config::Listener& listener) {
  net::ListenOptions options;
  options.host = listener.host;
  options.unix_dir = listener.unix_dir;
  options.port = listener.port;
  options.unix_mode = listener.unix_mode;
  options.backlog = listener.backlog;
  return std::make_unique<net::Listener>(
      loop(), options,
      [this, proxies = listener.proxies](UniqueFd fd, const net::Address& peer) {
        const std::string address = proxies.empty() ? std::string() : peer.bytes();
        const bool by_proxy =
            std::any_of(proxies.begin(), proxies.end(),
                        [&](const auth::Network& network) { return network.includes(address); });
        accept(std::move(fd), peer, by_proxy);
      },
      [this](const std::string& error) {
        hub_.log.write_limited(LogLevel::error, "listener.paused",
                               "connections cannot be accepted for the moment",
                               {{"reason", error}});
      },
      take_inherited(options));
}

std::vector<net::Address> Server::addresses() const {
  std::vector<net::Address> addresses;
  for (const Listening& listening : listeners_) addresses.push_back(listening.socket->address());
  return addresses;
}

Status Server::reload(const std::shared_ptr<const config::Config>& config) {
  if (shutting_down_) return Error{"dwspool is shutting down"};
  if (handover_end_ != never) return Error{"another process has taken over"};
  // What is new comes first: if that fails, nothing has happened.
  std::vector<Listening> listeners;
  std::vector<Listening*> kept;
  for (const config::Listener& listener : config->listeners) {
    const auto old = std::find_if(listeners_.begin(), listeners_.end(), [&](Listening& one) {
      return one.config == listener && std::find(kept.begin(), kept.end(), &one) == kept.end();
    });
    if (old != listeners_.end()) {
      kept.push_back(&*old);
      continue;
    }
    try {
      listeners.push_back({listener, listen(listener)});
    } catch (const std::exception& error) {
      return Error{error.what()};
    }
    hub_.log.write(LogLevel::info, "listener.open", "listening",
                   {{"address", listeners.back().socket->address().text()}});
  }
  for (Listening* old : kept) listeners.push_back(std::move(*old));
  for (const Listening& old : listeners_) {
    if (!old.socket) continue;
    hub_.log.write(LogLevel::info, "listener.closed", "not listening any more",
                   {{"address", old.socket->address().text()}});
  }
  listeners_ = std::move(listeners);
  forget_coordinators(*hub_.config(), *config);
  hub_.log.set_level(config->log.level);
  hub_.failures.set_limit(config->auth_failure_limit);
  hub_.set_config(config);
  hub_.acquaintances.clear();
  change_clusters(config);
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post(
        [config, clusters = hub_.clusters](Worker& self) { self.reconfigure(config, clusters); });
  }
  return Ok{};
}

// Their time series end: nobody shall be alarmed about a server that is not meant to be there.
void Server::forget_coordinators(const config::Config& before, const config::Config& after) {
  for (const config::Cluster& cluster : before.clusters) {
    for (const config::Coordinator& coordinator : cluster.coordinators) {
      const std::string label = coordinator.label();
      if (has_coordinator(after, cluster.name, label)) continue;
      hub_.metrics.forget_coordinator(cluster.name, label);
    }
  }
}

// In turn: what a client will cost cannot be known when it comes.
void Server::accept(UniqueFd fd, const net::Address& peer, bool by_proxy) {
  Worker& worker = *workers_[next_worker_];
  next_worker_ = (next_worker_ + 1) % workers_.size();
  if (worker.index() == 0) {
    worker.add_client(std::move(fd), peer, by_proxy);
    return;
  }
  // std::function wants its content copyable.
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  worker.post([shared, peer, by_proxy](Worker& owner) {
    owner.add_client(std::move(*shared), peer, by_proxy);
  });
}

void Server::run() {
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads_.emplace_back([this, i] { workers_[i]->run(); });
  }
  workers_.front()->run();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<int> Server::descriptors() const {
  std::vector<int> sockets;
  for (const Listening& listening : listeners_) sockets.push_back(listening.socket->fd());
  return sockets;
}

void Server::hand_over(UniqueFd channel) {
  if (shutting_down_) return;
  for (const Listening& listening : listeners_) listening.socket->leave_file();
  listeners_.clear();
  if (channel) {
    departures_ = std::make_unique<Departures>(
        hub_.log, loop(), std::move(channel), workers_,
        [this](const wire::KeyData& key) { workers_.front()->cancel_for_successor(key); });
  }
  Duration time = hub_.config()->handover_time;
  if (departures_) time = std::max(time, leaving_interval);  // for those who are at rest
  handover_end_ = loop().now() + time;
  handover_timer_ = std::make_unique<net::Timer>(loop(), [this] { wait_for_leaving(); });
  // Not at once: a client that was accepted a moment ago may be on its way to its worker.
  handover_timer_->arm(std::min(handover_end_, loop().now() + leaving_interval));
}

void Server::take_over(UniqueFd channel) {
  hub_.control.cancel_at_predecessor = [this](const wire::KeyData& key) {
    if (arrivals_) arrivals_->pass_on(key);
  };
  hub_.has_predecessor.store(true, std::memory_order_relaxed);
  arrivals_ = std::make_unique<Arrivals>(hub_.log, loop(), std::move(channel), workers_, [this] {
    hub_.has_predecessor.store(false, std::memory_order_relaxed);
    arrivals_.reset();
  });
}

void Server::wait_for_leaving() {
  if (shutting_down_) return;
  if (loop().now() >= handover_end_ || connected_clients() == 0) return shut_down();
  if (departures_) departures_->sweep();
  handover_timer_->arm(std::min(handover_end_, loop().now() + leaving_interval));
}

// Those who are logging in included.
std::int64_t Server::connected_clients() const {
  std::int64_t clients = 0;
  for (const auto& worker : hub_.metrics.workers()) {
    if (worker) clients += worker->clients.value();
  }
  return clients;
}

void Server::shut_down(Stop how) {
  if (shutting_down_ || how == Stop::at_once) {
    stop_all();
    return;
  }
  shutting_down_ = true;
  hub_.draining.store(true, std::memory_order_relaxed);
  listeners_.clear();
  shutdown_timer_ = std::make_unique<net::Timer>(loop(), [this] {
    hub_.log.write(LogLevel::warning, "process.shutdown_timeout",
                   "clients are left after shutdown_timeout; their connections are closed",
                   {{"clients", static_cast<std::int64_t>(hub_.clients.load())}});
    stop_all();
  });
  shutdown_timer_->arm(deadline_after(loop().now(), hub_.config()->shutdown_timeout));
  if (how == Stop::after_clients) {
    drain_workers();
    return;
  }
  hub_.gates.change([](Gates& gates) { gates.paused_all = true; });
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([](Worker& self) { self.apply_gates(); });
  }
  servers_timer_ = std::make_unique<net::Timer>(loop(), [this] { wait_for_servers(); });
  wait_for_servers();
}

// Until none is left; then the clients are told.
void Server::wait_for_servers() {
  struct Count {
    std::size_t missing = 0;
    std::size_t backends = 0;
  };
  auto count = std::make_shared<Count>();
  count->missing = workers_.size();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([this, count](Worker& self) {
      const std::size_t here = self.backend_count();
      workers_.front()->post([this, count, here](Worker&) {
        count->backends += here;
        if (--count->missing > 0 || stopped_) return;
        if (count->backends == 0) return drain_workers();
        servers_timer_->arm(loop().now() + servers_interval);
      });
    });
  }
}

void Server::drain_workers() {
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([this](Worker& self) {
      self.drain([this] { workers_.front()->post([this](Worker&) { worker_drained(); }); });
    });
  }
}

void Server::worker_drained() {
  if (++drained_ == workers_.size()) stop_all();
}

void Server::stop_all() {
  if (stopped_) return;
  stopped_ = true;
  if (departures_) departures_->finish();
  shutdown_timer_.reset();
  servers_timer_.reset();
  statistics_timer_.reset();
  handover_timer_.reset();
  listeners_.clear();
  probers_.clear();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([](Worker& self) { self.stop(); });
  }
}

}  // namespace dwspool::proxy
