#include "dwspool/retry/catalog_question.h"

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/quote.h"

#include "retry/known_functions.h"

namespace dwspool::retry {
namespace {

constexpr std::size_t max_asked = 1000;

constexpr std::string_view question_head =
    "with recursive asked(kind, written, schema, name) as (values ";

// What is asked for stands in `asked`; names come in as literals, never as a part of the text.
//
// relrowsecurity is no column in 9.2: in the subquery the name is then that of the outer one.
// The rule of a view is a tree in text form; what it reads and calls stands there by OID.
constexpr std::string_view question_tail = R"(),
roots(written, oid) as (
  select a.written, c.oid
  from asked a
  join pg_catalog.pg_class c on c.relname = a.name
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where a.kind = 'r'
    and case when a.schema is null then pg_catalog.pg_table_is_visible(c.oid)
             else n.nspname = a.schema end),
reached(written, oid) as (
  select written, oid from roots
  union
  select r.written,
         (pg_catalog.regexp_matches(w.ev_action::text, ':relid ([0-9]+)', 'g'))[1]::pg_catalog.oid
  from reached r
  join pg_catalog.pg_rewrite w on w.ev_class = r.oid and w.ev_type = '1'),
called(written, oid) as (
  select distinct r.written,
         (pg_catalog.regexp_matches(w.ev_action::text,
            ':(?:funcid|opfuncid|aggfnoid|winfnoid|tsmhandler) ([0-9]+)',
            'g'))[1]::pg_catalog.oid
  from reached r
  join pg_catalog.pg_rewrite w on w.ev_class = r.oid and w.ev_type = '1'),
bad(written) as (
  select r.written
  from reached r
  left join pg_catalog.pg_class c on c.oid = r.oid
  cross join (select false as relrowsecurity) d
  where c.oid is null
     or c.relkind not in ('r', 'p', 'm', 'v')
     or (select relrowsecurity from pg_catalog.pg_class s where s.oid = c.oid)
     or pg_catalog.array_to_string(c.reloptions, ',') like '%rowsecurity=%'
     or exists (select 1 from pg_catalog.pg_inherits i
                join pg_catalog.pg_class k on k.oid = i.inhrelid
                where i.inhparent = c.oid and k.relkind not in ('r', 'p'))
  union
  select c.written
  from called c
  left join pg_catalog.pg_proc p on p.oid = c.oid
  where p.provolatile is null or p.provolatile not in ('i', 's'))
select a.kind, a.written,
  case when a.kind = 'f' then
    case when (select pg_catalog.bool_and(p.provolatile in ('i', 's'))
               from pg_catalog.pg_proc p
               join pg_catalog.pg_namespace n on n.oid = p.pronamespace
               where p.proname = a.name
                 and case when a.schema is null
                          then n.nspname = any (pg_catalog.current_schemas(true))
                          else n.nspname = a.schema end)
         then 't' else 'f' end
  when exists (select 1 from roots r where r.written = a.written)
       and not exists (select 1 from bad b where b.written = a.written)
  then 't' else 'f' end
from asked a)";

// Takes a name as StatementFacts has it apart.
FunctionName parts_of(std::string_view written) {
  FunctionName name;
  sql::Lexer lexer(written, true);
  for (sql::Token token = lexer.next();
       token.kind == sql::TokenKind::word || token.kind == sql::TokenKind::quoted_identifier ||
       token.text == ".";
       token = lexer.next()) {
    if (token.text == ".") {
      name.schema = name.name;
    } else {
      name.name = sql::identifier_of(token.text);
    }
  }
  return name;
}

void append_asked(std::string& sql, CatalogKind kind, std::string_view written) {
  const FunctionName name = parts_of(written);
  if (!sql.empty()) sql += ", ";
  sql += "('";
  sql += static_cast<char>(kind);
  sql += "'::text, " + sql::quote_literal(written) + "::text, ";
  sql += name.schema.empty() ? "null" : sql::quote_literal(name.schema);
  sql += "::text, " + sql::quote_literal(name.name) + "::text)";
}

void append_field(std::string& key, std::string_view field) {
  key += std::to_string(field.size());
  key += ':';
  key += field;
}

std::string key_of(const CatalogScope& scope, CatalogKind kind, std::string_view name) {
  std::string key(1, static_cast<char>(kind));
  append_field(key, scope.database);
  append_field(key, scope.user);
  append_field(key, scope.search_path);
  key += name;
  return key;
}

}  // namespace

std::string catalog_question(const CatalogNames& names) {
  if (names.empty()) return {};
  std::string asked;
  std::size_t count = 0;
  for (const std::string& name : names.functions) {
    if (++count <= max_asked) append_asked(asked, CatalogKind::function, name);
  }
  for (const std::string& name : names.relations) {
    if (++count <= max_asked) append_asked(asked, CatalogKind::relation, name);
  }
  return std::string(question_head) + asked + std::string(question_tail);
}

std::optional<CatalogVerdict> read_catalog_row(
    const std::vector<std::optional<std::string_view>>& columns) {
  if (columns.size() != 3 || !columns[0] || !columns[1] || !columns[2]) return std::nullopt;
  CatalogVerdict verdict;
  if (*columns[0] == "r") {
    verdict.kind = CatalogKind::relation;
  } else if (*columns[0] != "f") {
    return std::nullopt;
  }
  if (*columns[2] != "t" && *columns[2] != "f") return std::nullopt;
  verdict.name = *columns[1];
  verdict.harmless = *columns[2] == "t";
  return verdict;
}

void CatalogCache::note(const CatalogScope& scope, const CatalogVerdict& verdict, TimePoint now) {
  const auto remove = [this](std::list<Entry>::iterator entry) {
    index_.erase(entry->key);
    entries_.erase(entry);
  };
  std::string key = key_of(scope, verdict.kind, verdict.name);
  if (const auto known = index_.find(key); known != index_.end()) remove(known->second);
  while (!entries_.empty() && (entries_.size() >= max_entries_ || entries_.front().until <= now)) {
    remove(entries_.begin());
  }
  if (max_entries_ == 0) return;
  entries_.push_back({std::move(key), verdict.harmless, now + time_to_live_});
  index_.emplace(entries_.back().key, std::prev(entries_.end()));
}

std::optional<bool> CatalogCache::find(const CatalogScope& scope, CatalogKind kind,
                                       std::string_view name, TimePoint now) const {
  const auto known = index_.find(key_of(scope, kind, name));
  if (known == index_.end() || known->second->until <= now) return std::nullopt;
  return known->second->harmless;
}

std::optional<bool> CatalogCache::harmless(const CatalogScope& scope, const CatalogNames& names,
                                           TimePoint now, CatalogNames& missing) const {
  missing = {};
  bool all_harmless = true;
  const auto look_up = [&](CatalogKind kind, const std::vector<std::string>& wanted,
                           std::vector<std::string>& unknown) {
    for (const std::string& name : wanted) {
      const std::optional<bool> known = find(scope, kind, name, now);
      if (!known) unknown.push_back(name);
      all_harmless = all_harmless && known.value_or(true);
    }
  };
  look_up(CatalogKind::function, names.functions, missing.functions);
  look_up(CatalogKind::relation, names.relations, missing.relations);
  if (!all_harmless) return false;
  if (!missing.empty()) return std::nullopt;
  return true;
}

void CatalogCache::forget_all() {
  index_.clear();
  entries_.clear();
}

}  // namespace dwspool::retry
