#include "dwspool/proxy/pool_context.h"

#include <chrono>
#include <limits>
#include <string_view>

#include "dwspool/auth/digest.h"

#include "dwspool/proxy/acquaintances.h"

namespace dwspool::proxy {
namespace {

// The password that a user's own entry knows in clear; nothing if there is none.
std::optional<Secret> known_password(const config::Config& config, const std::string& user) {
  const config::User* entry = config.find_user(user);
  if (entry == nullptr || entry->name != user) return std::nullopt;
  if (entry->backend_password) return entry->backend_password;
  if (entry->secret.kind == auth::UserSecret::Kind::plain) return entry->secret.plain;
  return std::nullopt;
}

pool::PoolOptions pool_options(const config::PoolSettings& settings) {
  pool::PoolOptions options;
  options.min_size = settings.min_size;
  options.has_reserve = settings.reserve_size > 0;
  options.reserve_timeout = settings.reserve_timeout;
  options.queue_timeout = settings.queue_timeout;
  options.queue_notice = settings.queue_notice;
  options.server_idle_timeout = settings.server_idle_timeout;
  options.server_lifetime = settings.server_lifetime;
  return options;
}

session::SessionConfig session_config(const config::PoolSettings& settings) {
  session::SessionConfig config;
  config.mode = settings.mode;
  config.defer_begin = settings.defer_begin && settings.mode != PoolMode::statement;
  config.max_prepared_statements = settings.max_prepared_statements;
  if (settings.mode == PoolMode::automatic && !settings.pin_on.empty()) {
    config.pin_on = std::make_shared<const sql::NameSet>(settings.pin_on);
  }
  return config;
}

retry::ReplayOptions replay_options(const Route& route) {
  const config::PoolSettings& settings = route.settings;
  retry::ReplayOptions options;
  options.level = settings.replay;
  options.deadline = settings.replay_deadline;
  options.attempts = settings.replay_attempts;
  options.needs_primary = route.target == Target::read_write;
  return options;
}

retry::ErrorTable error_table(const config::Cluster& cluster) {
  std::vector<retry::RefusalRule> rules;
  for (const config::Refusal& refusal : cluster.refusals) {
    rules.push_back({refusal.sqlstate, refusal.text});
  }
  return retry::ErrorTable(std::move(rules));
}

// Commit tokens that nobody else makes, with the time of day in them.
void name_tokens(retry::TokenSource& tokens) {
  constexpr std::size_t prefix_bytes = 16;
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char byte : auth::random_bytes(prefix_bytes)) {
    const auto value = static_cast<unsigned char>(byte);
    tokens.prefix += {digits[value >> 4U], digits[value & 15U]};
  }
  // TimePoint is the monotonic clock's, as steady_clock is.
  tokens.since_1970_at_0 = std::chrono::system_clock::now().time_since_epoch() -
                           std::chrono::steady_clock::now().time_since_epoch();
}

}  // namespace

std::optional<Route> make_route(const config::Config& config, const std::string& database,
                                const std::string& user, const auth::Credential& proven) {
  const config::Database* entry = config.find_database(database);
  if (entry == nullptr) return std::nullopt;
  const config::User* user_entry = config.find_user(user);
  Route route;
  route.cluster = config.find_cluster(entry->cluster);
  if (route.cluster == nullptr) return std::nullopt;
  route.cluster_index = static_cast<std::size_t>(route.cluster - config.clusters.data());

  // The nearest that names a user wins: the database, the user's entry, the cluster's conninfo.
  if (!entry->backend_user.empty()) {
    route.user = entry->backend_user;
    route.credential.password =
        entry->backend_password ? entry->backend_password : known_password(config, route.user);
    user_entry = config.find_user(route.user);
  } else if (user_entry != nullptr && !user_entry->backend_user.empty()) {
    route.user = user_entry->backend_user;
    route.credential.password = user_entry->backend_password ? user_entry->backend_password
                                                             : known_password(config, route.user);
  } else if (!route.cluster->user.empty()) {
    route.user = route.cluster->user;
  } else {
    route.user = user;
    route.credential.password = known_password(config, user);
    if (!route.credential.password && user_entry != nullptr) {
      route.credential.password = user_entry->backend_password;
    }
  }
  if (!route.credential.password && route.user == route.cluster->user &&
      !route.cluster->password.empty()) {
    route.credential.password = route.cluster->password;
  }

  if (route.credential.empty() && route.user == user && !proven.empty()) {
    route.credential = proven;
    route.acquaintance = acquaintance_name(*route.cluster, user);
  }

  route.database = !entry->backend_database.empty() ? entry->backend_database
                   : entry->name == "*" || route.cluster->database.empty()
                       ? database
                       : route.cluster->database;
  route.settings = config.pool_settings(*entry, user_entry);
  const auto limit = [&](std::string_view kind, const std::string& name, std::uint32_t most) {
    if (most > 0) route.quotas.push_back({std::string(kind) + '\0' + name, most});
  };
  limit("cluster", route.cluster->name, route.cluster->max_connections);
  limit("database", database, entry->max_connections);
  if (user_entry != nullptr) limit("user", route.user, user_entry->max_connections);
  route.target = entry->target.value_or(Target::read_write);
  route.quotas.push_back(host_rule(route.cluster->name, route.target, 0));
  route.account = account_name(*route.cluster, route.user, route.credential);
  const bool own_knobs = user_entry != nullptr && user_entry->pool != config::PoolOptions{};
  route.pool_key = database + '\0' + route.database + '\0' + route.account + '\0' +
                   (own_knobs ? user_entry->name : "");
  return route;
}

