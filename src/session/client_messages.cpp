// What the client sends: cut into messages, answered here or passed to the backend.
#include <algorithm>

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/quote.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

namespace fe = wire::frontend;

// Messages without user data are small (libpq's PQ_SMALL_MESSAGE_LIMIT); the others may be large.
constexpr std::size_t small_message_limit = 10000;
// The names at the front of Bind are looked for this far.
constexpr std::size_t bind_names_limit = 16384;
// Above this, a message goes on in pieces; below, it is passed on as a whole.
constexpr std::size_t stream_copy_above = 16384;

constexpr bool is_known(char type) {
  switch (type) {
    case fe::bind:
    case fe::close:
    case fe::copy_data:
    case fe::copy_done:
    case fe::copy_fail:
    case fe::describe:
    case fe::execute:
    case fe::flush:
    case fe::function_call:
    case fe::parse:
    case fe::query:
    case fe::sync:
    case fe::terminate:
      return true;
    default:
      return false;
  }
}

constexpr bool is_large(char type) {
  return type == fe::query || type == fe::parse || type == fe::bind || type == fe::function_call ||
         type == fe::copy_data;
}

}  // namespace

Next Session::on_client(std::string_view& in, Output& out) {
  client_wanted_ = 0;
  if (ready_held_ && state_ == SessionState::idle) {  // see discard_all
    state_ = SessionState::waiting;
    return Next::need_backend;
  }
  while (true) {
    if (state_ == SessionState::ended) {
      in = {};
      return Next::close;
    }
    if (client_stream_left_ > 0) {
      const std::size_t piece = std::min(client_stream_left_, in.size());
      if (backend_ != nullptr && !client_stream_dropped_) forward(in.substr(0, piece), out);
      in.remove_prefix(piece);
      client_stream_left_ -= piece;
      if (client_stream_left_ > 0) return Next::need_input;
    }
    if (state_ == SessionState::waiting || state_ == SessionState::syncing ||
        state_ == SessionState::starting) {
      return Next::need_input;
    }
    if (waits_for_answer()) return Next::need_input;
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete) {
      // The client may have spoken last, as behind a COPY that has failed.
      const bool done = backend_ != nullptr && in.empty() && can_release();
      return done ? release() : Next::need_input;
    }
    if (!is_known(view.type)) {
      return protocol_violation(
          "invalid frontend message type " + std::to_string(static_cast<unsigned char>(view.type)),
          out);
    }
    if (view.status == wire::FrameStatus::bad ||
        (!is_large(view.type) && view.total > small_message_limit + 1)) {
      return protocol_violation("invalid message length", out);
    }
    if (session_ended_ && !failure_ && !skip_to_sync_ && view.type != fe::terminate) {
      wire::ErrorReport report;
      report.sqlstate = wire::sqlstate::admin_shutdown;
      report.message = "the session was lost with its connection to the database server";
      report.hint = "Connect again.";
      return fatal(report, out);
    }
    Next next = Next::need_input;
    bool progressed = true;
    if (view.status == wire::FrameStatus::complete) {
      std::string_view rest = in;
      const wire::Frame frame = wire::take_frame(rest, view);
      next = on_client_frame(frame, out, progressed);
      if (progressed) in = rest;
    } else {
      next = on_client_partial(view, in, out, progressed);
    }
    if (next != Next::need_input || !progressed) return next;
  }
}

Next Session::need_backend(bool& consumed) {
  consumed = false;
  local_rollback_ = false;  // what is behind it in the pipeline goes to the server
  state_ = SessionState::waiting;
  return Next::need_backend;
}

Next Session::on_client_frame(const wire::Frame& frame, Output& out, bool& consumed) {
  switch (frame.type) {
    case fe::query:
      return on_query(frame, out, consumed);
    case fe::parse:
    case fe::bind:
    case fe::describe:
    case fe::execute:
    case fe::close:
    case fe::sync:
    case fe::flush:
      return on_extended(frame, out, consumed);
    case fe::copy_data:
    case fe::copy_done:
    case fe::copy_fail:
      return on_copy_message(frame, out);
    case fe::terminate:
      state_ = SessionState::ended;
      return Next::close;
    default:
      return on_function_call(frame, out, consumed);
  }
}

Next Session::on_function_call(const wire::Frame& frame, Output& out, bool& consumed) {
  if (skip_to_sync_) return Next::need_input;
  if (failure_ || lost_transaction_) {
    answer_query_locally(frame, sql::Statement::unread(), out);
    return Next::need_input;
  }
  if (backend_ == nullptr) return need_backend(consumed);
  if (read_only_.on) guard_bind({}, out);
  flush_deferred_begin(true, out);
  push(ReplyKind::function);
  sent_ = Sent::work;
  forward(frame.bytes, out);
  return Next::need_input;
}

