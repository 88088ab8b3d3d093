#include "dwspool/session/settings.h"

#include <algorithm>
#include <array>
#include <functional>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"

namespace dwspool::session {
namespace {

void mix(std::size_t& seed, std::string_view text) {
  seed ^= std::hash<std::string_view>{}(text) + 0x9e3779b97f4a7c15ULL + (seed << 6U) + (seed >> 2U);
}

void append_statement(std::string& batch, const std::string& statement) {
  if (!batch.empty()) batch += ';';
  batch += statement;
}

std::string set_statement(const SettingSet::Entry& entry) {
  if (entry.name == "role") return "SET ROLE " + entry.value;
  if (entry.name == "session_authorization") return "SET SESSION AUTHORIZATION " + entry.value;
  return "SET " + sql::quote_identifier(entry.name) + " TO " + entry.value;
}

}  // namespace

const std::string* SettingSet::find(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const Entry& e, std::string_view n) { return e.name < n; });
  return found != entries_.end() && found->name == name ? &found->value : nullptr;
}

void SettingSet::set(std::string_view name, std::string_view sql_value) {
  auto place = std::lower_bound(entries_.begin(), entries_.end(), name,
                                [](const Entry& e, std::string_view n) { return e.name < n; });
  if (place != entries_.end() && place->name == name) {
    place->value = sql_value;
  } else {
    entries_.insert(place, {std::string(name), std::string(sql_value)});
  }
}

void SettingSet::reset(std::string_view name) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.name == name; });
}

std::size_t SettingSet::hash() const {
  std::size_t seed = entries_.size();
  for (const Entry& entry : entries_) {
    mix(seed, entry.name);
    mix(seed, entry.value);
  }
  return seed;
}

std::size_t SettingSet::bytes() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.name.size() + entry.value.size();
  return bytes;
}

const std::string* ReportedSet::find(std::string_view name) const {
  for (const Entry& entry : entries_) {
    if (equals_ignore_case(entry.first, name)) return &entry.second;
  }
  return nullptr;
}

void ReportedSet::set(std::string_view name, std::string_view value) {
  for (Entry& entry : entries_) {
    if (equals_ignore_case(entry.first, name)) {
      entry.second = value;
      return;
    }
  }
  entries_.emplace_back(name, value);
}

std::size_t ReportedSet::hash() const {
  std::size_t seed = entries_.size();
  for (const Entry& entry : entries_) {
    mix(seed, entry.first);
    mix(seed, entry.second);
  }
  return seed;
}

std::vector<std::string> switch_settings(const SettingSet& from, const SettingSet& to) {
  // Another role may lack the right to set what is to be set: it comes last, and goes first.
  static constexpr std::array<std::string_view, 2> authorization_then_role = {
      "session_authorization", "role"};
  std::string encoding;
  std::string batch;
  bool ascii = true;
  if (from.find("role") != nullptr) append_statement(batch, "RESET ROLE");
  if (from.find("session_authorization") != nullptr) {
    append_statement(batch, "RESET SESSION AUTHORIZATION");
  }
  for (const SettingSet::Entry& entry : from.entries()) {
    if (to.find(entry.name) == nullptr && !is_identity(entry.name)) {
      append_statement(entry.name == "client_encoding" ? encoding : batch,
                       "RESET " + sql::quote_identifier(entry.name));
    }
  }
  for (const SettingSet::Entry& entry : to.entries()) {
    if (is_identity(entry.name)) continue;
    const std::string* present = from.find(entry.name);
    if (present != nullptr && *present == entry.value) continue;
    ascii = ascii && is_ascii(entry.value);
    append_statement(entry.name == "client_encoding" ? encoding : batch, set_statement(entry));
  }
  for (const std::string_view name : authorization_then_role) {
    const std::string* value = to.find(name);
    if (value == nullptr) continue;
    ascii = ascii && is_ascii(*value);
    append_statement(batch, set_statement({std::string(name), *value}));
  }
  std::vector<std::string> queries;
  if (!encoding.empty() && !batch.empty() && ascii) {
    append_statement(encoding, batch);
    batch.clear();
  }
  if (!encoding.empty()) queries.push_back(std::move(encoding));
  if (!batch.empty()) queries.push_back(std::move(batch));
  return queries;
}

StartupSettings settings_of(const wire::StartupMessage& message) {
  StartupSettings result;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!sql::is_setting_name(name)) {
      result.error = "unrecognized configuration parameter \"" + printable(name) + "\"";
      return;
    }
    const std::string lower = setting_named(name);
    result.settings.set(lower, sql::setting_value(lower, value));
  };
  // As in the server: `options` first, so that a parameter of its own name wins.
  const wire::ParsedOptions options = wire::parse_options(message.find("options"));
  if (!options.bad_switch.empty()) {
    result.error = "invalid command-line argument in startup packet options: " +
                   printable(options.bad_switch) + " (only -c name=value and --name=value)";
    return result;
  }
  for (const auto& [name, value] : options.settings) add(name, value);
  for (const auto& [name, value] : message.parameters) {
    if (name == "user" || name == "database" || name == "options" || name == "replication" ||
        name.starts_with("_pq_.")) {
      continue;
    }
    add(name, value);
  }
  return result;
}

std::string statement_scope(const SettingSet& settings) {
  // What drivers and applications set most, and no statement's meaning depends on.
  static constexpr std::array<std::string_view, 12> harmless = {
      "application_name",
      "bytea_output",
      "client_encoding",  // the server sees all texts in its own
      "client_min_messages",
      "default_transaction_isolation",
      "default_transaction_read_only",
      "extra_float_digits",
      "idle_in_transaction_session_timeout",
      "lock_timeout",
      "session_timeout",
      "statement_timeout",
      "work_mem"};
  std::string scope;
  for (const SettingSet::Entry& entry : settings.entries()) {
    if (std::find(harmless.begin(), harmless.end(), entry.name) != harmless.end()) continue;
    scope.append(entry.name).append(1, '=').append(entry.value).append(1, '\n');
  }
  return scope;
}

bool is_identity(std::string_view name) {
  return name == "role" || name == "session_authorization";
}

std::string value_of(const sql::PlainChange& change) {
  if (!change.is_literal) return std::string(change.value);
  return sql::setting_value(setting_named(change.name), change.value);
}

bool server_tells(const ReportedSet& reported, std::string_view name) {
  return is_settable(name) && reported.find(name) != nullptr;
}

std::string setting_named(std::string_view identifier) {
  std::string name = sql::identifier_of(identifier);
  if (name == "current_schema") name = "search_path";
  return name;
}

bool is_settable(std::string_view reported_name) {
  static constexpr std::array<std::string_view, 7> fixed = {
      "server_version", "server_encoding", "integer_datetimes",    "is_superuser",
      "is_sysadmin",    "in_hot_standby",  "session_authorization"};
  for (const std::string_view name : fixed) {
    if (equals_ignore_case(reported_name, name)) return false;
  }
  return true;
}

}  // namespace dwspool::session
