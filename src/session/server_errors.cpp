// What the backend says of something that has failed: whose it is, how it is worded, and what goes
// with it.
#include <utility>

#include "dwspool/wire/sqlstate.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

// For what cannot run in a transaction, and so not in a READ ONLY one (see stand_in.cpp).
wire::ErrorReport not_in_read_only_report(std::string_view cause) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::read_only_sql_transaction;
  report.message = "cannot execute this statement in a read-only session";
  report.detail = cause;
  report.hint = "SET default_transaction_read_only TO off before it.";
  return report;
}

// What PostgreSQL and DWS call the function that says "cached plan must not change result type", in
// whatever language; drivers go by it. Other errors of that code come again each time.
constexpr std::string_view revalidate = "RevalidateCachedQuery";

bool is_outdated(const wire::ErrorFields& fields) {
  return fields.sqlstate == wire::sqlstate::feature_not_supported &&
         (fields.routine.empty() || fields.routine == revalidate ||
          fields.routine == "RevalidateCachedPlan");
}

}  // namespace

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
  if (state_ == SessionState::syncing && sync_pending_ <= sync_steps_.size()) {
    // As when a table is gone: whoever executes the statement hears that there is none. But what
    // could not be dropped is another client's, and whoever cancels is told that he has.
    SqlStep& step = sync_steps_[sync_steps_.size() - sync_pending_];
    step.failed = true;
    const bool drops = step.statement.text.empty();
    const bool passing = drops ? fields.sqlstate == wire::sqlstate::invalid_sql_statement_name
                               : fields.sqlstate != wire::sqlstate::query_canceled;
    if (passing) return Next::need_input;
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
  const std::uint32_t dropped_requests = drop_replies(out);
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

// "cached plan must not change result type": so it stays for those who were told what it returns;
// everybody else gets another one.
void Session::note_outdated(const Reply& reply, const wire::ErrorFields& fields) {
  const bool uses = reply.kind == ReplyKind::bind || reply.kind == ReplyKind::describe;
  if (!uses || reply.tag == 0 || !is_outdated(fields)) return;
  const PreparedStatement* held = backend_->statements.by_id(reply.tag);
  if (held == nullptr) return;
  held->outdated = true;
  met_outdated_ = !held->special && statements_ && !statements_->is_described(*held);
}

// Words an error as it would be without dwspool: the statement named as the client names it.
void Session::pass_error(const wire::Frame& frame, const wire::ErrorFields& fields, Output& out) {
  const ReplyTracker& replies = backend_->replies;
  if (!replies.empty()) {
    const Reply& head = replies.head();
    const bool names_nobody = fields.sqlstate == wire::sqlstate::invalid_sql_statement_name ||
                              fields.sqlstate == wire::sqlstate::invalid_cursor_name;
    if (head.refused && names_nobody && specials_) {
      const std::string& name = specials_->refused.front();
      const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
      wire::ErrorReport report;
      if (known != nullptr && (*known)->outdated) {
        report.sqlstate = wire::sqlstate::feature_not_supported;
        report.message = "cached plan must not change result type";
        report.routine = revalidate;
      } else {
        report.sqlstate = wire::sqlstate::invalid_sql_statement_name;
        report.message = "prepared statement \"" + name + "\" does not exist";
      }
      if (head.kind == ReplyKind::query) specials_->refused.pop();
      send_error(report, out);
      return;
    }
    if (fields.sqlstate == wire::sqlstate::active_sql_transaction &&
        read_only_.block == ReadOnly::Block::open) {
      send_error(not_in_read_only_report(fields.message), out);
      return;
    }
    note_outdated(head, fields);
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
std::uint32_t Session::drop_replies(Output& out) {
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
      settle_sql(replies.requests_done() + 1, true, out);
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

}  // namespace dwspool::session
