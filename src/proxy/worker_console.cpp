// What the console asks of a worker.
#include <algorithm>
#include <charconv>
#include <set>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/config/settings.h"
#include "dwspool/metrics/replay_numbers.h"

#include "dwspool/proxy/database_facts.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
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
  for (const config::Peer& peer : config.peers) {
    std::uint32_t number = 0;
    const char* const end = peer.id.data() + peer.id.size();
    const auto [rest, failure] = std::from_chars(peer.id.data(), end, number);
    const bool numeric = failure == std::errc{} && rest == end;
    const auto place = static_cast<std::uint32_t>(facts.peers.size() + 1);
    facts.peers.push_back({numeric ? number : place, printable(peer.host), peer.port});
  }
  std::set<std::string> named;
  for (const console::PoolFacts& pool : facts.pools) named.insert(pool.database);
  facts.databases = database_facts(config, *gates_, named);
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
  for (metrics::ReplayNumber& number : metrics::replay_numbers(hub_.metrics)) {
    facts.replay.push_back({printable(number.name), printable(number.database),
                            printable(number.user), std::move(number.failure),
                            std::move(number.outcome), number.value});
  }
  for (config::Setting& setting : config::settings_of(config)) {
    facts.settings.push_back({std::move(setting.key), std::move(setting.value),
                              std::move(setting.standard), setting.changeable});
  }
}

}  // namespace dwspool::proxy
