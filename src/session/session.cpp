// The life cycle of a session: log-in, attaching, settling, releasing, ending.
#include "dwspool/session/session.h"

#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/sql/quote.h"
#include "dwspool/wire/sqlstate.h"

namespace dwspool::session {
namespace {

// How many backends in a row may die while they are being prepared for this client.
constexpr std::uint8_t max_lost_while_syncing = 3;

}  // namespace

std::string_view to_string(SessionState state) {
  switch (state) {
    case SessionState::starting:
      return "starting";
    case SessionState::idle:
      return "idle";
    case SessionState::waiting:
      return "waiting";
    case SessionState::syncing:
      return "syncing";
    case SessionState::attached:
      return "attached";
    case SessionState::ended:
      return "ended";
  }
  return "?";
}

Session::Session(SessionContext& context, std::uint64_t number, SettingsPtr startup,
                 wire::KeyData key)
    : context_(&context),
      number_(number),
      startup_(std::move(startup)),
      wanted_(startup_),
      key_(std::move(key)) {}

Next Session::start(Output& out) {
  ReportedPtr known = context_->welcome.find(wanted_);
  if (known == nullptr) return Next::need_backend;
  set_told(std::move(known));
  send_welcome(out);
  state_ = SessionState::idle;
  return Next::need_input;
}

void Session::send_welcome(Output& out) {
  std::string bytes;
  for (const auto& [name, value] : told_->entries()) {
    wire::append_parameter_status(bytes, name, value);
  }
  wire::append_key_data(bytes, key_);
  wire::append_ready_for_query(bytes, wire::TxStatus::idle);
  out.to_client.copy(bytes);
}

Next Session::on_granted(Backend& backend, Output& out) {
  backend_ = &backend;
  backend_->dirty = backend_->retire = false;
  may_commit_request_ = last_pin_ = discard_request_ = unpin_request_ = 0;
  chained_ = false;  // requests are counted by backend
  pins_question_.wanted = pins_question_.asked = false;
  if (backend_->dialect == Dialect::dws) adopt_dialect();
  // Pointers differ although the sets are equal only behind a hand-over between workers.
  if (!same(backend_->applied, wanted_) || !same(backend_->sql_statements, sql_statements())) {
    return begin_sync(out);
  }
  return finish_attach(out);
}

Next Session::begin_sync(Output& out) {
  const std::vector<std::string> queries = switch_settings(*backend_->applied, *wanted_);
  state_ = SessionState::syncing;
  sync_steps_ = switch_statements(backend_->sql_statements, sql_statements());
  sync_pending_ = static_cast<std::uint16_t>(queries.size() + sync_steps_.size());
  if (sync_pending_ == 0) return finish_sync(out);
  std::string bytes;
  for (const std::string& query : queries) {
    wire::append_query(bytes, query);
    push(ReplyKind::query, true);
  }
  backend_->unnamed = {};
  out.to_server.copy(bytes);
  send_sql_statements(out);
  return Next::need_input;
}

Next Session::finish_sync(Output& out) {
  backend_->sql_statements = behind(std::move(backend_->sql_statements), sync_steps_);
  if (same(backend_->sql_statements, sql_statements())) {
    backend_->sql_statements = sql_statements();
  }
  sync_steps_.clear();
  if (!failure_) {
    backend_->applied = wanted_;
    lost_while_syncing_ = 0;
    return finish_attach(out);
  }
  backend_->dirty = true;  // some of the settings may have been made
  if (ready_held_) {
    ready_held_ = false;
    send_ready(wire::TxStatus::idle, out);
  }
  if (!told_) {
    const std::unique_ptr<wire::ErrorReport> failure = std::move(failure_);
    return fatal(*failure, out);
  }
  return release();  // failure_ answers the request that waits
}

Next Session::finish_attach(Output& out) {
  reported_mark_ = backend_->reported;
  state_ = SessionState::attached;
  if (!told_) {
    set_told(backend_->reported);
    context_->welcome.store(wanted_, told_);
    send_welcome(out);
    if (draining_) return drain(out);
    return release();
  }
  if (told_ != backend_->reported && !same(told_, backend_->reported)) {
    // This server differs from the last one in something that the client must know.
    std::string bytes;
    for (const auto& [name, value] : backend_->reported->entries()) {
      const std::string* told = told_->find(name);
      if (told == nullptr || *told != value) wire::append_parameter_status(bytes, name, value);
    }
    out.to_client.copy(bytes);
    set_told(backend_->reported);
  }
  if (ready_held_) {
    ready_held_ = false;
    send_ready(wire::TxStatus::idle, out);
    flush_local_replies(out);
    if (draining_) return drain(out);
    if (can_release()) return release();
  }
  return Next::need_input;
}

void Session::set_told(ReportedPtr reported) {
  told_ = std::move(reported);
  const std::string* conforming = told_->find("standard_conforming_strings");
  escapes_standard_ = conforming == nullptr || *conforming != "off";
  const std::string* encoding = told_->find("client_encoding");
  encoding_safe_ = encoding == nullptr || !sql::hides_backslash(*encoding);
}

bool Session::can_release() const {
  return context_->config.mode != PoolMode::session && pins_ == 0 && deferred_begin_.empty() &&
         backend_->status == wire::TxStatus::idle && backend_->replies.quiet();
}

Next Session::release() {
  if (backend_->replies.in_doubt()) backend_->retire = true;
  backend_ = nullptr;
  setting_changes_.reset();
  sql_changes_.clear();
  specials_.reset();
  state_ = SessionState::idle;
  return Next::release;
}

Next Session::on_acquire_failed(const wire::ErrorReport& report, Output& out) {
  if (!told_) return fatal(report, out);
  if (ready_held_) {
    // DISCARD ALL was done; what is left of it comes with the next backend.
    ready_held_ = false;
    state_ = SessionState::idle;
    send_ready(wire::TxStatus::idle, out);
    return Next::need_input;
  }
  return fail_request(report, out);
}

// The request is still at the front of the client's input; on_client answers it.
Next Session::fail_request(const wire::ErrorReport& report, Output& /*out*/) {
  failure_ = std::make_unique<wire::ErrorReport>(report);
  state_ = SessionState::idle;
  return Next::need_input;
}

Next Session::fatal(const wire::ErrorReport& report, Output& out) {
  wire::ErrorReport last = report;
  last.severity = wire::Severity::fatal;
  out.note_error(last.sqlstate);
  out.to_client.copy(wire::encode(last));
  state_ = SessionState::ended;
  return Next::close;
}

Next Session::protocol_violation(std::string_view what, Output& out) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::protocol_violation;
  report.message = what;
  return fatal(report, out);
}

