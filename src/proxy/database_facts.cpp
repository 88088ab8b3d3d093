#include "dwspool/proxy/database_facts.h"

#include "dwspool/base/text.h"

namespace dwspool::proxy {
namespace {

std::string hosts_of(const config::Cluster& cluster) {
  std::string hosts;
  for (const config::Coordinator& coordinator : cluster.coordinators) {
    hosts += (hosts.empty() ? "" : ",") + coordinator.host;
  }
  return hosts;
}

std::int64_t whole_seconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

console::DatabaseFacts facts_of(const config::Config& config, const std::string& name,
                                const Gates& gates) {
  console::DatabaseFacts facts;
  facts.name = printable(name);
  facts.paused = gates.is_paused(name);
  facts.disabled = gates.disabled.contains(name);
  const config::Database* entry = config.find_database(name);
  if (entry == nullptr) return facts;  // it was there when its clients came
  const config::PoolSettings settings = config.pool_settings(*entry, nullptr);
  const config::Cluster* cluster = config.find_cluster(entry->cluster);
  if (cluster != nullptr) {
    facts.hosts = hosts_of(*cluster);
    facts.port = cluster->coordinators.front().port;
  }
  facts.database =
      entry->backend_database.empty() ? facts.name : printable(entry->backend_database);
  facts.force_user = printable(entry->backend_user);
  facts.pool_size = settings.size;
  facts.min_pool_size = settings.min_size;
  facts.reserve_pool_size = settings.reserve_size;
  facts.server_lifetime_seconds = whole_seconds(settings.server_lifetime);
  facts.pool_mode = to_string(settings.mode);
  return facts;
}

}  // namespace

std::vector<console::DatabaseFacts> database_facts(const config::Config& config, const Gates& gates,
                                                   const std::set<std::string>& others) {
  std::set<std::string> names = others;
  for (const config::Database& database : config.databases) {
    if (database.name != "*") names.insert(database.name);
  }
  std::vector<console::DatabaseFacts> facts;
  facts.reserve(names.size());
  for (const std::string& name : names) facts.push_back(facts_of(config, name, gates));
  return facts;
}

}  // namespace dwspool::proxy
