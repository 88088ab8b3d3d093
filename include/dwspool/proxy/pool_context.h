// Everything that belongs to one pool on one worker: the pure pool and session core, and what the
// shell needs to open backends for it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/base/secret.h"

#include "dwspool/config/config.h"
#include "dwspool/metrics/registry.h"
#include "dwspool/pool/pool.h"

#include "dwspool/session/replayed_session.h"

#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/quotas.h"
#include "dwspool/proxy/slot_ledger.h"

namespace dwspool::proxy {

// Whom a client's statements run as, and where.
struct Route {
  const config::Cluster* cluster = nullptr;
  std::size_t cluster_index = 0;
  std::string database;  // on the backend
  std::string user;      // on the backend
  std::optional<Secret> password;
  Target target = Target::read_write;
  config::PoolSettings settings;
  std::vector<QuotaRule> quotas;  // that it shares with other pools
  // The lock-out guard's name for this user on this cluster, its password included.
  std::string account;
  // Names the pool. Clients with the same key share backends: same database, same account, and
  // knobs from the same place.
  std::string pool_key;
};

// Nothing when the database is not configured. The configuration outlives the route.
std::optional<Route> make_route(const config::Config& config, const std::string& database,
                                const std::string& user);

struct PoolContext {
  PoolContext(Route pool_route, session::PreparedTable& statements,
              session::Interner<session::SettingSet>& settings,
              session::Interner<session::ReportedSet>& reported);

  Route route;
  const std::string& key() const { return route.pool_key; }
  std::string database;  // as clients call it
  pool::Pool pool;
  session::WelcomeCache welcome;
  session::SessionContext sessions;
  session::ReplayContext replay;
  std::shared_ptr<SlotAccount> slots;
  Quotas::MemberPtr quota;  // null: none
  std::shared_ptr<metrics::PoolBlock> metrics;
  ClusterState* cluster = nullptr;
  // Why the last backend could not be opened; for the DETAIL of those who wait in vain.
  std::string last_failure;
  std::size_t clients = 0;
  std::size_t backends = 0;  // connection objects, whatever their state

  // Brings the gauges in step with the pool.
  void publish(std::size_t worker);

 private:
  // What the gauges show of this pool: they are shared by those that go under "other".
  struct Shown {
    std::int64_t opening = 0;
    std::int64_t idle = 0;
    std::int64_t lent = 0;
    std::int64_t cleaning = 0;
    std::int64_t clients_idle = 0;
    std::int64_t clients_active = 0;
    std::int64_t clients_waiting = 0;
    std::int64_t oldest_wait_since = 0;
    std::int64_t replay_log_bytes = 0;
  };
  Shown shown_;
};

}  // namespace dwspool::proxy
