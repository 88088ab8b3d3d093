// Everything that belongs to one pool on one worker: the pure pool and session core, and what the
// shell needs to open backends for it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
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
  auth::Credential credential;
  // Where the credential is not configured: the name of its user among Hub::acquaintances.
  std::string acquaintance;
  Target target = Target::read_write;
  config::PoolSettings settings;
  std::vector<QuotaRule> quotas;  // that it shares with other pools
  // The lock-out guard's name for this user on this cluster, its password included.
  std::string account;
  // Names the pool. Clients with the same key share backends: same database, same account, and
  // knobs from the same place.
  std::string pool_key;
};

// The limit that the pools of a cluster share which want the same hosts of it: what these take.
// `room`: ClusterState::room().
QuotaRule host_rule(const std::string& cluster, Target target, std::uint32_t room);

// Nothing when the database is not configured. The configuration outlives the route. `proven` is
// what the client has proven its name with; it takes the place of a password that is not configured
// where the client goes on under its own name.
std::optional<Route> make_route(const config::Config& config, const std::string& database,
                                const std::string& user, const auth::Credential& proven = {});

// What the sessions of a pool share. It lives as long as one of them does: a reload gives the pool
// another one, and a session takes that when it is at rest.
struct SharedSessions {
  SharedSessions(const session::SessionConfig& config, session::PreparedTable& statements,
                 session::Interner<session::SettingSet>& settings,
                 session::Interner<session::ReportedSet>& reported,
                 const retry::ReplayOptions& replay_options, retry::ErrorTable errors)
      : context{config, statements, settings, reported, welcome},
        replay(replay_options, std::move(errors)) {}
  SharedSessions(const SharedSessions&) = delete;
  SharedSessions& operator=(const SharedSessions&) = delete;

  session::WelcomeCache welcome;
  session::SessionContext context;
  session::ReplayContext replay;
};

struct PoolContext {
  PoolContext(std::shared_ptr<const config::Config> configuration, Route pool_route,
              session::PreparedTable& statements, session::Interner<session::SettingSet>& settings,
              session::Interner<session::ReportedSet>& reported);

  // The configuration has changed: the same pool, perhaps with other knobs and coordinators.
  void reconfigure(std::shared_ptr<const config::Config> configuration, Route new_route,
                   TimePoint now);
  // Nobody is routed here any more: backends end as soon as nobody uses them.
  void retire(TimePoint now);

  std::shared_ptr<const config::Config> config;  // that the route was made of
  Route route;
  const std::string& key() const { return route.pool_key; }
  std::string database;     // as clients call it
  std::string client;       // the first client's user
  auth::Credential proven;  // by it
  pool::Pool pool;
  std::shared_ptr<SharedSessions> sessions;
  std::shared_ptr<SlotAccount> slots;
  Quotas::MemberPtr quota;  // null: none
  std::shared_ptr<metrics::PoolBlock> metrics;
  std::shared_ptr<ClusterState> cluster;
  // Why the last backend could not be opened; for the DETAIL of those who wait in vain.
  std::string last_failure;
  std::size_t clients = 0;
  std::size_t backends = 0;  // connection objects, whatever their state
  bool current = true;       // the configuration routes clients here

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
    std::int64_t replay_waiting = 0;
  };
  Shown shown_;
};

}  // namespace dwspool::proxy
