#include "dwspool/session/sql_statements.h"

#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"

namespace dwspool::session {
namespace {

// The server cuts longer names off.
constexpr std::size_t longest_name = 63;

bool comes_before(const SqlStatement& statement, std::string_view name) {
  return statement.name < name;
}

}  // namespace

const SqlStatement* SqlStatementSet::find(std::string_view name) const {
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), name, comes_before);
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

void SqlStatementSet::set(SqlStatement statement) {
  const auto place =
      std::lower_bound(entries_.begin(), entries_.end(), statement.name, comes_before);
  if (place != entries_.end() && place->name == statement.name) {
    *place = std::move(statement);
  } else {
    entries_.insert(place, std::move(statement));
  }
}

void SqlStatementSet::erase(std::string_view name) {
  std::erase_if(entries_, [&](const SqlStatement& entry) { return entry.name == name; });
}

std::size_t SqlStatementSet::bytes() const {
  std::size_t bytes = 0;
  for (const SqlStatement& entry : entries_) bytes += entry.name.size() + entry.text.size();
  return bytes;
}

SqlStatementsPtr with(const SqlStatementsPtr& set, SqlStatement statement) {
  SqlStatementSet changed = set ? *set : SqlStatementSet{};
  if (statement.text.empty()) {
    changed.erase(statement.name);
  } else {
    changed.set(std::move(statement));
  }
  if (changed.empty()) return nullptr;
  return std::make_shared<const SqlStatementSet>(std::move(changed));
}

bool has_room_for(const SqlStatementsPtr& set, const SqlStatement& more) {
  const std::size_t bytes = more.name.size() + more.text.size();
  if (!set) return bytes <= most_sql_statement_bytes;
  return set->size() < most_sql_statements && set->bytes() + bytes <= most_sql_statement_bytes;
}

bool can_be_carried(const sql::Statement& statement) {
  return (statement.is_only(sql::StatementKind::prepare) ||
          statement.is_only(sql::StatementKind::execute)) &&
         (statement.effects.bits() & sql::binding_effects) == bit(sql::Effect::prepares) &&
         !statement.effects.has(sql::Effect::ends_transaction) && !statement.name.empty() &&
         statement.name.find('&') == std::string_view::npos &&
         statement.name.size() <= longest_name && is_ascii(statement.name);
}

bool reads_alike(std::string_view text) {
  return is_ascii(text) && text.find('\\') == std::string_view::npos;
}

std::string SqlStep::query() const {
  return statement.text.empty() ? "DEALLOCATE " + sql::quote_identifier(statement.name)
                                : statement.text;
}

std::vector<SqlStep> switch_statements(const SqlStatementsPtr& from, const SqlStatementsPtr& to) {
  std::vector<SqlStep> steps;
  if (from == to) return steps;
  if (from) {
    for (const SqlStatement& entry : from->entries()) {
      const SqlStatement* wanted = to ? to->find(entry.name) : nullptr;
      if (wanted == nullptr || *wanted != entry) steps.push_back({{entry.name, {}, {}}, false});
    }
  }
  if (to) {
    for (const SqlStatement& entry : to->entries()) {
      const SqlStatement* present = from ? from->find(entry.name) : nullptr;
      if (present == nullptr || *present != entry) steps.push_back({entry, false});
    }
  }
  return steps;
}

SqlStatementsPtr behind(SqlStatementsPtr from, const std::vector<SqlStep>& steps) {
  for (const SqlStep& step : steps) {
    // What cannot be dropped is not there.
    if (!step.failed || step.statement.text.empty()) from = with(from, step.statement);
  }
  return from;
}

}  // namespace dwspool::session
