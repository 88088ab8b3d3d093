// Answers that dwspool gives itself: to a bare BEGIN and what may follow it before a backend is
// needed, in a transaction that was lost, and for statements that a backend holds already.
#include <string>
#include <utility>

#include "dwspool/wire/sqlstate.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

wire::ErrorReport failed_transaction_report() {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::in_failed_sql_transaction;
  report.message =
      "current transaction is aborted, commands ignored until end of transaction block";
  return report;
}

// Whether the message is about another statement than the unnamed one that was there before.
bool begins_another(const wire::Frame& frame) {
  if (frame.type == wire::frontend::parse) return true;
  if (frame.type == wire::frontend::bind) {
    const auto prefix = wire::read_bind_prefix(frame.body());
    return prefix && !prefix->statement.empty();
  }
  if (frame.type != wire::frontend::describe) return false;
  const auto target = wire::read_target(frame.body());
  return target && target->kind == 'S' && !target->name.empty();
}

}  // namespace

void Session::send_ready(wire::TxStatus status, Output& out) {
  std::string bytes;
  wire::append_ready_for_query(bytes, status);
  out.to_client.copy(bytes);
  ++out.queries;
  if (status == wire::TxStatus::idle) ++out.transactions;
}

void Session::send_error(const wire::ErrorReport& report, Output& out) {
  out.note_error(report.sqlstate);
  out.to_client.copy(wire::encode(report));
}

void Session::send_complete(std::string_view tag, Output& out) {
  std::string bytes;
  wire::append_command_complete(bytes, tag);
  out.to_client.copy(bytes);
}

// A simple Query that needs no backend. False when it does.
bool Session::answer_query_locally(const wire::Frame& /*frame*/, const sql::Statement& statement,
                                   Output& out) {
  if (failure_) {
    const std::unique_ptr<wire::ErrorReport> failure = std::move(failure_);
    if (lost_transaction_ && statement.is_only(sql::StatementKind::rollback)) {
      return answer_in_lost_transaction(statement, out);
    }
    if (!deferred_begin_.empty()) {
      // The transaction never began; for the client it has failed.
      deferred_begin_.clear();
      lost_transaction_ = true;
    }
    if (statement.is_only(sql::StatementKind::commit)) lost_transaction_ = false;
    send_error(*failure, out);
    send_ready(client_status(), out);
    return true;
  }
  if (lost_transaction_) return answer_in_lost_transaction(statement, out);

  const bool quiet = backend_ == nullptr ||
                     (backend_->replies.quiet() && backend_->status == wire::TxStatus::idle);
  if (!quiet || !context_->config.defer_begin) return false;
  if (deferred_begin_.empty()) {
    return statement.is_only(sql::StatementKind::begin);  // the caller keeps the text
  }
  if (statement.is_only(sql::StatementKind::commit) ||
      statement.is_only(sql::StatementKind::rollback)) {
    deferred_begin_.clear();
    send_complete(statement.kind == sql::StatementKind::commit ? "COMMIT" : "ROLLBACK", out);
    send_ready(wire::TxStatus::idle, out);
    return true;
  }
  return false;
}

// pool_mode statement: the transaction that this request has begun is rolled back, with the
// backend's return. What the client has sent behind it counts on a transaction.
Next Session::refuse_block(Output& out) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::feature_not_supported;
  report.message = "transaction blocks are not allowed in pool_mode statement";
  report.detail = "It was rolled back.";
  report.hint = "Use autocommit, or another pool_mode.";
  if (!backend_->replies.quiet()) return fatal(report, out);
  if (!std::exchange(request_failed_, false)) send_error(report, out);
  send_ready(wire::TxStatus::idle, out);
  sent_ = Sent::nothing;
  may_have_committed_ = watch_tags_ = discarded_ = begin_sent_ = false;
  unpins_ = 0;
  backend_->dirty = true;
  return release();
}

// Until the client has seen its lost transaction end, nothing runs (25P02), as on the server.
// False when the text goes on behind the end of the transaction: that part needs a backend.
bool Session::answer_in_lost_transaction(const sql::Statement& statement, Output& out) {
  const bool ends = statement.kind == sql::StatementKind::commit ||
                    statement.kind == sql::StatementKind::rollback;
  if (statement.is_only(sql::StatementKind::empty)) {
    std::string bytes;
    wire::append_empty(bytes, wire::backend::empty_query_response);
    out.to_client.copy(bytes);
    send_ready(wire::TxStatus::failed, out);
    return true;
  }
  if (!ends) {
    send_error(failed_transaction_report(), out);
    send_ready(wire::TxStatus::failed, out);
    return true;
  }
  if (!statement.single) return false;
  lost_transaction_ = false;
  send_complete("ROLLBACK", out);
  send_ready(wire::TxStatus::idle, out);
  return true;
}

