// What the backend sends: passed to the client, or kept because dwspool asked.
#include <algorithm>
#include <utility>

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

// For what cannot run in a transaction, and so not in a READ ONLY one (see stand_in.cpp).
wire::ErrorReport not_in_read_only_report(std::string_view cause) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::read_only_sql_transaction;
  report.message = "cannot execute this statement in a read-only session";
  report.detail = cause;
  report.hint = "SET default_transaction_read_only TO off before it.";
  return report;
}

constexpr bool streams(char type) {
  return type == be::data_row || type == be::copy_data || type == be::function_call_response;
}

}  // namespace

Next Session::on_server(std::string_view& in, Output& out) {
  server_wanted_ = 0;
  const bool was_syncing = state_ == SessionState::syncing;
  while (!in.empty() && backend_ != nullptr && !found_loss_) {
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
      return find_loss("the server sent a message that cannot be understood", out);
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
      if (!backend_->replies.head_is_own()) {
        out.to_client.add(in.substr(0, view.total));
      } else if (pins_question_.asked) {
        hear_about_pins(in.substr(0, view.total));
      } else if (token_) {
        hear_about_tokens(wire::Frame{view.type, in.substr(0, view.total)});
      }
      in.remove_prefix(view.total);
      continue;
    }
    const wire::Frame frame = wire::take_frame(in, view);
    const Next next = on_server_frame(frame, out);
    if (next != Next::need_input) return next;
  }
  if (state_ != SessionState::attached || backend_ == nullptr || found_loss_) {
    return Next::need_input;
  }
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
    if (own) {
      if (token_) hear_about_tokens(frame);
    } else {
      if (frame.type == be::command_complete) {
        pass_command_complete(frame, out);
      } else if (frame.type == be::empty_query_response && !replies.empty() &&
                 replies.head().kind == ReplyKind::execute && replies.head().tag != 0) {
        send_complete("DEALLOCATE", out);
      } else {
        out.to_client.add(frame.bytes);
      }
    }
    if (!replies.empty() && replies.head().kind == *answered) {
      settle(replies.head());
      replies.pop();
      flush_local_replies(out);
    }
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
      // The last words of a server process that goes for another's sake (doc/replay.md).
      if (wire::read_error(frame.body()).sqlstate.starts_with("57P")) backend_->ending = true;
      [[fallthrough]];
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
      return find_loss("the server sent a message of an unknown type", out);
  }
}

// The answer has come: what it was to change stands.
void Session::settle(const Reply& reply) {
  if (settles_statement(reply)) backend_->statements.settle();
  if (reply.named && statements_) statements_->settle();
}

// What has been said so far is to go out before anybody decides.
Next Session::find_loss(std::string_view cause, Output& out) {
  backend_->retire = true;
  if (mark_ == nullptr) return on_backend_lost(cause, out);
  found_loss_ = std::make_unique<std::string>(cause);
  return Next::need_input;
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
    return find_loss(retry::said_by_server(fields), out);
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
  if (pins_question_.asked && replies.head_is_own()) {
    pins_question_.refused = true;
    return Next::need_input;
  }

  if (token_ && is_token_error(fields)) return find_loss(retry::said_by_server(fields), out);
  const bool at_begin = begin_sent_ && !replies.empty() && replies.head().begin;
  pass_error(frame, fields, out);
  request_failed_ = true;
  const std::uint32_t dropped_requests = drop_replies();
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
    }
  }
  return Next::need_input;
}

