// What the backend sends: passed to the client, or kept because dwspool asked.
#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"

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
  met_outdated_ = false;
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
                 replies.head().kind == ReplyKind::execute &&
                 (replies.head().tag & ExecuteFix::deallocates) != 0) {
        send_complete("DEALLOCATE", out);
      } else {
        out.to_client.add(frame.bytes);
      }
      if (!replies.empty() && replies.head().kind == ReplyKind::describe &&
          replies.head().tag != 0 && statements_) {
        statements_->note_described(replies.head().tag);
      }
    }
    if (!replies.empty() && replies.head().kind == *answered) {
      settle(replies.head(), out);
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
void Session::settle(const Reply& reply, Output& out) {
  if (settles_statement(reply)) backend_->statements.settle();
  if (reply.named && statements_) statements_->settle();
  const bool execute = reply.kind == ReplyKind::execute;
  if (execute && (reply.tag & ExecuteFix::changes_sql) != 0) make_sql_change(out);
}

// What has been said so far is to go out before anybody decides.
Next Session::find_loss(std::string_view cause, Output& out) {
  backend_->retire = true;
  if (mark_ == nullptr) return on_backend_lost(cause, out);
  found_loss_ = std::make_unique<std::string>(cause);
  return Next::need_input;
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
  if (!sql_changes_.empty()) settle_sql(replies.requests_done(), request_failed_, out);
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
  backend_->sql_statements.reset();
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
  if (equals_ignore_case(status->name, "client_encoding") ||
      equals_ignore_case(status->name, "standard_conforming_strings")) {
    bind_sql_statements();
  }
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
