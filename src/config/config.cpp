#include "dwspool/config/config.h"

#include <algorithm>

#include "config/endpoint.h"

namespace dwspool::config {
namespace {

template <class Entry>
const Entry* find_name(const std::vector<Entry>& entries, std::string_view name) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const Entry& entry) { return entry.name == name; });
  return found == entries.end() ? nullptr : &*found;
}

template <class Entry>
const Entry* find_name_or_any(const std::vector<Entry>& entries, std::string_view name) {
  const Entry* const exact = find_name(entries, name);
  return exact != nullptr ? exact : find_name(entries, "*");
}

void apply(const PoolOptions& options, PoolSettings& settings) {
  settings.mode = options.mode.value_or(settings.mode);
  settings.size = options.size.value_or(settings.size);
  settings.min_size = options.min_size.value_or(settings.min_size);
  settings.reserve_size = options.reserve_size.value_or(settings.reserve_size);
  settings.reserve_timeout = options.reserve_timeout.value_or(settings.reserve_timeout);
  settings.queue_timeout = options.queue_timeout.value_or(settings.queue_timeout);
  settings.queue_notice = options.queue_notice.value_or(settings.queue_notice);
  settings.server_idle_timeout = options.server_idle_timeout.value_or(settings.server_idle_timeout);
  settings.server_lifetime = options.server_lifetime.value_or(settings.server_lifetime);
  settings.defer_begin = options.defer_begin.value_or(settings.defer_begin);
  settings.max_prepared_statements =
      options.max_prepared_statements.value_or(settings.max_prepared_statements);
  settings.pin_on = options.pin_on.value_or(settings.pin_on);
  settings.replay = options.replay.value_or(settings.replay);
  settings.replay_deadline = options.replay_deadline.value_or(settings.replay_deadline);
  settings.replay_attempts = options.replay_attempts.value_or(settings.replay_attempts);
  settings.slow_statement = options.slow_statement.value_or(settings.slow_statement);
}

}  // namespace

std::string Coordinator::label() const {
  std::string text = join_host_port(host, port);
  if (ordinal > 0) text += '#' + std::to_string(ordinal + 1);
  return text;
}

std::string Peer::label() const {
  return join_host_port(host, port);
}

bool Console::is_admin(std::string_view user) const {
  return std::find(admin_users.begin(), admin_users.end(), user) != admin_users.end();
}

bool Console::is_allowed(std::string_view user) const {
  return is_admin(user) ||
         std::find(stats_users.begin(), stats_users.end(), user) != stats_users.end();
}

bool is_console(std::string_view database) {
  return database == "dwspool" || database == "pgbouncer";
}

const Cluster* Config::find_cluster(std::string_view name) const {
  return find_name(clusters, name);
}

const Database* Config::find_database(std::string_view name) const {
  return find_name_or_any(databases, name);
}

const User* Config::find_user(std::string_view name) const {
  return find_name_or_any(users, name);
}

const Cluster* Config::cluster_of(std::string_view database) const {
  const Database* const entry = find_database(database);
  return entry != nullptr ? find_cluster(entry->cluster) : nullptr;
}

bool Config::may_come_in(std::string_view user, std::string_view database) const {
  if (find_user(user) != nullptr) return true;
  const Cluster* const cluster = cluster_of(database);
  return cluster != nullptr && cluster->introduces();
}

bool Config::is_probed(const Cluster& cluster) const {
  if (cluster.probing.interval <= Duration::zero()) return false;
  if (cluster.probing.configured || cluster.discovery.enabled || cluster.coordinators.size() > 1) {
    return true;
  }
  return std::any_of(databases.begin(), databases.end(), [&](const Database& database) {
    return database.cluster == cluster.name && database.target && *database.target != Target::any;
  });
}

PoolSettings Config::pool_settings(const Database& database, const User* user) const {
  PoolSettings settings;
  settings.slow_statement = slow_statement;
  apply(defaults, settings);
  apply(database.pool, settings);
  if (user != nullptr) apply(user->pool, settings);
  return settings;
}

}  // namespace dwspool::config
