#include "dwspool/config/settings.h"

#include <algorithm>
#include <array>

#include "dwspool/base/text.h"

#include "config/document.h"
#include "config/reader.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

enum class Written : std::uint8_t { word, seconds };
struct Key {
  std::string_view name;     // PgBouncer's, or our own
  std::string_view alias;    // our own, if that is another one
  std::string_view section;  // where it stands in the file
  std::string_view key;
  Written written = Written::word;
};
constexpr auto changeable_keys = std::to_array<Key>({
    {"client_login_timeout", "", "", "client_login_timeout", Written::seconds},
    {"default_pool_size", "pool_size", "defaults", "pool_size"},
    {"defer_begin", "", "defaults", "defer_begin"},
    {"log_connections", "log.connections", "log", "connections"},
    {"log_level", "log.level", "log", "level"},
    {"max_client_conn", "", "", "max_client_conn"},
    {"max_prepared_statements", "", "defaults", "max_prepared_statements"},
    {"min_pool_size", "", "defaults", "min_pool_size"},
    {"pool_mode", "", "defaults", "pool_mode"},
    {"query_wait_notify", "queue_notice", "defaults", "queue_notice", Written::seconds},
    {"query_wait_timeout", "queue_timeout", "defaults", "queue_timeout", Written::seconds},
    {"reserve_pool_size", "reserve_pool", "defaults", "reserve_pool"},
    {"reserve_pool_timeout", "", "defaults", "reserve_pool_timeout", Written::seconds},
    {"server_idle_timeout", "", "defaults", "server_idle_timeout", Written::seconds},
    {"server_lifetime", "", "defaults", "server_lifetime", Written::seconds},
    {"shutdown_timeout", "", "", "shutdown_timeout", Written::seconds},
    {"slow_statement", "log.slow_statement", "log", "slow_statement", Written::seconds},
});

std::string seconds(Duration duration) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  std::string text = std::to_string(milliseconds / 1000);
  if (const auto rest = milliseconds % 1000; rest != 0) {
    const std::string digits = std::to_string(1000 + rest).substr(1);
    text += '.' + digits.substr(0, digits.find_last_not_of('0') + 1);
  }
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + printable(name);
  return text;
}

std::string listen_addresses(const Config& config) {
  std::vector<std::string> hosts;
  for (const Listener& listener : config.listeners) {
    hosts.push_back(listener.is_unix() ? listener.unix_dir : listener.host);
  }
  return joined(hosts);
}

std::string_view to_string(LogConnections which) {
  switch (which) {
    case LogConnections::none:
      return "none";
    case LogConnections::sampled:
      return "sampled";
    case LogConnections::all:
      return "all";
  }
  return "?";
}

// The value of one of the keys that can change.
std::string value_of(const Config& config, std::string_view name) {
  const PoolSettings pool = config.pool_settings(Database{}, nullptr);
  if (name == "client_login_timeout") return seconds(config.client_login_timeout);
  if (name == "default_pool_size") return std::to_string(pool.size);
  if (name == "defer_begin") return pool.defer_begin ? "true" : "false";
  if (name == "log_connections") return std::string(to_string(config.log_connections));
  if (name == "log_level") return std::string(to_string(config.log.level));
  if (name == "max_client_conn") return std::to_string(config.max_client_conn);
  if (name == "max_prepared_statements") return std::to_string(pool.max_prepared_statements);
  if (name == "min_pool_size") return std::to_string(pool.min_size);
  if (name == "pool_mode") return std::string(to_string(pool.mode));
  if (name == "query_wait_notify") return seconds(pool.queue_notice);
  if (name == "query_wait_timeout") return seconds(pool.queue_timeout);
  if (name == "reserve_pool_size") return std::to_string(pool.reserve_size);
  if (name == "reserve_pool_timeout") return seconds(pool.reserve_timeout);
  if (name == "server_idle_timeout") return seconds(pool.server_idle_timeout);
  if (name == "server_lifetime") return seconds(pool.server_lifetime);
  if (name == "shutdown_timeout") return seconds(config.shutdown_timeout);
  if (name == "slow_statement") return seconds(config.slow_statement);
  return {};
}

bool is_number(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A value that could be taken for more than a scalar does not get into the document.
bool is_plain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '_' ||
           c == '-' || c == '.';
  });
}

}  // namespace

std::vector<Setting> settings_of(const Config& config) {
  const Config standard;
  std::vector<Setting> settings;
  settings.reserve(changeable_keys.size());
  for (const Key& key : changeable_keys) {
    settings.push_back(
        {std::string(key.name), value_of(config, key.name), value_of(standard, key.name), true});
  }
  const std::string port = config.listeners.empty() ? "" : std::to_string(config.listeners[0].port);
  const auto add = [&](const char* key, std::string value, std::string standard_value,
                       bool changeable) {
    settings.push_back({key, std::move(value), std::move(standard_value), changeable});
  };
  // These change with the file alone, or not at all.
  add("admin_users", joined(config.console.admin_users), "", true);
  add("stats_users", joined(config.console.stats_users), "", true);
  add("auth_type", std::string(to_string(config.auth_method)),
      std::string(to_string(standard.auth_method)), true);
  add("conffile", config.file, "", false);
  add("listen_addr", listen_addresses(config), "127.0.0.1", true);
  add("listen_port", port, "6432", true);
  add("logfile", config.log.file, "", false);
  add("max_db_connections", "0", "0", false);
  add("max_user_connections", "0", "0", false);
  add("workers", std::to_string(config.workers), std::to_string(standard.workers), false);
  std::sort(settings.begin(), settings.end(),
            [](const Setting& a, const Setting& b) { return a.key < b.key; });
  return settings;
}

Status change_setting(Config& config, std::string_view key, std::string_view value) {
  const auto* const known = std::find_if(
      changeable_keys.begin(), changeable_keys.end(),
      [&](const Key& each) { return each.name == key || (each.alias == key && !key.empty()); });
  if (known == changeable_keys.end()) {
    return Error{
        "no setting '" + printable(key) +
        "' that can be changed here; SHOW CONFIG lists them, and the file has all of them"};
  }
  if (!is_plain(value)) return Error{"bad value '" + printable(value) + "'"};
  std::string text(value);
  if (known->written == Written::seconds && is_number(value)) text += 's';
  const std::string line = std::string(known->key) + ": " + text;
  const DocumentResult document = parse_document(
      known->section.empty() ? line : std::string(known->section) + ": {" + line + "}");
  const auto* const root_node = std::get_if<TreeNode>(&document);
  if (root_node == nullptr) return Error{"bad value '" + printable(value) + "'"};
  Config changed = config;
  Reading reading("SET");
  Section root(reading, root_node, {}, "");
  if (known->section == "log") {
    read_log(root, changed);
  } else if (known->section == "defaults") {
    read_defaults(root, changed);
  } else {
    read_process(root, changed);
  }
  if (const std::vector<Complaint> complaints = reading.report.take(); !complaints.empty()) {
    return Error{complaints.front().key + ": " + complaints.front().message};
  }
  config = std::move(changed);
  return Ok{};
}

}  // namespace dwspool::config