Next Session::on_query(const wire::Frame& frame, Output& out, bool& consumed) {
  if (skip_to_sync_) return Next::need_input;
  const std::optional<std::string_view> text = wire::read_query(frame.body());
  sql::Statement statement;
  if (text) {
    statement = recognize(*text);
  } else {
    statement.kind = sql::StatementKind::other;
    statement.effects.add(sql::Effect::unclear);
  }
  const bool was_deferred = !deferred_begin_.empty();
  const bool had_failure = failure_ != nullptr;
  if (answer_query_locally(frame, statement, out)) {
    if (!had_failure && !was_deferred && statement.is_only(sql::StatementKind::begin) &&
        !lost_transaction_) {
      // Deferred BEGIN: answered now, sent with the first statement (doc/architecture.md).
      deferred_begin_ = *text;
      const bool start = sql::Lexer(*text, true).next().is("start");
      send_complete(start ? "START TRANSACTION" : "BEGIN", out);
      send_ready(wire::TxStatus::in_transaction, out);
    }
    return Next::need_input;
  }
  if (statement.is_only(sql::StatementKind::deallocate) &&
      client_status() != wire::TxStatus::failed) {
    const std::string name = sql::identifier_of(statement.name);
    if (statements_ && statements_->find(name) != nullptr) {
      deallocate_locally(name, out);
      return Next::need_input;
    }
  }
  if (backend_ == nullptr) return need_backend(consumed);
  if (backend_->dialect == Dialect::dws) {
    if (const std::optional<Next> done = stand_in(statement, out)) return *done;
  }
  if (mark_ != nullptr && mark_->tokens) {
    const bool alone = text && writes_alone(statement, *text);
    if ((alone || statement.is_only(sql::StatementKind::commit)) &&
        stops_for_token(alone, consumed)) {
      return Next::need_input;
    }
  }
  flush_deferred_begin(true, out);
  if (text) follow_sql(statement, *text, out);
  note_statement(statement, out);
  std::string instead;
  Reply reply{.kind = ReplyKind::query};
  if (lost_transaction_) {
    // The text goes on behind the end of the lost transaction, which the server knows nothing of:
    // to it, COMMIT would end nothing with success.
    lost_transaction_ = false;
    if (statement.kind == sql::StatementKind::commit) reply.tag = QueryFix::lost_commit;
  } else {
    reply.tag = substitute_reset(statement, instead);
  }
  if (read_only_.on && statement.is_only(sql::StatementKind::begin) &&
      !statement.effects.has(sql::Effect::names_access_mode)) {
    instead.append(*text).append("\n;SET TRANSACTION READ ONLY");
    reply.tag = QueryFix{false, 1}.packed();
  }
  if (statement.is_only(sql::StatementKind::deallocate)) {
    const std::string name = sql::identifier_of(statement.name);
    if (backend_->statements.holds_name(name)) {  // it is another client's
      instead = "DEALLOCATE " + sql::quote_identifier(refuse(name, reply));
    }
  }
  if (token_) add_token(*text, instead, reply);
  push(reply);
  // A simple Query drops the unnamed statement.
  drop_unnamed();
  note_sent(statement.effects);
  if (instead.empty()) {
    forward(frame.bytes, out);
  } else {
    std::string bytes;
    wire::append_query(bytes, instead);
    out.to_server.copy(bytes);
  }
  return Next::need_input;
}

// A statement of the extended protocol: only the client's name for it goes.
void Session::deallocate_locally(const std::string& name, Output& out) {
  statements_->erase(name);
  if (backend_ == nullptr) {
    statements_->settle();
    send_complete("DEALLOCATE", out);
    send_ready(client_status(), out);
    return;
  }
  push({.kind = ReplyKind::local_deallocate, .named = true});
  flush_local_replies(out);
}

// What the client's start-up packet asked for was made by SET, so that the server's own RESET
// would go back behind it. It is set anew instead, and the tag put right (see QueryFix).
std::uint64_t Session::substitute_reset(const sql::Statement& statement, std::string& sql) const {
  if (startup_->empty() || !statement.single || statement.changes.empty()) return 0;
  if (statement.kind == sql::StatementKind::reset) {
    const sql::PlainChange& change = statement.changes.front();
    const std::string name = setting_named(change.name);
    const std::string* value = startup_->find(name);
    if (value == nullptr) return 0;
    sql = "SET " + sql::quote_identifier(name) + " TO " + *value;
    return QueryFix{!change.reset_by_set, 0}.packed();
  }
  if (statement.kind != sql::StatementKind::reset_all) return 0;
  sql = "RESET ALL";
  std::uint32_t count = 0;
  for (const SettingSet::Entry& entry : startup_->entries()) {
    if (is_identity(entry.name)) continue;  // as the server's own RESET ALL
    sql += ";SET " + sql::quote_identifier(entry.name) + " TO " + entry.value;
    ++count;
  }
  return QueryFix{false, count}.packed();
}

