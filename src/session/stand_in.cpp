// What DWS does not do, and dwspool does in its place, so that programs need not know (doc/dws.md):
// DISCARD ALL, and default_transaction_read_only in a session.
//
// A read-only session is really one. A request outside a transaction gets a READ ONLY transaction
// of its own around it, and is answered when that has ended; a transaction that the client begins
// without naming its access mode is made READ ONLY before anything else runs in it. What could
// get out of such a transaction is refused (25006).
#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

constexpr std::string_view read_only_setting = "default_transaction_read_only";
constexpr std::string_view own_statement = "dwspool_read_only";

// A boolean as SET takes it; nullopt for anything else.
std::optional<bool> boolean_of(std::string_view value) {
  if (value.size() >= 2 && (value.front() == '\'' || value.front() == '"')) {
    value = value.substr(1, value.size() - 2);
  }
  for (const std::string_view word : {"on", "true", "yes", "1", "t", "y"}) {
    if (equals_ignore_case(value, word)) return true;
  }
  for (const std::string_view word : {"off", "false", "no", "0", "f", "n"}) {
    if (equals_ignore_case(value, word)) return false;
  }
  return std::nullopt;
}

}  // namespace

// A simple Query that needs nothing of the server, or must not reach it. nullopt when it goes its
// way.
std::optional<Next> Session::stand_in(const sql::Statement& statement, Output& out) {
  const bool between = backend_->replies.quiet() && backend_->status == wire::TxStatus::idle &&
                       deferred_begin_.empty() && !lost_transaction_;
  if (!between) return std::nullopt;
  if (statement.is_only(sql::StatementKind::discard_all)) return discard_all(out);
  if (set_read_only(statement, out)) return Next::need_input;
  return read_only_.on ? guard_read_only(statement, out) : std::nullopt;
}

// The client gets a clean backend, with what its start-up packet asked for; this one is cleaned, or
// closed. ReadyForQuery comes when it is there.
Next Session::discard_all(Output& out) {
  send_complete("DISCARD ALL", out);
  ready_held_ = true;
  wanted_ = startup_;
  read_only_.on = read_only_.by_startup;
  if (statements_) statements_->clear_settled();
  drop_unnamed();
  backend_->dirty = backend_->dirty || context_->config.mode != PoolMode::automatic || pins_ != 0;
  note_temporary_objects(*backend_);
  pins_ = unpins_ = 0;
  return release();
}

// SET and RESET of default_transaction_read_only: kept here.
bool Session::set_read_only(const sql::Statement& statement, Output& out) {
  if (!statement.single || statement.changes.size() != 1) return false;
  const sql::PlainChange& change = statement.changes.front();
  if (change.kind == sql::StatementKind::reset_all) {
    read_only_.on = read_only_.by_startup;
    return false;
  }
  if (change.is_literal || setting_named(change.name) != read_only_setting) return false;
  if (change.kind == sql::StatementKind::set) {
    const std::optional<bool> on = boolean_of(change.value);
    if (!on) return false;
    read_only_.on = *on;
  } else {
    read_only_.on = read_only_.by_startup;
  }
  const bool reset = change.kind == sql::StatementKind::reset && !change.reset_by_set;
  send_complete(reset ? "RESET" : "SET", out);
  send_ready(wire::TxStatus::idle, out);
  return true;
}

// The start-up packet may ask for it as well.
void Session::adopt_dialect() {
  const std::string* value = wanted_->find(read_only_setting);
  if (value == nullptr) return;
  if (const std::string* asked = startup_->find(read_only_setting)) {
    read_only_.by_startup = boolean_of(*asked).value_or(false);
    SettingSet startup = *startup_;
    startup.reset(read_only_setting);
    startup_ = context_->settings.intern(std::move(startup));
  }
  read_only_.on = boolean_of(*value).value_or(false);
  SettingSet wanted = *wanted_;
  wanted.reset(read_only_setting);
  wanted_ = context_->settings.intern(std::move(wanted));
}

// A simple Query in a read-only session, outside a transaction.
std::optional<Next> Session::guard_read_only(const sql::Statement& statement, Output& out) {
  using Kind = sql::StatementKind;
  const sql::Effects effects = statement.effects;
  const bool begins = effects.has(sql::Effect::begins_transaction);
  const bool ends = effects.has(sql::Effect::ends_transaction);
  if (statement.single && !effects.has(sql::Effect::unclear)) {
    // What writes no data; and BEGIN, see on_query.
    if (sql::is_plain_change(statement.kind) || statement.kind == Kind::empty ||
        statement.kind == Kind::begin || (ends && !begins)) {
      return std::nullopt;
    }
  }
  if (begins || ends || effects.has(sql::Effect::unclear)) {
    refuse_query("cannot execute this text in a read-only session",
                 "It may begin or end a transaction among other things. Send its statements one "
                 "by one.",
                 out);
    return Next::need_input;
  }
  open_read_only_block(out);
  return std::nullopt;
}

void Session::refuse_query(std::string_view message, std::string_view hint, Output& out) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::read_only_sql_transaction;
  report.message = message;
  report.hint = hint;
  send_error(report, out);
  send_ready(wire::TxStatus::idle, out);
}

// Bind, and what else runs something: what is bound next runs in a transaction.
void Session::guard_bind(sql::Effects effects, Output& out) {
  const bool begins = effects.has(sql::Effect::begins_transaction);
  const bool ends = effects.has(sql::Effect::ends_transaction);
  const bool in_block =
      !read_only_.ended && (read_only_.begun || read_only_.block == ReadOnly::Block::open ||
                            backend_->status != wire::TxStatus::idle || begin_sent_);
  if (ends) {
    read_only_.ended = true;
    read_only_.begun = false;
    read_only_.block = ReadOnly::Block::none;
  } else if (begins) {
    read_only_.begun = true;
    read_only_.ended = false;
    read_only_.begin_bound = !effects.has(sql::Effect::names_access_mode);
    read_only_.block = ReadOnly::Block::none;
  } else if (!in_block) {
    read_only_.ended = false;
    open_read_only_block(out);
  }
}

// The BEGIN that was bound is executed.
void Session::guard_execute(Output& out) {
  read_only_.begin_bound = false;
  send_own_statement("SET TRANSACTION READ ONLY", false, out);
}

void Session::open_read_only_block(Output& out) {
  read_only_.block = ReadOnly::Block::open;
  send_own_statement("BEGIN READ ONLY", true, out);
  begin_sent_ = true;
}

// The client's request has been answered but for ReadyForQuery.
void Session::close_read_only_block(wire::TxStatus status, Output& out) {
  read_only_.block = ReadOnly::Block::closing;
  std::string bytes;
  wire::append_query(bytes, status == wire::TxStatus::failed ? "ROLLBACK" : "COMMIT");
  out.to_server.copy(bytes);
  push(ReplyKind::query, true);
}

// As messages of the extended protocol without a Sync, like a deferred BEGIN; the client's unnamed
// statement stays.
void Session::send_own_statement(std::string_view sql, bool begin, Output& out) {
  static constexpr std::string_view no_types("\0\0", 2);
  std::string bytes;
  wire::append_parse(bytes, own_statement, sql, no_types);
  wire::append_bind(bytes, own_statement);
  wire::append_execute(bytes);
  wire::append_close(bytes, 'S', own_statement);
  for (const ReplyKind kind : {ReplyKind::parse, ReplyKind::bind, ReplyKind::execute}) {
    push({.kind = kind, .own = true, .begin = begin});
  }
  push(ReplyKind::close, true);
  out.to_server.copy(bytes);
}

}  // namespace dwspool::session
