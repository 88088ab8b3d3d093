// What the text of a statement does not tell: whether the functions that it calls are volatile,
// and whether what it reads are tables, or views that call such functions. The server's catalog
// knows. This writes the question, reads the answer and remembers it for a while.
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dwspool/base/time.h"

namespace dwspool::retry {

enum class CatalogKind : char { function = 'f', relation = 'r' };

// What is to be asked: names as StatementFacts has them.
struct CatalogNames {
  std::vector<std::string> functions;
  std::vector<std::string> relations;

  bool empty() const { return functions.empty() && relations.empty(); }
};

// One SELECT, for PostgreSQL 9.2 (which DWS comes from) and later, that answers with one row for
// each name: kind, name, verdict, all as text. To be asked where the statement will run: in its
// database, as its user, with its search_path. It reads catalogs only, and changes nothing. Empty
// when there is nothing to ask; of more than 1000 names the rest is not asked for. It takes the
// server 2 to 7 ms.
//
// The verdict is good for a function if there is one of that name in sight, and none of that name
// in sight is volatile. Good for a relation is a table, a partitioned table or a materialized view
// without row security and without foreign tables below it, or a view that, all the way down, only
// reads such relations and only calls functions that are not volatile. (Which those are stands in
// its rule: pg_depend leaves out what belongs to the system itself, such as nextval.)
std::string catalog_question(const CatalogNames& names);

struct CatalogVerdict {
  CatalogKind kind = CatalogKind::function;
  std::string name;
  bool harmless = false;
};

// One row of the answer; nothing if it is not one (a NULL, another number of columns).
std::optional<CatalogVerdict> read_catalog_row(
    const std::vector<std::optional<std::string_view>>& columns);

// Where a name means what it means.
struct CatalogScope {
  std::string database;
  std::string user;  // "$user" in the search_path, and which schemas may be used
  std::string search_path;
};

// Verdicts, for a minute: somebody else may replace a function, and nobody tells. Bounded; the
// oldest goes first.
class CatalogCache {
 public:
  explicit CatalogCache(Duration time_to_live = std::chrono::seconds{60},
                        std::size_t max_entries = 10000)
      : time_to_live_(time_to_live), max_entries_(max_entries) {}

  void note(const CatalogScope& scope, const CatalogVerdict& verdict, TimePoint now);
  std::optional<bool> find(const CatalogScope& scope, CatalogKind kind, std::string_view name,
                           TimePoint now) const;

  // Whether all of these are known to be harmless. Nothing: some are not known yet, none is known
  // not to be; then `missing` is what to ask for.
  std::optional<bool> harmless(const CatalogScope& scope, const CatalogNames& names, TimePoint now,
                               CatalogNames& missing) const;

  // A definition may have changed: DDL was seen.
  void forget_all();
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    bool harmless;
    TimePoint until;
  };

  Duration time_to_live_;
  std::size_t max_entries_;
  std::list<Entry> entries_;                                                // the oldest first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;  // views into entries_
};

}  // namespace dwspool::retry
