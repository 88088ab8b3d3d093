#include "dwspool/proxy/server.h"

namespace dwspool::proxy {

Server::Server(Hub& hub) : hub_(hub) {
  for (std::size_t i = 0; i < hub.config->workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(hub, i, workers_));
  }
  for (std::size_t i = 0; i < hub.clusters.size(); ++i) {
    ClusterState& cluster = *hub.clusters[i];
    probers_.push_back(std::make_unique<Prober>(hub, cluster, loop()));
    cluster.listen({.changed =
                        [this, &cluster] {
                          for (const std::unique_ptr<Worker>& worker : workers_) {
                            worker->post([&cluster](Worker& self) { self.on_topology(cluster); });
                          }
                        },
                    .wake =
                        [this, i] {
                          workers_.front()->post([this, i](Worker&) {
                            if (!probers_.empty()) probers_[i]->wake();
                          });
                        }});
  }
  for (const config::Listener& listener : hub.config->listeners) {
    net::ListenOptions options;
    options.host = listener.host;
    options.unix_dir = listener.unix_dir;
    options.port = listener.port;
    options.unix_mode = listener.unix_mode;
    options.backlog = listener.backlog;
    listeners_.push_back(std::make_unique<net::Listener>(
        loop(), options,
        [this](UniqueFd fd, const net::Address& peer) { accept(std::move(fd), peer); },
        [this](const std::string& error) {
          hub_.log.write_limited(LogLevel::error, "listener.paused",
                                 "connections cannot be accepted for the moment",
                                 {{"reason", error}});
        }));
  }
}

Server::~Server() {
  for (const std::unique_ptr<ClusterState>& cluster : hub_.clusters) cluster->listen({});
}

std::vector<net::Address> Server::addresses() const {
  std::vector<net::Address> addresses;
  for (const auto& listener : listeners_) addresses.push_back(listener->address());
  return addresses;
}

// In turn: what a client will cost cannot be known when it comes.
void Server::accept(UniqueFd fd, const net::Address& peer) {
  Worker& worker = *workers_[next_worker_];
  next_worker_ = (next_worker_ + 1) % workers_.size();
  if (worker.index() == 0) {
    worker.add_client(std::move(fd), peer);
    return;
  }
  // std::function wants its content copyable.
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  worker.post([shared, peer](Worker& owner) { owner.add_client(std::move(*shared), peer); });
}

void Server::run() {
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads_.emplace_back([this, i] { workers_[i]->run(); });
  }
  workers_.front()->run();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Server::shut_down() {
  if (shutting_down_) {
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
  shutdown_timer_->arm(deadline_after(loop().now(), hub_.config->shutdown_timeout));
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
  shutdown_timer_.reset();
  listeners_.clear();
  probers_.clear();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([](Worker& self) { self.stop(); });
  }
}

}  // namespace dwspool::proxy
