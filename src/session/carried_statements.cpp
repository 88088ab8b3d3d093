// SQL's own PREPARE, EXECUTE and DEALLOCATE, carried to the next backend like settings
// (sql_statements.h). What cannot be followed binds the session, as every PREPARE does in a text of
// several statements.
#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

// A table that somebody has locked shall not keep the session from something else. DWS does not
// have the setting.
constexpr std::string_view impatiently = "SET LOCAL lock_timeout TO '1s';";

}  // namespace

const SqlStatementsPtr& Session::sql_statements() const {
  static const SqlStatementsPtr none;
  return statements_ ? statements_->sql() : none;
}

// Whether the session has the statement, or will if what is under way succeeds.
bool Session::carries(std::string_view name) const {
  if (sql_statements() && sql_statements()->find(name) != nullptr) return true;
  return std::any_of(sql_changes_.begin(), sql_changes_.end(), [&](const SqlChange& change) {
    return change.kind == SqlChange::Kind::prepare && change.statement.name == name;
  });
}

// A simple Query: takes from its effects what need not bind the session.
void Session::follow_sql(sql::Statement& statement, std::string_view text, Output& out) {
  if (context_->config.mode != PoolMode::automatic || backend_->replies.skipping()) return;
  if (statement.is_only(sql::StatementKind::deallocate)) {
    const std::string name = sql::identifier_of(statement.name);
    if (carries(name)) await_sql(SqlChange::Kind::deallocate, name);
    return;
  }
  if (can_be_carried(statement)) {
    const std::string name = sql::identifier_of(statement.name);
    if (statement.kind == sql::StatementKind::prepare) {
      follow_prepare(name, text, out);
    } else if (!carries(name)) {
      await_sql(SqlChange::Kind::execute, name);
    }
    statement.effects.remove(bit(sql::Effect::prepares));
    return;
  }
  // One of several statements: which are there afterwards, only the server knows.
  if (statement.effects.has(sql::Effect::deallocates) &&
      (sql_statements() || !sql_changes_.empty())) {
    statement.effects.add(sql::Effect::prepares);
  }
}

void Session::await_sql(SqlChange::Kind kind, std::string_view name) {
  sql_changes_.push_back({kind, next_request(), {std::string(name), {}, {}}});
}

// A PREPARE goes out.
void Session::follow_prepare(const std::string& name, std::string_view text, Output& out) {
  SqlStatement statement{name, std::string(text), statement_meaning(text)};
  free_name(name, out);
  sql_changes_.push_back({SqlChange::Kind::prepare, next_request(), std::move(statement)});
}

// What the meaning of the text depends on, besides itself. A search_path is that of each use.
std::string Session::statement_meaning(std::string_view text) const {
  std::string scope = session::statement_scope(*wanted_);
  if (reads_alike(text)) return scope;
  for (const std::string_view name : {"client_encoding", "standard_conforming_strings"}) {
    const std::string* value = told_->find(name);
    scope.append(name).append(1, '=').append(value != nullptr ? *value : "").append(1, '\n');
  }
  return scope;
}

// On the server, both kinds of prepared statements share their names; what another client has
// prepared by the protocol gives way.
void Session::free_name(std::string_view name, Output& out) {
  if (statements_ && statements_->find(name) != nullptr) return;  // the client's own: it is refused
  const PreparedStatement* held = backend_->statements.named(name);
  if (held != nullptr && backend_->statements.is_confirmed(*held)) {
    close_on_server(*held, true, false, out);
  }
}

// By the extended protocol: the portal of such a statement is executed. Whether a SqlChange is
// awaited now.
bool Session::follow_executed(const SpecialStatement& special, Output& out) {
  if (context_->config.mode != PoolMode::automatic) return false;
  if (special.kind == sql::StatementKind::prepare) {
    follow_prepare(special.name, special.value, out);
  } else if (carries(special.name)) {
    return false;
  } else {
    await_sql(SqlChange::Kind::execute, special.name);
  }
  return true;
}

// Request number `request` has been answered. Of the extended protocol, what was made is not among
// the changes any more: it stands although something behind it has failed.
void Session::settle_sql(std::uint64_t request, bool failed, Output& out) {
  while (!sql_changes_.empty() && sql_changes_.front().request <= request) {
    if (failed) {
      sql_changes_.erase(sql_changes_.begin());
    } else {
      make_sql_change(out);
    }
  }
}

// The server has made the oldest one. If something was executed that nobody knew of, it is on this
// backend only; as is what there is no room for.
void Session::make_sql_change(Output& out) {
  using Kind = SqlChange::Kind;
  if (sql_changes_.empty()) return;
  SqlChange change = std::move(sql_changes_.front());
  sql_changes_.erase(sql_changes_.begin());
  if (change.kind == Kind::execute ||
      (change.kind == Kind::prepare && !has_room_for(sql_statements(), change.statement))) {
    pin(bit(sql::Effect::prepares), out);
    return;
  }
  const bool together = backend_->sql_statements == sql_statements();
  if (!together) backend_->sql_statements = with(backend_->sql_statements, change.statement);
  statements().set_sql(with(sql_statements(), std::move(change.statement)));
  if (together) backend_->sql_statements = sql_statements();
}

// client_encoding or the like has changed: texts that were written before would be read otherwise.
void Session::bind_sql_statements() {
  if (context_->config.mode != PoolMode::automatic || !sql_statements()) return;
  const auto& entries = sql_statements()->entries();
  const bool alike = std::all_of(entries.begin(), entries.end(),
                                 [](const SqlStatement& each) { return reads_alike(each.text); });
  if (!alike) pins_ |= bit(sql::Effect::prepares);
}

void Session::forget_sql_statements() {
  if (statements_) statements_->set_sql(nullptr);
  if (backend_ != nullptr) backend_->sql_statements.reset();
}

// The backend gets those of this session, and loses those of another.
void Session::send_sql_statements(Output& out) {
  for (const SqlStep& step : sync_steps_) {
    std::string query = step.query();
    if (!step.statement.text.empty()) {
      free_name(step.statement.name, out);
      if (backend_->dialect != Dialect::dws) query.insert(0, impatiently);
    }
    std::string bytes;
    wire::append_query(bytes, query);
    push(ReplyKind::query, true);
    out.to_server.copy(bytes);
  }
}

}  // namespace dwspool::session