Next Session::on_cancel_while_waiting(Output& out) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::query_canceled;
  report.message = "canceling statement due to user request";
  report.detail = "The statement was waiting for a connection to the database server.";
  return on_acquire_failed(report, out);
}

void Session::on_wait_notice(Output& out) const {
  if (!told_) return;  // a client that logs in expects no notice yet
  wire::ErrorReport report;
  report.severity = wire::Severity::notice;
  report.sqlstate = "00000";
  report.message = "waiting for a connection to the database server";
  out.to_client.copy(wire::encode(report));
}

wire::TxStatus Session::client_status() const {
  if (lost_transaction_ || begin_failed_) return wire::TxStatus::failed;
  if (!deferred_begin_.empty()) return wire::TxStatus::in_transaction;
  return backend_ != nullptr ? backend_->status : wire::TxStatus::idle;
}

Next Session::drain(Output& out, std::string_view why) {
  if (!draining_) drain_reason_ = why;
  draining_ = true;
  if (state_ == SessionState::ended) return Next::close;
  const bool between = state_ == SessionState::idle ||
                       (state_ == SessionState::attached && backend_->replies.quiet() &&
                        backend_->status == wire::TxStatus::idle);
  if (!between || client_stream_left_ > 0 || failure_) return Next::need_input;
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::admin_shutdown;
  report.message = "terminating connection: " + std::string(drain_reason_);
  report.hint = "Connect again.";
  return fatal(report, out);
}

wire::ErrorReport Session::session_lost_report(std::string_view cause) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::admin_shutdown;
  report.message = "the session was lost with its connection to the database server";
  report.detail = cause;
  report.hint =
      "Session state bound it to that connection. An open transaction was rolled back. Connect "
      "again.";
  return report;
}

Backend* Session::part() {
  Backend* left = backend_;
  backend_ = nullptr;
  if (left != nullptr) {
    const bool stateful = context_->config.mode == PoolMode::session || pins_ != 0;
    // What is under way may yet change the session's settings, unseen by anybody.
    if (stateful || state_ == SessionState::syncing || !left->replies.quiet()) left->dirty = true;
    // What was set in a transaction that is open ends with it; but that may have been another one.
    const bool changed = chained_ || (setting_changes_ && setting_changes_->watches()) ||
                         (reported_mark_ && left->reported != reported_mark_);
    if (changed && left->status != wire::TxStatus::idle) left->dirty = true;
    // A message that will never be complete: the server would wait for the rest.
    if (left->replies.in_doubt() || client_stream_left_ > 0) left->retire = true;
    left->unread = server_stream_left_;
    note_temporary_objects(*left);
  }
  state_ = SessionState::ended;
  return left;
}

void Session::note_temporary_objects(Backend& left) const {
  constexpr auto may_hold = bit(sql::Effect::temporary_object) | bit(sql::Effect::unclear);
  if ((pins_ & may_hold) != 0) left.holds_temporary_objects = true;
}