// Takes down what the statement may do to the session, before it is sent.
void Session::note_statement(const sql::Statement& statement, Output& out) {
  sql::Effects effects = statement.effects;
  if (!statement.changes.empty()) track_changes(statement, effects);
  if (!effects.any()) return;
  if (effects.has(sql::Effect::ends_transaction) || effects.has(sql::Effect::unclear)) {
    may_have_committed_ = true;
    may_commit_request_ = next_request();
  }
  if (effects.has(sql::Effect::savepoint) && setting_changes_) setting_changes_->on_savepoint();
  if (effects.has(sql::Effect::discards_all) && !startup_->empty()) {
    discard_request_ = next_request();
  }
  if (effects.has(sql::Effect::discards_all) || effects.has(sql::Effect::deallocates_all)) {
    watch_tags_ = true;
  }
  if (context_->config.mode == PoolMode::session &&
      (effects.has(sql::Effect::temporary_object) || effects.has(sql::Effect::unclear))) {
    backend_->holds_temporary_objects = true;
  }
  if (context_->config.mode == PoolMode::automatic) {
    const std::uint32_t binding = effects.bits() & sql::binding_effects;
    if (binding != 0) pin(binding, out);
    if (effects.has(sql::Effect::changes_setting)) {
      send_change({.kind = SettingChange::Kind::unclear, .name = {}, .value = {}});
    }
  }
  if (pins_ != 0) {
    const auto take_back = [&](sql::Effect by, sql::Effect what) {
      if (!effects.has(by) || effects.has(what)) return;
      unpins_ |= bit(what);
      unpin_request_ = next_request();
    };
    if (effects.has(sql::Effect::may_free)) pins_question_.wanted = true;
    take_back(sql::Effect::unlistens_all, sql::Effect::listens);
    take_back(sql::Effect::deallocates_all, sql::Effect::prepares);
    take_back(sql::Effect::closes_all, sql::Effect::held_cursor);
    take_back(sql::Effect::unlocks_all, sql::Effect::advisory_lock);
  }
}

// SETs and RESETs in their plain form: carried to the next backend once they are known to hold.
void Session::track_changes(const sql::Statement& statement, sql::Effects& effects) {
  using Kind = SettingChange::Kind;
  if (effects.has(sql::Effect::ends_transaction) || effects.has(sql::Effect::savepoint)) {
    // A part of the text may hold and another not.
    effects.add(sql::Effect::changes_setting);
  }
  for (const sql::PlainChange& change : statement.changes) {
    SettingChange tracked;
    // On its own, a RESET goes out in words that mean the start-up packet (substitute_reset).
    if (change.kind == sql::StatementKind::reset_all) {
      tracked.kind = statement.single ? Kind::reset_all : Kind::reset_all_raw;
    } else {
      tracked.name = setting_named(change.name);
      if (change.kind == sql::StatementKind::set) {
        if (server_tells(*backend_->reported, tracked.name)) continue;
        tracked.value = value_of(change);
      } else {
        tracked.kind = statement.single ? Kind::reset : Kind::reset_raw;
      }
    }
    send_change(std::move(tracked));
  }
}

void Session::send_change(SettingChange change) {
  if (!setting_changes_) setting_changes_ = std::make_unique<SettingChanges>();
  setting_changes_->sent(next_request(), std::move(change));
  watch_tags_ = true;
}

// The BEGIN that was answered early goes out in front of whatever comes first, as messages of
// the extended protocol without a Sync: should the server refuse it, it skips what follows, so
// that no statement can run outside the transaction it was meant for. It also spares the server
// one flush, and dwspool one read.
void Session::flush_deferred_begin(bool simple_follows, Output& out) {
  if (deferred_begin_.empty()) return;
  static constexpr std::string_view no_types("\0\0", 2);
  std::string bytes;
  wire::append_parse(bytes, "", deferred_begin_, no_types);
  wire::append_bind(bytes, "");
  wire::append_execute(bytes);
  for (const ReplyKind kind : {ReplyKind::parse, ReplyKind::bind, ReplyKind::execute}) {
    push({.kind = kind, .own = true, .begin = true});
  }
  if (read_only_.on && !sql::recognize(deferred_begin_, escapes_standard_)
                            .effects.has(sql::Effect::names_access_mode)) {
    out.to_server.copy(std::exchange(bytes, {}));
    send_own_statement("SET TRANSACTION READ ONLY", false, out);
  }
  if (!simple_follows) {
    // Leave no unnamed statement or portal behind that a direct connection would not have.
    wire::append_close(bytes, 'S', "");
    wire::append_close(bytes, 'P', "");
    push(ReplyKind::close, true);
    push(ReplyKind::close, true);
  }
  out.to_server.copy(bytes);
  deferred_begin_.clear();
  drop_unnamed();
  begin_sent_ = true;
  sent_ = Sent::work;
}

