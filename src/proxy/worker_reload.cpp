// A worker under another configuration.
#include <algorithm>

#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

// Every worker keeps its share of the minimum.
void Worker::divide_minimum(Route& route) const {
  const auto workers = static_cast<std::uint32_t>(all_.size());
  const std::uint32_t minimum = route.settings.min_size;
  route.settings.min_size = minimum / workers + (index_ < minimum % workers ? 1 : 0);
}

// What is known of coordinators stays known, as long as the cluster keeps them all.
void Worker::set_clusters(const config::Config& config) {
  std::vector<pool::Rotation> rotations;
  std::vector<std::unique_ptr<bool[]>> old_protocol;  // NOLINT(modernize-avoid-c-arrays)
  for (const config::Cluster& cluster : config.clusters) {
    const config::Cluster* before = config_->find_cluster(cluster.name);
    if (before != nullptr && before->coordinators == cluster.coordinators) {
      const auto i = static_cast<std::size_t>(before - config_->clusters.data());
      rotations.push_back(std::move(rotations_[i]));
      old_protocol.push_back(std::move(old_protocol_[i]));
    } else {
      rotations.emplace_back(cluster.coordinators.size());
      old_protocol.push_back(std::make_unique<bool[]>(cluster.coordinators.size()));  // NOLINT
    }
  }
  rotations_ = std::move(rotations);
  old_protocol_ = std::move(old_protocol);
}

void Worker::reconfigure(std::shared_ptr<const config::Config> config) {
  set_clusters(*config);
  const std::shared_ptr<const config::Config> before = std::exchange(config_, std::move(config));
  for (auto& [key, pool] : pools_) {
    pool->current = false;
    if (config_->find_user(pool->client) == nullptr) continue;
    std::optional<Route> route = make_route(*config_, pool->database, pool->client);
    if (route && route->pool_key == key) reconfigure_pool(*pool, std::move(*route));
  }
  // May find more of them, or make new ones.
  clients_.for_each([](FrontConn& client) { client.on_reconfigured(); });
  for (auto& [key, pool] : pools_) {
    if (!pool->current) pool->retire(now());
  }
  backends_.for_each([](BackConn& backend) { backend.on_reconfigured(); });
  for (auto& [key, pool] : pools_) touch(*pool);
  settle();
}

void Worker::reconfigure_pool(PoolContext& pool, Route route) {
  divide_minimum(route);
  pool.reconfigure(config_, std::move(route), now());
  const config::PoolSettings& settings = pool.route.settings;
  announce_free_slot(pool.key(), pool.slots->set_limits(settings.size, settings.reserve_size));
  pool.pool.shed(pool.slots->surplus(), now());
  touch(pool);
}

}  // namespace dwspool::proxy
