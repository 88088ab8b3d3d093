// What the console asks of a worker.
#include <algorithm>
#include <set>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/config/settings.h"

#include "dwspool/proxy/worker.h"

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

console::DatabaseFacts database_facts(const config::Config& config, const std::string& name,
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

void Worker::apply_gates() {
  const GatesPtr before = std::exchange(gates_, hub_.gates.current());
  for (auto& [key, pool] : pools_) {
    const bool paused = gates_->is_paused(pool->database);
    if (paused == pool->pool.paused()) continue;
    if (paused) {
      pool->pool.pause(now());
    } else {
      pool->pool.unpause(now());
    }
    touch(*pool);
  }
  if (before->suspended != gates_->suspended) {
    clients_.for_each([](FrontConn& client) { client.on_gates_changed(); });
    backends_.for_each([](BackConn& backend) { backend.on_gates_changed(); });
  }
}

// Those whose turn cannot come any more.
void Worker::fail_paused_waiters() {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::admin_shutdown;
  report.message = "dwspool is shutting down";
  report.detail = "Nothing was sent to the server.";
  report.hint = "Connect again.";
  for (auto& [key, pool] : pools_) {
    if (pool->pool.paused()) fail_waiters(*pool, report);
  }
}

void Worker::renew_backends(const std::string& database) {
  for (auto& [key, pool] : pools_) {
    if (!database.empty() && pool->database != database) continue;
    pool->pool.renew(now());
    touch(*pool);
  }
}

void Worker::kill_clients(const std::string& database) {
  clients_.for_each([&](FrontConn& client) {
    if (client.pool() != nullptr && client.pool()->database == database) client.kill();
  });
}

bool Worker::kill_client(std::uint32_t number) {
  FrontConn* found = nullptr;
  clients_.for_each([&](FrontConn& client) {
    if (client.number() == number) found = &client;
  });
  if (found == nullptr) return false;
  found->kill();
  return true;
}

void Worker::add_facts(console::Facts& facts, bool connections) {
  for (const auto& [key, pool] : pools_) {
    using pool::SlotState;
    console::PoolFacts row;
    row.database = printable(pool->database);
    row.user = printable(pool->route.user);
    row.pool_mode = to_string(pool->route.settings.mode);
    row.clients = pool->clients;
    row.clients_waiting = pool->pool.waiting();
    row.backends_active = pool->pool.count(SlotState::lent);
    row.backends_idle = pool->pool.count(SlotState::idle);
    row.backends_cleaning = pool->pool.count(SlotState::cleaning);
    row.backends_opening = pool->pool.count(SlotState::opening);
    row.backends_outdated = pool->pool.outdated();
    if (const TimePoint oldest = pool->pool.oldest_wait(); oldest != never) {
      row.longest_wait_us =
          std::chrono::duration_cast<std::chrono::microseconds>(now() - oldest).count();
    }
    facts.pools.push_back(std::move(row));
  }
  clients_.for_each([&](FrontConn& client) {
    if (client.is_console()) {
      ++facts.console_clients;
    } else if (client.logged_in()) {
      ++facts.clients;
    } else {
      ++facts.clients_logging_in;
    }
    if (client.output_full()) ++facts.unsent;
    if (connections) facts.connections.push_back(client.facts());
  });
  backends_.for_each([&](BackConn& backend) {
    if (backend.output_full()) ++facts.unsent;
    if (backend.cancels_in_flight() > 0) {
      const auto pool =
          std::find_if(facts.pools.begin(), facts.pools.end(), [&](const console::PoolFacts& row) {
            return row.database == printable(backend.pool().database) &&
                   row.user == printable(backend.pool().route.user);
          });
      if (pool != facts.pools.end()) {
        pool->cancels += static_cast<std::size_t>(backend.cancels_in_flight());
        ++pool->backends_cancelled;
      }
    }
    if (connections) facts.connections.push_back(backend.facts());
  });
  facts.memory = {
      {"client_connections", sizeof(FrontConn) + sizeof(session::Session), clients_.size(), 0},
      {"server_connections", sizeof(BackConn), backends_.size(), 0},
      {"pools", sizeof(PoolContext), pools_.size(), 0},
      {"prepared_statements", sizeof(session::PreparedStatement), statements_.size(), 0},
      {"read_buffers", keep_size + read_size, 1, 0},
  };
}

void Worker::add_process_facts(console::Facts& facts) const {
  const config::Config& config = *config_;
  facts.version = "dwspool " + hub_.version;
  facts.paused = gates_->paused_all;
  facts.suspended = gates_->suspended;
  facts.max_clients = config.max_client_conn;
  facts.clients += facts.clients_logging_in;
  facts.stats = hub_.statistics.report();
  // Those that the configuration names, and those that clients have named for its "*".
  std::set<std::string> names;
  for (const config::Database& database : config.databases) {
    if (database.name != "*") names.insert(database.name);
  }
  for (const console::PoolFacts& pool : facts.pools) names.insert(pool.database);
  for (const std::string& name : names) {
    facts.databases.push_back(database_facts(config, name, *gates_));
  }
  for (const config::User& user : config.users) {
    facts.users.push_back({printable(user.name), user.pool.size, user.pool.reserve_size,
                           user.pool.mode ? std::string(to_string(*user.pool.mode)) : ""});
  }
  for (const auto& [key, blocks] : hub_.metrics.coordinators()) {
    console::CoordinatorFacts row{key.cluster, key.label, "unknown"};
    bool up = false;
    for (const auto& block : blocks) {
      if (!block) continue;
      up = up || block->up.value() != 0;
      row.connections += block->connections.value();
      row.opened += block->opened.value();
      row.failures += block->failed.value();
    }
    if (row.opened + row.failures > 0) row.state = up ? "up" : "down";
    facts.coordinators.push_back(std::move(row));
  }
  for (config::Setting& setting : config::settings_of(config)) {
    facts.settings.push_back({std::move(setting.key), std::move(setting.value),
                              std::move(setting.standard), setting.changeable});
  }
}

}  // namespace dwspool::proxy
