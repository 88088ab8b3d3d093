// Prepared statements of the extended protocol, carried from backend to backend.
//
// A client's statement keeps its own name on a backend while that name is free there, so that
// Bind passes through untouched and the server's messages name what the client named; only when
// another client's statement holds the name, a name of dwspool's own is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dwspool/base/fifo.h"
#include "dwspool/base/hash.h"

#include "dwspool/sql/statement.h"

#include "dwspool/session/sql_statements.h"

namespace dwspool::session {

// A statement that does something to the session's own books whenever it is executed: a plain
// change of one setting, DEALLOCATE name, and PREPARE and EXECUTE where these can be carried.
struct SpecialStatement {
  sql::StatementKind kind = sql::StatementKind::other;
  std::string name;   // of the setting, or of the prepared statement
  std::string value;  // set: SQL text; prepare: all of its text
};
using SpecialPtr = std::shared_ptr<const SpecialStatement>;
// Null for an ordinary statement.
SpecialPtr special_of(const sql::Statement& statement, std::string_view text);

// What a statement that is prepared does to the session whenever it is executed, besides being
// special: changes of several settings in one cannot be followed. An EXECUTE binds the session if
// what it names is not carried, which is seen when it is executed.
sql::Effects effects_of(const sql::Statement& statement, const SpecialPtr& special);

// What Parse said: shared by all clients that said the same in the same circumstances.
struct PreparedStatement {
  std::uint64_t id = 0;  // unique within the table
  std::string scope;
  std::string query;  // as it is sent to a server; see substitute_for
  std::string types;  // raw: count and OIDs
  sql::Effects effects;
  SpecialPtr special;
  // A server said that its result is not any more what it was (0A000): whoever prepares it anew
  // gets another one.
  mutable bool outdated = false;
};
using PreparedPtr = std::shared_ptr<const PreparedStatement>;

// The text that a server is to prepare for `query`: DEALLOCATE is carried out here when it is
// executed, and the server gets an empty statement, which takes the same messages.
std::string_view substitute_for(std::string_view query, const SpecialPtr& special);

// All statements that somebody holds; one per worker. Statements are forgotten when the last
// session and the last backend have let go of them.
class PreparedTable {
 public:
  // `scope` keeps apart what means something else to another session though the text is the same
  // (see statement_scope). `scan` recognizes a query that is new to the table.
  template <class Scan>
  PreparedPtr intern(std::string_view scope, std::string_view query, std::string_view types,
                     Scan&& scan) {
    make_key(scope, query, types);
    if (PreparedPtr known = find()) return known;
    const sql::Statement seen = std::forward<Scan>(scan)(query);
    auto statement = std::make_shared<PreparedStatement>();
    statement->id = ++last_id_;
    statement->scope = scope;
    statement->special = special_of(seen, query);
    statement->query = substitute_for(query, statement->special);
    statement->types = types;
    statement->effects = effects_of(seen, statement->special);
    return insert(std::move(statement));
  }
  // What whoever prepares it now gets instead of one that is outdated. Not for a special one, whose
  // text is not what was said.
  PreparedPtr renew(const PreparedStatement& outdated);
  // The same statement, out of another table.
  PreparedPtr adopt(const PreparedStatement& other);
  std::size_t size() const { return table_.size(); }

 private:
  void make_key(std::string_view scope, std::string_view query, std::string_view types);
  PreparedPtr find();
  PreparedPtr insert(std::shared_ptr<PreparedStatement> statement);
  void sweep();

  std::string key_;  // scratch, so that a look-up does not allocate
  StringMap<std::weak_ptr<const PreparedStatement>> table_;
  std::uint64_t last_id_ = 0;
  std::size_t sweep_at_ = 256;
};

// A client's names. Few clients have more than a handful, so that a vector is the fastest map.
//
// A change holds at once, since what the client sends next counts on it; but a server that has
// met an error skips it. So every change is kept until it is settled or undone, in the order of
// the server's answers.
class ClientStatements {
 public:
  const PreparedPtr* find(std::string_view name) const {
    for (const auto& [known, statement] : entries_) {
      if (known == name) return &statement;
    }
    if (!large_.empty()) {
      const auto found = large_.find(name);
      if (found != large_.end()) return &found->second;
    }
    return nullptr;
  }

  void set(std::string_view name, PreparedPtr statement);
  void erase(std::string_view name);
  // The name is taken, and the server is expected to say so; if it does not, it is this.
  void set_if_free(std::string_view name, PreparedPtr statement);
  // The name stands for this from now on, as if it always had since it was given. Precondition: it
  // stands for something.
  void replace(std::string_view name, PreparedPtr statement);

  // What SQL's own PREPARE has made. It is not transactional, so that there is nothing to settle;
  // rewind() goes back to what it was when the journal was begun, and clear_settled() makes an end
  // of it.
  const SqlStatementsPtr& sql() const { return sql_; }
  void set_sql(SqlStatementsPtr statements) { sql_ = std::move(statements); }