// The server, should it refuse that BEGIN, skips what follows only up to the next Sync: what came
// behind that would run outside of its transaction. So nothing is sent behind the first request
// until it is known that there is one.
bool Session::waits_for_answer() const {
  if (backend_ == nullptr) return false;
  if (read_only_.block == ReadOnly::Block::closing || pins_question_.asked) return true;
  if (token_ && waits_for_token()) return true;
  if (backend_->replies.requests_owed() == 0) return false;
  // In a read-only session of DWS it is decided for each request by itself what is done for it.
  if (read_only_.on && !backend_->replies.copy_in()) return true;
  if (begin_failed_ || (begin_sent_ && backend_->replies.head().begin)) return true;
  // Behind DISCARD ALL what the start-up packet asked for has to be made anew.
  return discard_request_ > backend_->replies.requests_done() && next_request() > discard_request_;
}

Next Session::on_copy_message(const wire::Frame& frame, Output& out) {
  // Without a COPY these are leftovers of one that failed; the protocol says to ignore them.
  if (backend_ == nullptr || skip_to_sync_) return Next::need_input;
  if (frame.type != fe::copy_data) backend_->replies.on_copy_sent();
  forward(frame.bytes, out);
  return Next::need_input;
}

// The front of a message that is not complete yet: large ones go on piece by piece.
Next Session::on_client_partial(const wire::FrameView& view, std::string_view& in, Output& out,
                                bool& progressed) {
  const std::size_t limit = context_->config.inspect_limit;
  const bool inspected = view.type == fe::query || view.type == fe::parse;
  const bool tokens = mark_ != nullptr && mark_->tokens;  // it may be a COMMIT's
  const bool wait = view.type == fe::bind ? tokens && view.total <= stream_copy_above
                    : inspected           ? view.total <= limit
                                          : view.total <= stream_copy_above;
  if (wait) {
    client_wanted_ = view.total;
    progressed = false;
    return Next::need_input;
  }
  const auto go_on = [&](bool dropped) {
    client_stream_left_ = view.total - in.size();
    client_stream_dropped_ = dropped;
    in = {};
    return Next::need_input;
  };
  const auto pass = [&] { return go_on(false); };
  const auto drop = [&] { return go_on(true); };
  if (skip_to_sync_) return drop();
  if (view.type == fe::copy_data) {
    if (backend_ == nullptr) return drop();
    forward(in, out);
    return pass();
  }
  if (backend_ == nullptr || failure_ || lost_transaction_) {
    if (view.type == fe::bind && !wire::read_bind_prefix(in.substr(wire::header_size))) {
      if (in.size() > bind_names_limit) return protocol_violation("invalid Bind message", out);
      progressed = false;
      client_wanted_ = in.size() + 1;
      return Next::need_input;
    }
    if (failure_ || lost_transaction_) {
      const wire::Frame front{view.type, in};
      bool consumed = true;
      if (inspected && view.type == fe::query) {
        answer_query_locally(front, sql::Statement::unread(), out);
      } else {
        on_extended_locally(front, out, consumed);
      }
      return drop();
    }
    return need_backend(progressed);
  }
  switch (view.type) {
    case fe::bind:
      if (!wire::read_bind_prefix(in.substr(wire::header_size))) {
        if (in.size() > bind_names_limit) return protocol_violation("invalid Bind message", out);
        client_wanted_ = in.size() + 1;
        progressed = false;
        return Next::need_input;
      }
      if (backend_->replies.skipping() || backend_->replies.copy_in()) {
        push(ReplyKind::bind);
        forward(in, out);
        return pass();
      }
      flush_deferred_begin(false, out);
      sent_ = Sent::work;
      on_bind(in, view.total, out);
      return pass();
    case fe::query:
    case fe::parse: {
      // Too large to be read as a whole: whatever it does binds the session.
      flush_deferred_begin(view.type == fe::query, out);
      sql::Statement unseen;
      unseen.kind = sql::StatementKind::other;
      unseen.effects.add(sql::Effect::unclear);
      note_statement(unseen, out);
      push(view.type == fe::query ? ReplyKind::query : ReplyKind::parse);
      drop_unnamed();
      if (view.type == fe::parse) {
        pin(bit(sql::Effect::prepares), out);
        unnamed_effects_ = unseen.effects;
        may_commit_by_name_ = true;
      }
      break;
    }
    default:
      flush_deferred_begin(true, out);
      push(ReplyKind::function);
      break;
  }
  sent_ = Sent::work;
  forward(in, out);
  return pass();
}

}  // namespace dwspool::session