// Words an error as it would be without dwspool: the statement named as the client names it.
void Session::pass_error(const wire::Frame& frame, const wire::ErrorFields& fields, Output& out) {
  const ReplyTracker& replies = backend_->replies;
  if (!replies.empty()) {
    const Reply& head = replies.head();
    const bool names_nobody = fields.sqlstate == wire::sqlstate::invalid_sql_statement_name ||
                              fields.sqlstate == wire::sqlstate::invalid_cursor_name;
    if (head.refused && names_nobody && specials_) {
      wire::ErrorReport report;
      report.sqlstate = wire::sqlstate::invalid_sql_statement_name;
      report.message = "prepared statement \"" + specials_->refused.front() + "\" does not exist";
      if (head.kind == ReplyKind::query) specials_->refused.pop();
      send_error(report, out);
      return;
    }
    if (fields.sqlstate == wire::sqlstate::active_sql_transaction &&
        read_only_.block == ReadOnly::Block::open) {
      send_error(not_in_read_only_report(fields.message), out);
      return;
    }
    if (fields.sqlstate == wire::sqlstate::feature_not_supported && head.tag != 0 &&
        (head.kind == ReplyKind::bind || head.kind == ReplyKind::describe)) {
      // "cached plan must not change result type": so it stays for those who prepared it.
      if (const PreparedStatement* held = backend_->statements.by_id(head.tag)) {
        held->outdated = true;
      }
    }
  }
  out.note_error(fields.sqlstate);
  static constexpr std::string_view own_name = "\"dwspool_";
  const std::string_view body = frame.body();
  const std::size_t at = body.find(own_name);
  const std::size_t end = at == std::string_view::npos ? at : body.find('"', at + 1);
  if (end == std::string_view::npos || !statements_) {
    out.to_client.add(frame.bytes);
    return;
  }
  std::string_view shown = body.substr(at + 1, end - at - 1);
  const PreparedStatement* meant = backend_->statements.named(shown);
  statements_->for_each([&](std::string_view name, const PreparedPtr& statement) {
    if (statement.get() == meant) shown = name;
  });
  std::string bytes;
  wire::MessageWriter(bytes, be::error_response)
      .bytes(body.substr(0, at + 1))
      .bytes(shown)
      .bytes(body.substr(end))
      .end();
  out.to_client.copy(bytes);
}

// The server skips what was sent up to the next Sync: takes back what counted on it. How many
// requests of the client's are among it.
std::uint32_t Session::drop_replies() {
  std::uint32_t requests = 0;
  std::size_t statements = 0;
  std::size_t names = 0;
  bool unnamed = false;
  ReplyTracker& replies = backend_->replies;
  replies.on_error([&](const Reply& reply) {
    if (settles_statement(reply)) ++statements;
    if (reply.named) ++names;
    if (reply.refused && specials_) specials_->refused.pop();
    if (reply.own) return;
    unnamed = unnamed || (reply.kind == ReplyKind::parse && reply.tag == 0);
    if (reply.kind == ReplyKind::query || reply.kind == ReplyKind::function ||
        reply.kind == ReplyKind::local_deallocate) {
      ++requests;
      if (setting_changes_) {
        static_cast<void>(setting_changes_->answered(replies.requests_done() + 1, true));
      }
    }
  });
  // What is remembered of the unnamed statement is that of the last Parse, which may be another.
  if (unnamed && !replies.owes_unnamed_parse()) drop_unnamed();
  backend_->statements.undo(statements);
  if (statements_) statements_->undo(names);
  return requests;
}

Next Session::on_ready_for_query(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  const std::optional<wire::TxStatus> status = wire::read_ready_for_query(frame.body());
  const bool own = replies.head_is_own();
  if (!status || !replies.on_ready()) {
    return find_loss("the server answered what nobody had asked", out);
  }
  backend_->status = *status;
  if (own && pins_question_.asked) {
    settle_pins();
    return replies.quiet() ? on_quiet(out) : Next::need_input;
  }
  if (own && read_only_.block != ReadOnly::Block::closing) {
    if (state_ != SessionState::syncing || --sync_pending_ > 0) return Next::need_input;
    if (*status != wire::TxStatus::idle) {
      return find_loss("the server is in a transaction that nobody has begun", out);
    }
    return finish_sync(out);
  }
  read_only_.begun = read_only_.ended = read_only_.begin_bound = false;
  if (read_only_.block == ReadOnly::Block::open && *status != wire::TxStatus::idle) {
    close_read_only_block(*status, out);  // its end is the answer's
    return Next::need_input;
  }
  if (std::exchange(read_only_.block, ReadOnly::Block::none) != ReadOnly::Block::none) {
    begin_failed_ = false;  // the client has begun none
  }
  if (context_->config.mode == PoolMode::statement && *status != wire::TxStatus::idle) {
    return refuse_block(out);
  }
  if (begin_failed_) {
    // The client believes in a transaction: for it, that has failed.
    begin_failed_ = false;
    lost_transaction_ = true;
    send_ready(wire::TxStatus::failed, out);
  } else if (discarded_) {
    ready_held_ = true;  // until the client's own defaults are back
  } else {
    out.to_client.add(frame.bytes);
    ++out.queries;
  }
  begin_sent_ = false;
  if (token_) token_->stage = CommitToken::Stage::none;
  // A COMMIT may have been sent behind what was answered. One that was answered, or skipped behind
  // an error, leaves no doubt about a transaction that is open now.
  if (may_commit_request_ <= replies.requests_done()) {
    chained_ = chained_ || (may_have_committed_ && *status != wire::TxStatus::idle);
    may_have_committed_ = false;
  }
  if (setting_changes_ && !setting_changes_->answered(replies.requests_done(), request_failed_)) {
    bind_settings();
  }
  if (unpins_ != 0 && unpin_request_ <= replies.requests_done()) {
    if (!request_failed_) pins_ &= ~unpins_;
    unpins_ = 0;
  }
  request_failed_ = false;
  if (*status == wire::TxStatus::idle) {
    if (!lost_transaction_) ++out.transactions;
    on_transaction_end();
  } else if (setting_changes_) {
    setting_changes_->on_transaction_goes_on();
  }
  if (ready_held_ && replies.empty()) return begin_sync(out);
  if (ready_held_) {
    // Something was sent behind it: the settings come with the next backend.
    ready_held_ = false;
    send_ready(wire::TxStatus::idle, out);
  }
  flush_local_replies(out);
  return *status == wire::TxStatus::idle && replies.quiet() ? on_quiet(out) : Next::need_input;
}

