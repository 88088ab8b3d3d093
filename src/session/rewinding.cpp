// Back to where the session was at rest last, and what is to be known to run again what came since.
#include <algorithm>
#include <utility>

#include "dwspool/wire/sqlstate.h"

#include "dwspool/session/session.h"

namespace dwspool::session {

bool Session::at_rest() const {
  const bool settled = state_ == SessionState::idle ||
                       (state_ == SessionState::attached && backend_->replies.quiet() &&
                        backend_->status == wire::TxStatus::idle);
  return settled && !failure_ && !lost_transaction_ && !skip_to_sync_ && !local_rollback_ &&
         !begin_failed_ && !ready_held_ && !session_ended_ && deferred_begin_.empty() &&
         client_stream_left_ == 0 && server_stream_left_ == 0;
}

ClientStatements& Session::statements() {
  if (!statements_) {
    statements_ = std::make_unique<ClientStatements>();
    if (mark_ != nullptr) statements_->keep_journal(&mark_->statements);
  }
  return *statements_;
}

void Session::keep_mark(SessionMark* mark) {
  mark_ = mark;
  if (mark != nullptr) {
    mark->wanted = wanted_;
    mark->read_only = read_only_;
    mark->unnamed_saved = false;
    mark->statements.clear();
  }
  if (statements_) statements_->keep_journal(mark != nullptr ? &mark->statements : nullptr);
}

// The unnamed statement as it was at the mark; whatever is parsed next takes its place.
void Session::save_unnamed() {
  if (mark_ == nullptr || mark_->unnamed_saved) return;
  mark_->unnamed_saved = true;
  mark_->unnamed.clear();
  if (!unnamed_.empty()) mark_->unnamed.swap(unnamed_);
  mark_->unnamed_special = std::move(unnamed_special_);
  mark_->unnamed_effects = unnamed_effects_;
}

void Session::rewind() {
  backend_ = nullptr;
  state_ = SessionState::idle;
  draining_ = false;
  wanted_ = mark_->wanted;
  if (mark_->unnamed_saved) {
    mark_->unnamed_saved = false;
    unnamed_ = std::move(mark_->unnamed);
    mark_->unnamed.clear();
    unnamed_special_ = std::move(mark_->unnamed_special);
    unnamed_effects_ = mark_->unnamed_effects;
    ++unnamed_serial_;  // no backend holds it for sure
  }
  if (statements_) statements_->rewind();
  lost_transaction_ = skip_to_sync_ = local_rollback_ = request_failed_ = false;
  begin_sent_ = begin_failed_ = may_have_committed_ = chained_ = false;
  sent_ = Sent::nothing;
  read_only_ = mark_->read_only;
  pins_question_.wanted = pins_question_.asked = false;
  session_ended_ = watch_tags_ = discarded_ = ready_held_ = false;
  server_stream_own_ = client_stream_dropped_ = false;
  sync_pending_ = lost_while_syncing_ = 0;
  pins_ = unpins_ = 0;
  unpin_request_ = may_commit_request_ = discard_request_ = last_pin_ = 0;
  client_stream_left_ = server_stream_left_ = client_wanted_ = server_wanted_ = 0;
  deferred_begin_.clear();
  failure_.reset();
  found_loss_.reset();
  token_.reset();
  setting_changes_.reset();
  sql_changes_.clear();
  specials_.reset();
}

void Session::give_up(const OpenRequests& open, const wire::ErrorReport& report,
                      std::unique_ptr<ClientStatements> statements, Output& out) {
  statements_ = std::move(statements);
  lost_transaction_ = open.transaction;
  client_stream_left_ = open.unread;
  client_stream_dropped_ = true;
  drop_unnamed();
  session_ended_ = open.stateful;
  const bool says_all = !open.stateful ||
                        report.sqlstate == wire::sqlstate::transaction_resolution_unknown ||
                        report.sqlstate == wire::sqlstate::query_canceled;
  const wire::ErrorReport& told = says_all ? report : session_lost_report(report.detail);
  // Up to the end of the transaction, and what is behind it.
  const std::size_t within = std::min(open.owed, open.ends_at);
  answer_open(within, open.unsynced && within == open.owed, open.error_told, told, out);
  if (within < open.owed) {
    lost_transaction_ = false;
    answer_open(open.owed - within, open.unsynced, open.error_told && within == 0, told, out);
  }
  if (open.owed == 0 && !open.unsynced && (open.transaction || open.stateful)) {
    // Nobody asks at the moment; the next request gets the answer.
    failure_ = std::make_unique<wire::ErrorReport>(told);
  }
}

bool Session::in_transaction() const {
  const bool guarded = read_only_.block != ReadOnly::Block::none;
  return !guarded && (begin_sent_ || begin_failed_ || backend_->status != wire::TxStatus::idle);
}

retry::LostWork Session::lost_work() const {
  const bool guarded = read_only_.block != ReadOnly::Block::none;
  return {.sent = sent_ != Sent::nothing,
          .in_transaction = in_transaction(),
          .may_have_committed = may_have_committed_,
          .commits_nothing = guarded || sent_ == Sent::begin || token_refused()};
}

std::unique_ptr<ClientStatements> Session::settled_statements() const {
  if (!statements_) return nullptr;
  auto copy = std::make_unique<ClientStatements>(*statements_);
  copy->keep_journal(nullptr);
  copy->undo_all();
  return copy;
}

const PreparedStatement* Session::statement(std::string_view name) const {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  return known != nullptr ? known->get() : nullptr;
}

}  // namespace dwspool::session
