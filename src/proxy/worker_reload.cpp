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

// The pool's key, once it is known which cluster it is: one that has changed is another one.
std::string Worker::key_of(Route& route) const {
  route.pool_key += '\0' + std::to_string(clusters_[route.cluster_index]->number());
  // What it shares with others is settled when it is made.
  for (const QuotaRule& rule : route.quotas) route.pool_key += '\0' + rule.name;
  return route.pool_key;
}

void Worker::reconfigure(std::shared_ptr<const config::Config> config, Clusters clusters) {
  config_ = std::move(config);
  clusters_ = std::move(clusters);
  introductions_.forget(clusters_);
  peer_cancels_.reconfigure(config_->peers);
  for (auto& [key, pool] : pools_) {
    pool->current = false;
    if (!config_->may_come_in(pool->client, pool->database)) continue;
    std::optional<Route> route = make_route(*config_, pool->database, pool->client, pool->proven);
    if (route && key_of(*route) == key) reconfigure_pool(*pool, std::move(*route));
  }
  // May find more of them, or make new ones.
  clients_.for_each([](FrontConn& client) { client.on_reconfigured(); });
  for (auto& [key, pool] : pools_) {
    if (!pool->current) pool->retire(now());
    touch(*pool);
  }
  settle();
}

void Worker::reconfigure_pool(PoolContext& pool, Route route) {
  divide_minimum(route);
  // What the hosts take is theirs to say.
  std::erase_if(route.quotas, [&](const QuotaRule& rule) {
    return rule.name == host_rule(route.cluster->name, route.target, 0).name;
  });
  pass_on(hub_.quotas.change(route.quotas));
  pool.reconfigure(config_, std::move(route), now());
  const config::PoolSettings& settings = pool.route.settings;
  announce_free_slot(pool.key(), pool.slots->set_limits(settings.size, settings.reserve_size));
  pool.pool.shed(pool.slots->surplus(), now());
  touch(pool);
}

}  // namespace dwspool::proxy
