// What the backend sends: passed to the client, or kept because dwspool asked.
#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"
#include "dwspool/wire/sqlstate.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

// A message up to this size is passed on as a whole, so that an error can follow it should the
// server vanish; larger ones stream.
constexpr std::size_t hold_limit = 16384;
// Messages other than user data are read as a whole; none is ever near this size.
constexpr std::size_t whole_limit = std::size_t{1} << 24U;

constexpr bool streams(char type) {
  return type == be::data_row || type == be::copy_data || type == be::function_call_response;
}

}  // namespace

Next Session::on_server(std::string_view& in, Output& out) {
  server_wanted_ = 0;
  const bool was_syncing = state_ == SessionState::syncing;
  while (!in.empty() && backend_ != nullptr) {
    if (server_stream_left_ > 0) {
      const std::size_t piece = std::min(server_stream_left_, in.size());
      if (!server_stream_own_) out.to_client.add(in.substr(0, piece));
      in.remove_prefix(piece);
      server_stream_left_ -= piece;
      continue;
    }
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete) break;
    if (view.status == wire::FrameStatus::bad ||
        (!streams(view.type) && view.total > whole_limit)) {
      backend_->retire = true;
      return on_backend_lost("the server sent a message that cannot be understood", out);
    }
    if (view.status == wire::FrameStatus::partial) {
      if (view.total <= hold_limit || !streams(view.type)) {
        server_wanted_ = view.total;
        break;
      }
      server_stream_own_ = backend_->replies.head_is_own();
      server_stream_left_ = view.total;
      continue;
    }
    if (view.type == be::data_row || view.type == be::copy_data) {
      // By far the most frequent: rows of whatever runs at the moment.
      if (!backend_->replies.head_is_own()) out.to_client.add(in.substr(0, view.total));
      in.remove_prefix(view.total);
      continue;
    }
    const wire::Frame frame = wire::take_frame(in, view);
    const Next next = on_server_frame(frame, out);
    if (next != Next::need_input) return next;
  }
  if (state_ != SessionState::attached || backend_ == nullptr) return Next::need_input;
  if (was_syncing) return Next::need_input;  // what the backend was wanted for comes now
  if (!in.empty() || client_stream_left_ > 0) return Next::need_input;
  if (draining_ && backend_->replies.quiet() && backend_->status == wire::TxStatus::idle) {
    return drain(out);
  }
  if (can_release()) return release();
  return Next::need_input;
}

Next Session::on_server_frame(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  const bool own = replies.head_is_own();
  if (const std::optional<ReplyKind> answered = answered_by(frame.type)) {
    if (!own) {
      if (frame.type == be::command_complete) {
        pass_command_complete(frame, out);
      } else {
        out.to_client.add(frame.bytes);
      }
    }
    if (frame.type == be::parse_complete) on_parse_complete();
    if (replies.pop_if(*answered)) flush_local_replies(out);
    return Next::need_input;
  }
  switch (frame.type) {
    case be::ready_for_query:
      return on_ready_for_query(frame, out);
    case be::error_response:
      return on_error_response(frame, out);
    case be::parameter_status:
      return on_parameter_status(frame, out);
    case be::notice_response:
    case be::notification_response:
      if (state_ == SessionState::attached) out.to_client.add(frame.bytes);
      return Next::need_input;
    case be::copy_in_response:
      replies.on_copy_in();
      [[fallthrough]];
    case be::copy_out_response:
    case be::copy_both_response:
    case be::copy_done:
    case be::function_call_response:
    case be::parameter_description:
      if (!own) out.to_client.add(frame.bytes);
      return Next::need_input;
    case be::backend_key_data:
      // GaussDB may send a timing message of this letter; after log-in it is never a key
      // (doc/gaussdb-protocol.md).
      return Next::need_input;
    default:
      backend_->retire = true;
      return on_backend_lost("the server sent a message of an unknown type", out);
  }
}

