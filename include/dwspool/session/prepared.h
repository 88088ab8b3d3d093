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

#include "dwspool/base/hash.h"

#include "dwspool/sql/statement.h"

namespace dwspool::session {

// What Parse said: shared by all clients that said the same.
struct PreparedStatement {
  std::uint64_t id = 0;  // unique within the table
  std::string query;
  std::string types;  // raw: count and OIDs
  sql::Effects effects;
};
using PreparedPtr = std::shared_ptr<const PreparedStatement>;

// All statements that somebody holds; one per worker. Statements are forgotten when the last
// session and the last backend have let go of them.
class PreparedTable {
 public:
  // `scan` is asked for the effects of a query that is new to the table.
  template <class Scan>
  PreparedPtr intern(std::string_view query, std::string_view types, Scan&& scan) {
    make_key(query, types);
    if (PreparedPtr known = find()) return known;
    auto statement = std::make_shared<PreparedStatement>();
    statement->id = ++last_id_;
    statement->query = query;
    statement->types = types;
    statement->effects = std::forward<Scan>(scan)(query);
    return insert(std::move(statement));
  }
  std::size_t size() const { return table_.size(); }

 private:
  void make_key(std::string_view query, std::string_view types);
  PreparedPtr find();
  PreparedPtr insert(std::shared_ptr<PreparedStatement> statement);
  void sweep();

  std::string key_;  // scratch, so that a look-up does not allocate
  StringMap<std::weak_ptr<const PreparedStatement>> table_;
  std::uint64_t last_id_ = 0;
  std::size_t sweep_at_ = 256;
};

// A client's names. Few clients have more than a handful, so that a vector is the fastest map.
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
  void clear() {
    entries_.clear();
    large_.clear();
  }
  std::size_t size() const { return entries_.size() + large_.size(); }

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const auto& [name, statement] : entries_) visit(name, statement);
    for (const auto& [name, statement] : large_) visit(name, statement);
  }

 private:
  static constexpr std::size_t small_limit = 8;
  std::vector<std::pair<std::string, PreparedPtr>> entries_;
  StringMap<PreparedPtr> large_;
};

// What one backend holds, by statement and by name, least recently used first out.
class BackendStatements {
 public:
  struct Held {
    PreparedPtr statement;
    std::string name;        // on the server
    bool confirmed = false;  // ParseComplete has come
  };

  // Null when the backend does not hold the statement; else it becomes the most recently used.
  const Held* use(const PreparedStatement& statement);
  bool holds_name(std::string_view name) const { return by_name_.contains(name); }
  bool holds(const PreparedStatement& statement) const { return by_id_.contains(statement.id); }

  // Takes the statement in under the client's name, or under "dwspool_<id>" if that is taken.
  // Precondition: not held yet.
  const Held& add(PreparedPtr statement, std::string_view wanted_name);
  void confirm(std::uint64_t id);
  void erase(std::uint64_t id);
  // Forgets what is confirmed; what was sent later (and not yet answered) stays.
  void erase_confirmed();
  void clear();

  std::size_t size() const { return order_.size(); }
  // The least recently used one that is confirmed; null if there is none.
  const Held* oldest() const;

  // The backend changes to a worker with a table of its own: the same statements, known there.
  // Precondition: all are confirmed.
  void move_to(PreparedTable& table);

 private:
  std::list<Held> order_;  // most recently used first
  std::unordered_map<std::uint64_t, std::list<Held>::iterator> by_id_;
  StringMap<std::uint64_t> by_name_;
};

}  // namespace dwspool::session