void Session::pass_command_complete(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  if (replies.empty() || replies.head().kind != ReplyKind::query || replies.head().tag == 0) {
    out.to_client.add(frame.bytes);
    if (watch_tags_) watch_command(wire::read_command_tag(frame.body()));
    return;
  }
  // Asked in other words than the client's: the first tag is its answer, the others are ours.
  const std::uint64_t tag = replies.head().tag;
  if (tag == QueryFix::token) {
    replies.set_head_tag(0);
    return;
  }
  if (tag == QueryFix::lost_commit) {
    replies.set_head_tag(0);
    send_complete("ROLLBACK", out);
    return;
  }
  if ((tag & first_tag_seen) != 0) return;
  replies.set_head_tag(tag | first_tag_seen);
  if (QueryFix::unpack(tag).set_to_reset) {
    send_complete("RESET", out);
  } else {
    out.to_client.add(frame.bytes);
  }
}

void Session::watch_command(std::string_view tag) {
  if (tag == "DISCARD ALL") {
    forget_statements();
    // What was sent behind it may bind the session anew.
    if (last_pin_ <= backend_->replies.requests_done() + 1) pins_ = unpins_ = 0;
    discarded_ = true;
    if (!backend_->replies.owes_unnamed_parse()) drop_unnamed();
  } else if (tag == "DEALLOCATE ALL") {
    forget_statements();
  } else if (setting_changes_) {
    setting_changes_->on_tag(tag, backend_->replies.requests_done() + 1);
  }
}

// All prepared statements are gone, but for those whose Parse was sent behind the statement that
// dropped them.
void Session::forget_statements() {
  backend_->statements.erase_confirmed();
  if (statements_) statements_->clear_settled();
}

Next Session::on_parameter_status(const wire::Frame& frame, Output& out) {
  const std::optional<wire::ParameterStatus> status = wire::read_parameter_status(frame.body());
  if (!status) {
    return find_loss("the server sent a malformed ParameterStatus", out);
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
  sent_ = backend_->replies.empty() ? Sent::nothing : Sent::work;  // pipelined behind it
  chained_ = false;
  // Portals end with their transaction; one that was bound behind it has its answer to come.
  if (specials_ && backend_->replies.empty()) specials_->portals.clear();
  watch_tags_ = watch_tags_ && !backend_->replies.empty();
  SettingChanges::Ended ended;
  if (setting_changes_) ended = setting_changes_->on_transaction_end();
  if (discarded_) {
    // The server is back at its defaults, the session at what its start-up packet asked for.
    discarded_ = false;
    wanted_ = startup_;
    backend_->applied = context_->settings.intern(SettingSet{});
    reported_mark_ = backend_->reported;
    return;
  }
  if (backend_->reported != reported_mark_) carry_reported(ended.changes);
  if (ended.unclear) bind_settings();
  if (!ended.changes.empty()) carry_changes(ended.changes);
}

// What the server has reported since this session got the backend is what the session has set:
// with the transaction over, these are its settings, whatever way they were made.
void Session::carry_reported(const std::vector<SettingChange>& followed) {
  SettingSet wanted = *wanted_;
  SettingSet applied = *backend_->applied;
  for (const auto& [name, value] : backend_->reported->entries()) {
    const std::string* before = reported_mark_ ? reported_mark_->find(name) : nullptr;
    if (before != nullptr && *before == value) continue;
    if (!is_settable(name)) {
      // Another role's session must not be handed on, unless it is known how to take it back.
      static constexpr std::string_view authorization = "session_authorization";
      if (equals_ignore_case(name, authorization) &&
          std::none_of(followed.begin(), followed.end(),
                       [](const SettingChange& change) { return change.name == authorization; })) {
        backend_->dirty = true;
      }
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