void Session::on_parse_complete() {
  const ReplyTracker& replies = backend_->replies;
  if (replies.empty() || replies.head().kind != ReplyKind::parse || replies.head().tag == 0 ||
      replies.head().tag == no_statement) {
    return;
  }
  backend_->statements.confirm(replies.head().tag);
  if (!replies.head().own && parse_names_ && !parse_names_->empty()) {
    parse_names_->erase(parse_names_->begin());
  }
}

Next Session::on_error_response(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  const wire::ErrorFields fields = wire::read_error(frame.body());
  if (fields.is_fatal()) {
    backend_->retire = true;
    if (context_->config.mode == PoolMode::session && state_ == SessionState::attached) {
      // As on a direct connection: the server's own last word, and the end.
      out.note_error(fields.sqlstate);
      out.to_client.add(frame.bytes);
      state_ = SessionState::ended;
      return Next::close;
    }
    std::string cause(fields.message);
    if (!fields.sqlstate.empty()) cause.append(" (SQLSTATE ").append(fields.sqlstate).append(")");
    return on_backend_lost("The server said: " + cause, out);
  }
  if (state_ == SessionState::syncing) {
    failure_ = std::make_unique<wire::ErrorReport>();
    failure_->sqlstate = fields.sqlstate;
    failure_->message = fields.message;
    failure_->detail = fields.detail;
    failure_->hint = fields.hint;
    return Next::need_input;
  }
  if (replies.empty() && !replies.skipping()) return Next::need_input;  // belongs to no request

  const bool at_begin = begin_sent_ && replies.head_is_own() && replies.head().tag == 0;
  out.note_error(fields.sqlstate);
  pass_error(frame, out);
  request_failed_ = true;
  std::uint32_t dropped_requests = 0;
  replies.on_error([&](const Reply& reply) {
    if (!reply.own && (reply.kind == ReplyKind::query || reply.kind == ReplyKind::function ||
                       reply.kind == ReplyKind::local_deallocate)) {
      ++dropped_requests;
    }
    drop_reply(reply);
  });
  if (at_begin) {
    begin_sent_ = false;
    begin_failed_ = true;
    if (dropped_requests > 0) {
      // The statement behind the BEGIN was skipped with it. Sync brings the server back; its
      // ReadyForQuery is the answer to the statement.
      std::string bytes;
      wire::append_sync(bytes);
      out.to_server.copy(bytes);
      push(ReplyKind::sync);
      extra_requests_ = dropped_requests - 1;
    }
  }
  return Next::need_input;
}

// An error that names a statement names it as the client does.
void Session::pass_error(const wire::Frame& frame, Output& out) {
  static constexpr std::string_view own_name = "\"dwspool_";
  const std::size_t at = frame.body().find(own_name);
  if (at == std::string_view::npos || !statements_) {
    out.to_client.add(frame.bytes);
    return;
  }
  std::string body(frame.body());
  statements_->for_each([&](std::string_view name, const PreparedPtr& statement) {
    const std::string shown = "\"dwspool_" + std::to_string(statement->id) + "\"";
    if (const std::size_t place = body.find(shown); place != std::string::npos) {
      body.replace(place, shown.size(), "\"" + std::string(name) + "\"");
    }
  });
  std::string bytes;
  wire::MessageWriter(bytes, be::error_response).bytes(body).end();
  out.to_client.copy(bytes);
}

// The server will not answer this message any more: it skips to the next Sync.
void Session::drop_reply(const Reply& reply) {
  if (reply.kind != ReplyKind::parse || reply.tag == no_statement) return;
  if (reply.tag == 0) {
    if (!reply.own) {
      unnamed_.clear();
      backend_->unnamed = {};
    }
    return;
  }
  if (!reply.own && parse_names_ && !parse_names_->empty()) {
    if (statements_) statements_->erase(parse_names_->front());
    parse_names_->erase(parse_names_->begin());
  }
  backend_->statements.erase(reply.tag);
}