void Session::flush_local_replies(Output& out) {
  ReplyTracker& replies = backend_->replies;
  while (!replies.empty() && is_local(replies.head().kind)) {
    std::string bytes;
    switch (replies.head().kind) {
      case ReplyKind::local_parse_complete:
        wire::append_empty(bytes, wire::backend::parse_complete);
        break;
      case ReplyKind::local_close_complete:
        wire::append_empty(bytes, wire::backend::close_complete);
        break;
      case ReplyKind::local_deallocate:
        wire::append_command_complete(bytes, "DEALLOCATE");
        wire::append_ready_for_query(bytes, backend_->status);
        ++out.queries;
        if (backend_->status == wire::TxStatus::idle) ++out.transactions;
        break;
      case ReplyKind::copy_end:
      case ReplyKind::query:
      case ReplyKind::function:
      case ReplyKind::parse:
      case ReplyKind::bind:
      case ReplyKind::describe:
      case ReplyKind::execute:
      case ReplyKind::close:
      case ReplyKind::sync:
        break;
    }
    out.to_client.copy(bytes);
    settle(replies.head(), out);
    replies.pop();
  }
}

bool Session::ends_transaction(std::string_view text) const {
  const sql::Statement statement = recognize(text);
  return statement.is_only(sql::StatementKind::rollback) ||
         statement.is_only(sql::StatementKind::commit);
}

// Describe of a prepared statement that does.
bool Session::ends_by_name(const wire::Frame& frame) const {
  const auto target = wire::read_target(frame.body());
  if (!target || target->kind != 'S' || !statements_) return false;
  const PreparedPtr* known = statements_->find(target->name);
  return known != nullptr && ends_transaction((*known)->query);
}

// Some drivers prepare COMMIT and ROLLBACK under names. False when the name is taken, or cannot be
// followed to a backend.
bool Session::keep_statement(const wire::ParseMessage& message) {
  if (message.name.empty()) return true;
  if (context_->config.mode == PoolMode::session) return false;
  if (statements_ && statements_->find(message.name) != nullptr) return false;
  statements().set(message.name, context_->statements.intern(
                                     shared_scope(), message.query, message.types,
                                     [this](std::string_view query) { return recognize(query); }));
  statements_->settle();
  return true;
}

// False when the message is malformed.
bool Session::close_locally(const wire::Frame& frame) {
  const auto target = wire::read_target(frame.body());
  if (!target) return false;
  if (target->kind != 'S') return true;
  if (target->name.empty()) drop_unnamed();
  if (statements_) {
    statements_->erase(target->name);
    statements_->settle();
  }
  return true;
}

// Messages of the extended protocol that need no backend: all of them once an error has been
// answered (up to Sync) or the transaction is lost, and Close and Sync at any time.
Next Session::on_extended_locally(const wire::Frame& frame, Output& out, bool& consumed) {
  std::string bytes;
  if (frame.type == wire::frontend::sync) {
    skip_to_sync_ = local_rollback_ = false;
    send_ready(client_status(), out);
    return Next::need_input;
  }
  if (skip_to_sync_ || frame.type == wire::frontend::flush) return Next::need_input;
  if (failure_) {
    const std::unique_ptr<wire::ErrorReport> failure = std::move(failure_);
    if (!deferred_begin_.empty()) {
      deferred_begin_.clear();
      lost_transaction_ = true;
    }
    send_error(*failure, out);
    skip_to_sync_ = true;
    return Next::need_input;
  }
  if (local_rollback_ && !lost_transaction_ && begins_another(frame)) {
    local_rollback_ = false;  // the transaction is over; what is behind its end runs
    return backend_ == nullptr ? need_backend(consumed) : on_extended(frame, out, consumed);
  }
  if (lost_transaction_ || local_rollback_) {
    switch (frame.type) {
      case wire::frontend::parse: {
        const auto message = wire::read_parse(frame.body());
        if (message && ends_transaction(message->query) && keep_statement(*message)) {
          local_rollback_ = local_rollback_ || message->name.empty();
          wire::append_empty(bytes, wire::backend::parse_complete);
        }
        break;
      }
      case wire::frontend::bind: {
        const auto prefix = wire::read_bind_prefix(frame.body());
        const PreparedPtr* known =
            prefix && statements_ ? statements_->find(prefix->statement) : nullptr;
        if (known != nullptr && ends_transaction((*known)->query)) local_rollback_ = true;
        if (local_rollback_) wire::append_empty(bytes, wire::backend::bind_complete);
        break;
      }
      case wire::frontend::describe:
        if (local_rollback_ || ends_by_name(frame)) {
          if (frame.body().starts_with('S')) {
            wire::MessageWriter(bytes, wire::backend::parameter_description).u16(0).end();
          }
          wire::append_empty(bytes, wire::backend::no_data);
        }
        break;
      case wire::frontend::execute:
        if (local_rollback_) {
          lost_transaction_ = false;
          wire::append_command_complete(bytes, "ROLLBACK");
        }
        break;
      case wire::frontend::close:
        if (close_locally(frame)) wire::append_empty(bytes, wire::backend::close_complete);
        break;
      default:
        break;
    }
    if (bytes.empty()) {
      send_error(failed_transaction_report(), out);
      skip_to_sync_ = true;
    }
    out.to_client.copy(bytes);
    return Next::need_input;
  }
  if (frame.type == wire::frontend::close && close_locally(frame)) {
    wire::append_empty(bytes, wire::backend::close_complete);
    out.to_client.copy(bytes);
    return Next::need_input;
  }
  return need_backend(consumed);
}

}  // namespace dwspool::session