  // The client has been told what the statement returns, and counts on it for as long as it has the
  // statement.
  void note_described(std::uint64_t statement);
  bool is_described(const PreparedStatement& statement) const;

  // The oldest change stands.
  void settle();
  // The `count` oldest changes were skipped.
  void undo(std::size_t count);
  void undo_all() { undo(changes_.size()); }
  void settle_all() {
    while (!changes_.empty()) settle();
  }
  // All names go, but for those of changes that are not settled yet.
  void clear_settled();

  // From now on what a name stood for is written down in `journal` before that changes, until
  // another journal is given, or null. It outlives this object, or its use here.
  using Journal = std::vector<std::pair<std::string, PreparedPtr>>;
  void keep_journal(Journal* journal) {
    journal_ = journal;
    sql_before_ = journal != nullptr ? sql_ : nullptr;
  }
  // Every name stands for what it stood for when the journal was begun; nothing is unsettled.
  void rewind();

  std::size_t size() const { return entries_.size() + large_.size(); }

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const auto& [name, statement] : entries_) visit(name, statement);
    for (const auto& [name, statement] : large_) visit(name, statement);
  }

 private:
  static constexpr std::size_t small_limit = 8;
  struct Change {
    std::string name;
    PreparedPtr before;
    PreparedPtr after;
    bool tentative = false;
  };
  PreparedPtr at(std::string_view name) const;
  void put(std::string_view name, PreparedPtr statement);  // null: erases
  void forget_described();

  std::vector<std::pair<std::string, PreparedPtr>> entries_;
  std::vector<std::uint64_t> described_;  // ids; some may be of statements that it has no more
  StringMap<PreparedPtr> large_;
  Fifo<Change> changes_;
  Journal* journal_ = nullptr;
  SqlStatementsPtr sql_;
  SqlStatementsPtr sql_before_;  // when the journal was begun
};

// What one backend holds, by statement and by name, least recently used first out. Changes are
// settled or undone as with ClientStatements; the replies that belong to one have a tag that is
// not 0.
class BackendStatements {
 public:
  struct Held {
    PreparedPtr statement;
    std::string name;        // on the server
    bool confirmed = false;  // ParseComplete has come
  };

  // Null when the backend does not hold the statement; else it becomes the most recently used.
  const Held* use(const PreparedStatement& statement);
  bool holds_name(std::string_view name) const { return names_.contains(name); }
  bool holds(const PreparedStatement& statement) const { return by_id_.contains(statement.id); }
  bool is_confirmed(const PreparedStatement& statement) const {
    const auto held = by_id_.find(statement.id);
    return held != by_id_.end() && held->second->confirmed;
  }
  // Null when no statement has the name.
  const PreparedStatement* named(std::string_view name) const;
  // Null when it is not held.
  const PreparedStatement* by_id(std::uint64_t id) const;

  // A Parse goes out: takes the statement in under the client's name, or under a name of
  // dwspool's own if that is taken. Precondition: not held yet.
  const Held& add(PreparedPtr statement, std::string_view wanted_name);
  // A Parse goes out under a name that is taken, to be refused.
  void expect_refusal(PreparedPtr statement, std::string_view name);
  // A Close goes out for a statement that is held. Its name stays taken until that is settled.
  std::string remove(const PreparedStatement& statement);
  // Something that should be closed, now or later: the least recently used when there are more
  // than `limit`, or what an error has left over. Empty when there is nothing.
  std::string remove_surplus(std::size_t limit);

  // ParseComplete or CloseComplete has come for the oldest change.
  void settle();
  // The `count` oldest changes were skipped by the server.
  void undo(std::size_t count);
  // DEALLOCATE ALL has run: forgets what is confirmed; what was sent later (and is not yet
  // answered) stays.
  void erase_confirmed();
  void clear();

  std::size_t size() const { return order_.size(); }

  // The backend changes to a worker with a table of its own: the same statements, known there.
  // Precondition: no change is open.
  void move_to(PreparedTable& table);

 private:
  struct Change {
    enum class Kind : std::uint8_t { parse, close, refusal };
    Kind kind = Kind::parse;
    PreparedPtr statement;  // null: Close of a name that belongs to no statement
    std::string name;
  };
  void insert(PreparedPtr statement, std::string name, bool confirmed);
  void forget(std::uint64_t id);

  std::list<Held> order_;  // most recently used first
  std::unordered_map<std::uint64_t, std::list<Held>::iterator> by_id_;
  StringMap<std::uint64_t> names_;  // all that the server has or may have; 0: of no statement
  std::vector<std::string> left_over_;
  Fifo<Change> changes_;
  std::uint64_t last_own_name_ = 0;
};

}  // namespace dwspool::session