QuotaRule host_rule(const std::string& cluster, Target target, std::uint32_t room) {
  return {std::string("hosts") + '\0' + cluster + '\0' + std::string(to_string(target)),
          room > 0 ? room : std::numeric_limits<std::uint32_t>::max()};
}

PoolContext::PoolContext(std::shared_ptr<const config::Config> configuration, Route pool_route,
                         session::PreparedTable& statements,
                         session::Interner<session::SettingSet>& settings,
                         session::Interner<session::ReportedSet>& reported)
    : config(std::move(configuration)),
      route(std::move(pool_route)),
      pool(pool_options(route.settings)),
      sessions(std::make_shared<SharedSessions>(session_config(route.settings), statements,
                                                settings, reported, replay_options(route),
                                                error_table(*route.cluster))) {
  name_tokens(sessions->replay.tokens);
}

void PoolContext::reconfigure(std::shared_ptr<const config::Config> configuration, Route new_route,
                              TimePoint now) {
  current = true;
  const bool same_servers = route.cluster->coordinators == new_route.cluster->coordinators;
  route = std::move(new_route);
  config = std::move(configuration);
  pool.reconfigure(pool_options(route.settings), now);
  const session::SessionContext& before = sessions->context;
  const session::WelcomeCache welcome = same_servers ? sessions->welcome : session::WelcomeCache();
  sessions = std::make_shared<SharedSessions>(session_config(route.settings), before.statements,
                                              before.settings, before.reported,
                                              replay_options(route), error_table(*route.cluster));
  sessions->welcome = welcome;
  sessions->replay.moderator = cluster->moderator();
  name_tokens(sessions->replay.tokens);
}

void PoolContext::retire(TimePoint now) {
  current = false;
  config::PoolSettings settings = route.settings;
  settings.min_size = 0;
  pool.reconfigure(pool_options(settings), now);
  pool.renew(now);
}

void PoolContext::publish(std::size_t worker) {
  const auto show = [](metrics::Gauge& gauge, std::int64_t& shown, std::size_t value) {
    const auto now = static_cast<std::int64_t>(value);
    if (now == shown) return;
    gauge.add(now - shown);
    shown = now;
  };
  using pool::SlotState;
  const std::size_t lent = pool.count(SlotState::lent);
  const std::size_t waiting = pool.waiting();
  show(metrics->backends_opening, shown_.opening, pool.count(SlotState::opening));
  show(metrics->backends_idle, shown_.idle, pool.count(SlotState::idle));
  show(metrics->backends_lent, shown_.lent, lent);
  show(metrics->backends_cleaning, shown_.cleaning, pool.count(SlotState::cleaning));
  show(metrics->replay_log_bytes, shown_.replay_log_bytes, sessions->replay.memory);
  show(metrics->replay_waiting, shown_.replay_waiting, sessions->replay.waiting);
  // A backend that is lent has one client; a client that neither has nor wants one is idle.
  const std::size_t busy = lent + waiting;
  show(metrics->clients_active, shown_.clients_active, lent);
  show(metrics->clients_idle, shown_.clients_idle, clients > busy ? clients - busy : 0);
  if (shown_.clients_waiting == 0 && waiting == 0) return;
  show(metrics->clients_waiting, shown_.clients_waiting, waiting);
  const TimePoint oldest = pool.oldest_wait();
  const std::int64_t since = oldest == never ? 0 : oldest.time_since_epoch().count();
  if (since != shown_.oldest_wait_since) {
    metrics->change_wait(shown_.oldest_wait_since, since);
    shown_.oldest_wait_since = since;
  }
  slots->publish_wait(worker, oldest);
}

}  // namespace dwspool::proxy