Next Session::on_ready_for_query(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  const std::optional<wire::TxStatus> status = wire::read_ready_for_query(frame.body());
  const bool own = replies.head_is_own();
  if (!status || !replies.on_ready()) {
    backend_->retire = true;
    return on_backend_lost("the server answered what nobody had asked", out);
  }
  backend_->status = *status;
  if (own) {
    if (state_ != SessionState::syncing || --sync_pending_ > 0) return Next::need_input;
    if (*status != wire::TxStatus::idle) {
      backend_->retire = true;
      return on_backend_lost("the server is in a transaction that nobody has begun", out);
    }
    return finish_sync(out);
  }
  if (begin_failed_) {
    // The client believes in a transaction: for it, that has failed.
    begin_failed_ = false;
    lost_transaction_ = true;
    send_ready(wire::TxStatus::failed, out);
    for (; extra_requests_ > 0; --extra_requests_) {
      answer_in_lost_transaction(sql::Statement{sql::StatementKind::other, true, {}, {}, {}}, out);
    }
  } else if (discarded_) {
    ready_held_ = true;  // until the client's own defaults are back
  } else {
    out.to_client.add(frame.bytes);
    ++out.queries;
  }
  begin_sent_ = false;
  if (tx_settings_ && tx_settings_->in_flight) {
    if (!request_failed_) tx_settings_->changes.push_back(std::move(*tx_settings_->in_flight));
    tx_settings_->in_flight.reset();
  }
  if (!request_failed_ && unpins_ != 0) pins_ &= ~unpins_;
  unpins_ = 0;
  request_failed_ = false;
  if (*status == wire::TxStatus::idle) {
    if (!lost_transaction_) ++out.transactions;
    on_transaction_end();
  } else if (tx_settings_) {
    // A COMMIT or ROLLBACK that left a transaction open was one with AND CHAIN or to a savepoint.
    if (tx_settings_->committed || tx_settings_->rolled_back) tx_settings_->savepoints = true;
    tx_settings_->committed = tx_settings_->rolled_back = false;
  }
  if (ready_held_ && replies.empty()) return begin_sync(out);
  if (ready_held_) {
    // Something was sent behind it: the settings come with the next backend.
    ready_held_ = false;
    send_ready(wire::TxStatus::idle, out);
  }
  flush_local_replies(out);
  // A RESET that went behind the start-up packet: put right before the session goes on.
  if (*status == wire::TxStatus::idle && replies.quiet() && !can_release() &&
      backend_->applied != wanted_ && !same(backend_->applied, wanted_)) {
    return begin_sync(out);
  }
  return Next::need_input;
}

void Session::pass_command_complete(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  if (replies.empty() || replies.head().kind != ReplyKind::query || replies.head().tag == 0) {
    out.to_client.add(frame.bytes);
    if (watch_tags_) watch_command(wire::read_command_tag(frame.body()));
    return;
  }
  // Asked in other words than the client's: the first tag is its answer, the others are ours.
  constexpr std::uint64_t answered = std::uint64_t{1} << 63U;
  const std::uint64_t tag = replies.head().tag;
  if ((tag & answered) != 0) return;
  replies.set_head_tag(tag | answered);
  if (QueryFix::unpack(tag).set_to_reset) {
    send_complete("RESET", out);
  } else {
    out.to_client.add(frame.bytes);
  }
}

void Session::watch_command(std::string_view tag) {
  if (tag == "DISCARD ALL") {
    forget_statements();
    pins_ = unpins_ = 0;
    tx_settings_.reset();
    discarded_ = true;
    unnamed_.clear();
    backend_->unnamed = {};
  } else if (tag == "DEALLOCATE ALL") {
    forget_statements();
  } else if (tx_settings_) {
    if (tag == "COMMIT") tx_settings_->committed = true;
    if (tag == "ROLLBACK") tx_settings_->rolled_back = true;
  }
}

// All prepared statements are gone, but for those whose Parse was sent behind the statement that
// dropped them.
void Session::forget_statements() {
  backend_->statements.erase_confirmed();
  if (!statements_) return;
  std::vector<std::pair<std::string, PreparedPtr>> kept;
  if (parse_names_) {
    for (const std::string& name : *parse_names_) {
      if (const PreparedPtr* statement = statements_->find(name)) {
        kept.emplace_back(name, *statement);
      }
    }
  }
  statements_->clear();
  for (auto& [name, statement] : kept) statements_->set(name, std::move(statement));
}