Next Session::on_backend_lost(std::string_view cause, Output& out) {
  Backend& lost = *backend_;
  const retry::LostWork work = lost_work();
  const bool commit_failed = token_refused();
  backend_ = nullptr;
  found_loss_.reset();
  token_.reset();
  if (state_ == SessionState::syncing && ready_held_) {
    // DISCARD ALL was done; what is left of it comes with the next backend.
    ready_held_ = false;
    sync_pending_ = 0;
    failure_.reset();
    state_ = SessionState::idle;
    send_ready(wire::TxStatus::idle, out);
    return Next::need_input;
  }
  if (state_ == SessionState::syncing) {
    // Nothing of the client's was sent: another backend will do.
    failure_.reset();
    sync_pending_ = 0;
    if (++lost_while_syncing_ < max_lost_while_syncing) {
      state_ = told_ ? SessionState::waiting : SessionState::starting;
      return Next::need_backend;
    }
    lost_while_syncing_ = 0;
    return on_acquire_failed(retry::describe(retry::Outcome::not_sent, cause), out);
  }
  if (server_stream_left_ > 0 && !server_stream_own_) {
    // The client has half of a large message: no error can be told in the middle of it.
    state_ = SessionState::ended;
    return Next::close;
  }
  server_stream_left_ = 0;
  state_ = SessionState::idle;

  const ReadOnly::Block block = std::exchange(read_only_.block, ReadOnly::Block::none);
  read_only_.begun = read_only_.ended = read_only_.begin_bound = false;
  const bool in_transaction = work.in_transaction;
  const retry::Outcome outcome = retry::judge(work);
  const bool stateful = context_->config.mode == PoolMode::session || pins_ != 0;
  wire::ErrorReport report = retry::describe(outcome, cause);
  if (stateful && outcome != retry::Outcome::in_doubt) report = session_lost_report(cause);

  const std::size_t owed = lost.replies.requests_owed();
  const bool unsynced = lost.replies.client_unsynced();
  const bool transaction_goes_on =
      in_transaction && outcome != retry::Outcome::in_doubt && !commit_failed;
  // One that was lost before stays lost, if this backend has heard nothing of the client's.
  lost_transaction_ = transaction_goes_on || (lost_transaction_ && owed == 0 && !unsynced);
  session_ended_ = stateful;
  // A BEGIN that was not sent is not lost: it goes with the next backend.
  if (stateful || owed > 0 || unsynced) deferred_begin_.clear();
  setting_changes_.reset();
  sql_changes_.clear();
  specials_.reset();
  sent_ = Sent::nothing;
  begin_sent_ = begin_failed_ = may_have_committed_ = discarded_ = false;
  pins_ = unpins_ = 0;
  drop_unnamed();
  if (statements_) statements_->undo_all();

  // All but the end of a transaction that wrote nothing was answered.
  if (block == ReadOnly::Block::closing) send_ready(client_status(), out);
  answer_open(owed, unsynced, request_failed_, report, out);
  request_failed_ = false;
  if (owed == 0 && !unsynced && (transaction_goes_on || stateful)) {
    // Nobody asks at the moment; the next request gets the answer.
    failure_ = std::make_unique<wire::ErrorReport>(std::move(report));
  }
  if (draining_ && !failure_) return drain(out);
  return Next::need_input;
}

// The one error, for each request that was under way.
void Session::answer_open(std::size_t owed, bool unsynced, bool error_told,
                          const wire::ErrorReport& report, Output& out) {
  for (std::size_t i = 0; i < owed; ++i) {
    if (!(i == 0 && error_told)) send_error(report, out);
    send_ready(client_status(), out);
  }
  if (unsynced) {
    if (owed > 0 || !error_told) send_error(report, out);
    skip_to_sync_ = true;
  }
}

// Nothing is owed and no transaction is open: what is to be done before the session goes on.
Next Session::on_quiet(Output& out) {
  if (ask_about_pins(out)) return Next::need_input;
  // A RESET that went behind the start-up packet is put right.
  if (!can_release() && backend_->applied != wanted_ && !same(backend_->applied, wanted_)) {
    return begin_sync(out);
  }
  return Next::need_input;
}

sql::Statement Session::recognize(std::string_view text) const {
  // In session mode the one thing that a backend cannot be cleaned of must be seen (Cleaner).
  const PoolMode mode = context_->config.mode;
  const bool names_matter =
      mode == PoolMode::automatic ||
      (mode == PoolMode::session && backend_ != nullptr && backend_->dialect == Dialect::dws);
  return sql::recognize(text, escapes_standard_, encoding_safe_, names_matter,
                        context_->config.pin_on.get());
}

void Session::push(ReplyKind kind, bool own, std::uint64_t tag) {
  backend_->replies.push(Reply{.kind = kind, .own = own, .tag = tag});
}

// The number by which the request that is being sent will be answered.
std::uint64_t Session::next_request() const {
  return backend_->replies.requests_done() + backend_->replies.requests_owed() + 1;
}

// A message goes out that asks for something with these effects.
void Session::note_sent(sql::Effects effects) {
  const bool begins = effects.has(sql::Effect::only_begins) && sent_ != Sent::work;
  sent_ = begins ? Sent::begin : Sent::work;
}

void Session::drop_unnamed() {
  save_unnamed();
  unnamed_.clear();
  unnamed_special_.reset();
  unnamed_effects_ = {};
  if (backend_ != nullptr) backend_->unnamed = {};
}

}  // namespace dwspool::session
