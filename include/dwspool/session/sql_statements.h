// What a session has prepared by SQL's own PREPARE: carried from backend to backend like its
// settings, under the client's own names. A backend has those of one session at a time, since
// nobody else may see them.
//
// Sets are immutable and shared; null is the empty one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/sql/statement.h"

namespace dwspool::session {

struct SqlStatement {
  std::string name;
  std::string text;   // PREPARE name ... AS ..., whole
  std::string scope;  // the settings that its meaning depended on; see statement_scope
  friend bool operator==(const SqlStatement&, const SqlStatement&) = default;
};

class SqlStatementSet {
 public:
  // Null when there is none.
  const SqlStatement* find(std::string_view name) const;
  void set(SqlStatement statement);
  void erase(std::string_view name);
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const;  // of all names and texts
  const std::vector<SqlStatement>& entries() const { return entries_; }
  friend bool operator==(const SqlStatementSet&, const SqlStatementSet&) = default;

 private:
  std::vector<SqlStatement> entries_;  // sorted by name
};

using SqlStatementsPtr = std::shared_ptr<const SqlStatementSet>;  // null: none

// `set` with the statement, or without what has its name if it has no text.
SqlStatementsPtr with(const SqlStatementsPtr& set, SqlStatement statement);

// More than these are not carried: the session keeps its backend.
inline constexpr std::size_t most_sql_statements = 100;
inline constexpr std::size_t most_sql_statement_bytes = std::size_t{64} << 10U;
bool has_room_for(const SqlStatementsPtr& set, const SqlStatement& more);

// Whether a PREPARE can be carried: nothing in it binds the session for another reason, and its
// name is one that everybody reads alike. EXECUTE: likewise, if what it names is carried.
bool can_be_carried(const sql::Statement& statement);
// Whether it means the same whatever client_encoding and standard_conforming_strings are.
bool reads_alike(std::string_view text);

// One statement on the way from one set to another.
struct SqlStep {
  SqlStatement statement;  // without a text: DEALLOCATE
  bool failed = false;     // the server has refused it
  std::string query() const;
};
std::vector<SqlStep> switch_statements(const SqlStatementsPtr& from, const SqlStatementsPtr& to);
// What a backend with `from` has behind these steps: less than was wanted where one has failed.
SqlStatementsPtr behind(SqlStatementsPtr from, const std::vector<SqlStep>& steps);

// A PREPARE or DEALLOCATE, or an EXECUTE of something that is not carried, that was sent and is not
// answered.
struct SqlChange {
  enum class Kind : std::uint8_t { prepare, deallocate, execute };
  Kind kind = Kind::prepare;
  std::uint64_t request = 0;  // it will be answered as this one, see ReplyTracker::requests_done
  SqlStatement statement;     // prepare: whole; else the name
};

}  // namespace dwspool::session
