// What the console asks of a worker.
#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/process_facts.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

void add_pins(const FrontConn& client, std::vector<console::PinFacts>& pins) {
  static constexpr auto first_reason = bit(sql::Effect::changes_setting);
  if (client.pool() == nullptr) return;
  const std::string database = printable(client.pool()->database);
  const std::string user = printable(client.pool()->route.user);
  for (std::size_t i = 0; i < metrics::pin_reasons; ++i) {
    if ((client.session()->pins() & (first_reason << i)) == 0) continue;
    const std::string_view reason = metrics::pin_reason_name(i);
    const auto same = std::find_if(pins.begin(), pins.end(), [&](const console::PinFacts& pin) {
      return pin.database == database && pin.user == user && pin.reason == reason;
    });
    if (same == pins.end()) {
      pins.push_back({database, user, reason, 1});
    } else {
      ++same->sessions;
    }
  }
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
    if (client.session() != nullptr && client.session()->pins() != 0) {
      add_pins(client, facts.pins);
    }
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
  proxy::add_process_facts(facts, hub_, *config_, *gates_);
}

}  // namespace dwspool::proxy
