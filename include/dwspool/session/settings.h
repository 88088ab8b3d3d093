// What a session has set, what a backend has set, and what both have been told: the sets that
// follow a client from backend to backend.
//
// Sets are immutable and shared. Two sets that are equal are mostly the same object, so that the
// question "does this backend already suit this client?" is one pointer comparison.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dwspool/sql/statement.h"
#include "dwspool/wire/startup.h"

namespace dwspool::session {

// Settings that dwspool makes on a backend, by name; the values are SQL text for
// SET name TO value.
class SettingSet {
 public:
  struct Entry {
    std::string name;   // lower case
    std::string value;  // SQL text
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  // Null when there is none. `name` in lower case.
  const std::string* find(std::string_view name) const;
  void set(std::string_view name, std::string_view sql_value);
  void reset(std::string_view name);
  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t hash() const;
  std::size_t bytes() const;  // of all names and values
  friend bool operator==(const SettingSet&, const SettingSet&) = default;

 private:
  std::vector<Entry> entries_;  // sorted by name
};

// The parameters that a server has reported by ParameterStatus, in the order of its first report.
class ReportedSet {
 public:
  using Entry = std::pair<std::string, std::string>;

  // Null when there is none. Names compare without regard to case.
  const std::string* find(std::string_view name) const;
  void set(std::string_view name, std::string_view value);
  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t hash() const;
  friend bool operator==(const ReportedSet&, const ReportedSet&) = default;

 private:
  std::vector<Entry> entries_;
};

using SettingsPtr = std::shared_ptr<const SettingSet>;  // never null
using ReportedPtr = std::shared_ptr<const ReportedSet>;

// Makes equal sets the same object, as long as somebody holds one. One per worker.
template <class Set>
class Interner {
 public:
  std::shared_ptr<const Set> intern(Set set) {
    const std::size_t hash = set.hash();
    if (++inserts_ % sweep_interval == 0) sweep();
    std::weak_ptr<const Set>& entry = table_[hash];
    std::shared_ptr<const Set> known = entry.lock();
    if (known && *known == set) return known;
    auto fresh = std::make_shared<const Set>(std::move(set));
    entry = fresh;  // on a collision of hashes the older one merely stays unshared
    return fresh;
  }
  std::size_t size() const { return table_.size(); }

 private:
  static constexpr std::size_t sweep_interval = 256;
  void sweep() {
    std::erase_if(table_, [](const auto& entry) { return entry.second.expired(); });
  }
  std::unordered_map<std::size_t, std::weak_ptr<const Set>> table_;
  std::size_t inserts_ = 0;
};

template <class Ptr>
bool same(const Ptr& a, const Ptr& b) {
  return a == b || (a && b && *a == *b);
}

// The statements that turn a backend with the settings `from` into one with `to`, as texts for
// one simple Query each (mostly one; a change of client_encoding comes on its own when other
// values are not ASCII). Empty when there is nothing to do.
std::vector<std::string> switch_settings(const SettingSet& from, const SettingSet& to);

// The session defaults that a start-up packet asks for: every parameter that is not the user,
// the database or a protocol option, and those in `options`.
struct StartupSettings {
  SettingSet settings;
  std::string error;  // not empty: refuse the connection with this text
};
StartupSettings settings_of(const wire::StartupMessage& message);

// Those of the settings that the meaning of a statement's text may depend on, as one text: what
// search_path finds, how constants are read (TimeZone, DateStyle). Sessions in which these differ
// cannot share a prepared statement.
std::string statement_scope(const SettingSet& settings);

// Who the session acts as, by SET SESSION AUTHORIZATION and SET ROLE: settings to which RESET ALL
// does nothing, and which others depend on.
bool is_identity(std::string_view name);

// The value that a plain change sets, as SQL text.
std::string value_of(const sql::PlainChange& change);

// Whether a change of the setting will be told by ParameterStatus, whatever way it is made.
bool server_tells(const ReportedSet& reported, std::string_view name);

// The setting that an identifier (as written) names. DWS calls search_path current_schema as well.
std::string setting_named(std::string_view identifier);

// False for parameters that report what the server is and that no SET can change.
bool is_settable(std::string_view reported_name);

}  // namespace dwspool::session