Next Session::on_parameter_status(const wire::Frame& frame, Output& out) {
  const std::optional<wire::ParameterStatus> status = wire::read_parameter_status(frame.body());
  if (!status) {
    backend_->retire = true;
    return on_backend_lost("the server sent a malformed ParameterStatus", out);
  }
  ReportedSet reported = *backend_->reported;
  reported.set(status->name, status->value);
  const bool client_knows = told_ != nullptr && (told_ == backend_->reported);
  backend_->reported = context_->reported.intern(std::move(reported));
  // Compared, and told, when the settings are as they shall be.
  if (state_ == SessionState::syncing || discarded_) return Next::need_input;
  out.to_client.add(frame.bytes);
  if (client_knows) {
    set_told(backend_->reported);
  } else {
    ReportedSet told = *told_;
    told.set(status->name, status->value);
    set_told(context_->reported.intern(std::move(told)));
  }
  return Next::need_input;
}

void Session::on_transaction_end() {
  may_have_committed_ = false;
  work_sent_ = !backend_->replies.empty();  // pipelined behind it
  const std::unique_ptr<TransactionSettings> ended = std::move(tx_settings_);
  if (discarded_) {
    // The server is back at its defaults, the session at what its start-up packet asked for.
    discarded_ = watch_tags_ = false;
    wanted_ = startup_;
    backend_->applied = context_->settings.intern(SettingSet{});
    reported_mark_ = backend_->reported;
    return;
  }
  if (backend_->reported != reported_mark_) carry_reported();
  if (!ended) return;
  watch_tags_ = false;
  if ((ended->committed && ended->rolled_back) || (ended->savepoints && !ended->changes.empty())) {
    // Which of the changes hold cannot be told.
    if (context_->config.mode == PoolMode::automatic) {
      pins_ |= static_cast<std::uint32_t>(sql::Effect::changes_setting);
    }
  } else if (!ended->rolled_back && !ended->changes.empty()) {
    carry_changes(ended->changes);
  }
}

void Session::carry_changes(const std::vector<SettingChange>& changes) {
  SettingSet wanted = *wanted_;
  SettingSet applied = *backend_->applied;
  for (const SettingChange& change : changes) {
    if (change.name.empty()) {  // RESET ALL, with what the start-up packet said behind it
      wanted = applied = *startup_;
      continue;
    }
    if (change.value) {
      wanted.set(change.name, *change.value);
      applied.set(change.name, *change.value);
      continue;
    }
    if (const std::string* startup = startup_->find(change.name)) {
      wanted.set(change.name, *startup);
      applied.set(change.name, *startup);  // see substitute_reset
    } else {
      wanted.reset(change.name);
      applied.reset(change.name);
    }
  }
  wanted_ = context_->settings.intern(std::move(wanted));
  backend_->applied = context_->settings.intern(std::move(applied));
}

// What the server has reported since this session got the backend is what the session has set:
// with the transaction over, these are its settings, whatever way they were made.
void Session::carry_reported() {
  SettingSet wanted = *wanted_;
  SettingSet applied = *backend_->applied;
  for (const auto& [name, value] : backend_->reported->entries()) {
    const std::string* before = reported_mark_ ? reported_mark_->find(name) : nullptr;
    if (before != nullptr && *before == value) continue;
    if (!is_settable(name)) {
      // Another role's session must not be handed on.
      if (equals_ignore_case(name, "session_authorization")) backend_->dirty = true;
      continue;
    }
    const std::string lower = to_lower(name);
    const std::string quoted = sql::setting_value(lower, value);
    wanted.set(lower, quoted);
    applied.set(lower, quoted);
  }
  wanted_ = context_->settings.intern(std::move(wanted));
  backend_->applied = context_->settings.intern(std::move(applied));
  reported_mark_ = backend_->reported;
}

}  // namespace dwspool::session
