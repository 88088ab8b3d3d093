// Run again, compared with what the client knows, and handed over to it.
#include <algorithm>
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/retry/unit_log.h"

#include "dwspool/session/replayed_session.h"

#include "session/detach.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;
using retry::ReplayResult;

// In [0, 1); so that those who failed together do not come back together.
double next_random(std::uint64_t& state) {
  state ^= state << 13U;
  state ^= state >> 7U;
  state ^= state << 17U;
  return static_cast<double>(state >> 11U) * 0x1.0p-53;
}

wire::ErrorReport canceled_report() {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::query_canceled;
  report.message = "canceling statement due to user request";
  report.detail = "The statement was waiting to be run again after a failure of the server.";
  return report;
}

}  // namespace

// --- Attempts ------------------------------------------------------------------------------------

// Back to the beginning, and after a pause forward again. `next`: release when the shell has a
// backend to take back.
Next ReplayedSession::try_again(bool lost, Next next, Output& out, TimePoint now) {
  Run& run = *run_;
  if (lost) {
    ++run.losses;
  } else {
    ++run.refusals;
  }
  next = leave_backend(next, lost);
  if (run.fed > 0 && passes_on()) {  // the client knows that much more now
    run.statements = session_.settled_statements();
    recording_->transcript = std::move(run.again);
  }
  rewind();
  run.again.clear();
  run.fed = run.units_fed = 0;
  if (run.takes_down) {
    run.report.hint +=
        " Its server was lost each time that it was run again: look into that server's log.";
    return give_up(run.report, ReplayResult::quarantined, next, out, now);
  }
  if (!run.dormant && now >= run.ends) {
    return give_up(run.report, ReplayResult::deadline, next, out, now);
  }
  if (run.losses > replay_->options.attempts) {
    return give_up(run.report, ReplayResult::attempts, next, out, now);
  }
  run.asked = false;
  phase_ = Phase::pausing;
  // Nothing has to recover before a statement can be prepared anew.
  const bool outdated =
      run.failure == retry::Failure::outdated && run.losses == 0 && run.refusals <= most_outdated;
  const bool at_once = outdated || (lost && run.losses == 1 && run.refusals == 0);
  const Duration pause =
      at_once ? Duration::zero() : run.backoff.next(next_random(replay_->random));
  run.resumes = now + pause;
  if (!run.dormant && !outdated && replay_->moderator) {
    run.resumes = std::max(run.resumes, replay_->moderator->next_attempt(now));
  }
  deadline_ = run.dormant ? never : std::min(run.resumes, run.ends);
  return next;
}

Next ReplayedSession::leave_backend(Next next, bool retire) {
  if (!session_.attached()) return next;
  if (next == Next::need_input && retire && !session_.has_found_loss()) return next;  // it is gone
  Backend* left = session_.part();
  if (left != nullptr && retire) left->retire = true;
  return Next::release;
}

void ReplayedSession::rewind() {
  if (!replay_->safeties.rewinds) {
    recording_->mark.wanted = session_.wanted_settings();
    recording_->mark.statements.clear();
  }
  draining_ = draining_ || session_.draining();
  session_.rewind();
}

Next ReplayedSession::on_client_in_run(bool has_input, Output& out, TimePoint now) {
  Run& run = *run_;
  if (run.dormant) {
    if (!has_input) return Next::need_input;
    run.dormant = false;
    run.started = run.resumes = now;
    run.ends = deadline_after(now, replay_->options.deadline_for(dialect_));
    if (!may_wait(now)) {
      return give_up(run.report, ReplayResult::no_backend, Next::need_input, out, now);
    }
  }
  if (phase_ == Phase::pausing) {
    if (now < run.resumes) return Next::need_input;
    phase_ = Phase::replaying;
    deadline_ = run.ends;
  }
  return pump(out, now);
}

// Whether what is being said again changes something for good, even if nobody hears its answer.
bool ReplayedSession::may_take_effect(TimePoint now) const {
  if (phase_ != Phase::replaying || !session_.attached() ||
      session_.state() == SessionState::syncing ||
      retry::judge(session_.lost_work()) != retry::Outcome::in_doubt) {
    return false;
  }
  const retry::Transcript& again = run_->again;
  const retry::Decision decision =
      judge(retry::Failure::in_doubt, false, again, again.current().completed);
  if (decision.verdict != retry::Verdict::replay_if_reads) {
    return decision.verdict == retry::Verdict::unknown_outcome;
  }
  retry::CatalogNames missing;
  return replay_->catalog.harmless(catalog_scope(), names_in_log(run_->fed), now, missing) != true;
}

Next ReplayedSession::on_timer_in_run(Output& out, TimePoint now) {
  if (now >= run_->ends) {
    const wire::ErrorReport report = may_take_effect(now)
                                         ? retry::describe(retry::Outcome::in_doubt, run_->cause)
                                         : run_->report;
    const Next next = leave_backend(Next::need_input, false);
    return give_up(report, ReplayResult::deadline, next, out, now);
  }
  return on_client_in_run(false, out, now);
}

// --- The log, said once more ---------------------------------------------------------------------

// Feeds the log, a unit at a time: what comes behind other results than before must not run.
Next ReplayedSession::pump(Output& out, TimePoint now) {
  while (phase_ == Phase::replaying) {
    Run& run = *run_;
    if (run.fed > 0) forget_finished();
    if (run.fed == 0) {
      Next next = Next::need_input;
      if (!run.token.empty()) {
        ask_outcome(next, out);
        return next;
      }
      if (run.fence.port != 0) {
        ask_fence(next, out, now);
        return next;
      }
      if (!prove(next, out, now)) return next;
    }
    const std::string_view left = std::string_view(recording_->log).substr(run.fed);
    if (left.empty()) {
      if (caught_up()) finish_run(out, now);
      return Next::need_input;
    }
    const retry::LogPiece piece = retry::first_piece(left);
    if (piece.kind == retry::LogPiece::Kind::copy) {
      const bool copying = session_.attached() && session_.backend()->replies.copy_in();
      if (!copying && run.again.units().size() < run.units_fed) return Next::need_input;
    } else if (run.again.units().size() < run.units_fed) {
      return Next::need_input;
    }
    std::string_view in = piece.bytes;
    const std::size_t mark = out.to_client.size();
    const std::size_t server_mark = out.to_server.size();
    Next next = feed(in, std::string_view(recording_->log).substr(0, run.fed), out, now);
    detach(out.to_server, server_mark);
    const std::size_t fed = piece.bytes.size() - in.size();
    run.fed += fed;
    if (in.empty() && piece.kind == retry::LogPiece::Kind::unit) ++run.units_fed;
    next = compare(out, mark, next, now);
    if (next != Next::need_input || fed == 0) return next;
  }
  return Next::need_input;
}

// --- Comparing -----------------------------------------------------------------------------------

// Whether all that the client knows has come again, so that it hears what comes now.
bool ReplayedSession::passes_on() const {
  const retry::Transcript& told = transcript();
  const retry::Transcript& again = run_->again;
  if (again.units().size() != told.units().size()) {
    return again.units().size() > told.units().size();
  }
  return again.current().messages >= told.current().messages;
}

bool ReplayedSession::caught_up() const {
  return run_->fed == recording_->log.size() && run_->again.large_left() == 0 && passes_on();
}

// Rows that come in no defined order may come in another one.
bool ReplayedSession::same_unit(std::size_t i) const {
  const retry::UnitDigest& told = transcript().units()[i];
  const retry::UnitDigest& again = run_->again.units()[i];
  if (told.ordered == again.ordered) return true;
  if (told.unordered != again.unordered) return false;
  const std::vector<UnitFacts> units = facts_of_log(recording_->log.size());
  if (i >= units.size()) return false;
  for (const std::optional<retry::TextFacts>& facts : units[i]) {
    if (!facts || !facts->understood) return false;
    for (const retry::StatementFacts& statement : facts->statements) {
      if (statement.ordered) return false;
    }
  }
  return true;
}

// After a message: false when what has come again by now is not what the client was told.
bool ReplayedSession::compare_last() {
  if (!replay_->safeties.compares) return true;
  const retry::Transcript& told = transcript();
  const retry::Transcript& again = run_->again;
  const std::size_t units = again.units().size();
  if (again.current().messages == 0 && units > 0 && units <= told.units().size()) {
    return same_unit(units - 1);
  }
  // Its end has come before all that was told of it.
  if (units > told.units().size()) return false;
  if (units < told.units().size()) return true;
  return again.current().messages != told.current().messages ||
         again.current().ordered == told.current().ordered;
}

// What stands behind `mark` would go to the client; only what is new to it does.
Next ReplayedSession::compare(Output& out, std::size_t mark, Next next, TimePoint now) {
  if (phase_ == Phase::live || next == Next::close) return next;
  std::vector<std::string_view> pieces;
  out.to_client.for_each_from(mark, [&](std::string_view bytes) { pieces.push_back(bytes); });
  out.to_client.truncate(mark);
  std::optional<std::size_t> live_from;
  std::size_t large_left = run_->again.large_left();
  for (const std::string_view bytes : pieces) {
    const std::size_t rest = std::min(large_left, bytes.size());
    large_left -= rest;
    out.count_answers(bytes.substr(rest), false);
  }
  for (std::string_view bytes : pieces) {
    if (phase_ == Phase::asking) {
      next = !run_->token.empty()    ? hear_outcome(bytes, next, out, now)
             : run_->fence.port != 0 ? hear_fence(bytes, next)
                                     : hear_catalog(bytes, next, out, now);
      if (phase_ != Phase::asking) return next;
      continue;
    }
    while (!bytes.empty()) {
      if (phase_ == Phase::live) {
        if (!live_from) live_from = out.to_client.size();
        out.count_answers(bytes, true);
        out.to_client.add(bytes);
        break;
      }
      Run& run = *run_;
      const bool known = !passes_on();
      std::string_view message = bytes;
      if (run.again.large_left() > 0) {
        message = bytes.substr(0, run.again.large_left());
        run.again.add_rest(message);
        if (known && run.again.large_left() == 0 && !compare_last()) {
          return give_up_on_mismatch(next, out, now);
        }
        if (!known) out.to_client.add(message);
        bytes.remove_prefix(message.size());
        if (caught_up()) finish_run(out, now);
        continue;
      }
      const wire::FrameView view = wire::peek_frame(bytes);
      if (view.status != wire::FrameStatus::complete) {
        run.again.begin_large(view.type, bytes.substr(wire::header_size),
                              view.total - bytes.size());
        if (!known) out.to_client.add(bytes);
        break;
      }
      const wire::Frame frame = wire::take_frame(bytes, view);
      if (frame.type == be::error_response) {
        if (const auto taken = take_error_again(frame, next, out, now)) return *taken;
      }
      if (frame.type == be::parameter_status) continue;  // told at the end, if it is news
      if (!retry::is_seen(frame.type)) {
        if (!known) out.to_client.add(frame.bytes);
        continue;
      }
      run.again.add(frame.type, frame.body());
      if (known) {
        if (!compare_last()) return give_up_on_mismatch(next, out, now);
      } else {
        if (frame.type == be::error_response && !comes_again(wire::read_error(frame.body()))) {
          recording_->unrepeatable = true;
        }
        out.count_answers(frame.bytes, true);
        out.to_client.add(frame.bytes);
      }
      if (caught_up()) finish_run(out, now);
    }
  }
  if (phase_ == Phase::replaying && caught_up()) finish_run(out, now);
  if (live_from) next = go_live(out, *live_from, next, now);
  if (phase_ == Phase::live && draining_) {
    const Next drained = session_.drain(out);
    if (drained != Next::need_input) return drained;
  }
  return next;
}

// What stands behind `mark` came in one piece with the last of what the client knew: the cluster
// may refuse in it once more, or the session be at rest.
Next ReplayedSession::go_live(Output& out, std::size_t mark, Next next, TimePoint now) {
  if (const auto taken = take_error(out, mark, now)) return *taken;
  if (session_.at_rest() && !session_.has_found_loss()) {
    end_effort(out, now);
    end_recording();
    return next;
  }
  const std::size_t answered = transcript().units().size();
  observe(out, mark);
  if (transcript().units().size() != answered) end_effort(out, now);
  if (copies_by_execute()) stop_recording(retry::Refusal::copy, out);
  return next;
}

// The cluster has not recovered yet, or breaks once more. Nothing when it is an error like any
// other.
std::optional<Next> ReplayedSession::take_error_again(const wire::Frame& frame, Next next,
                                                      Output& out, TimePoint now) {
  const wire::ErrorFields fields = wire::read_error(frame.body());
  const retry::Failure failure = failure_of(fields);
  if (failure == retry::Failure::none) return {};
  const bool outdated = failure == retry::Failure::outdated;
  bool in_transaction = false;
  if (session_.attached()) {
    const retry::LostWork work = session_.lost_work();
    in_transaction = session_.in_transaction() && !work.may_have_committed;
  }
  const retry::Transcript& again = run_->again;
  const retry::Decision decision = judge(failure, in_transaction, again, again.current().completed);
  if (outdated && decision.verdict != retry::Verdict::replay) return {};
  if (passes_on()) run_->in_transaction = in_transaction;
  switch (decision.verdict) {
    case retry::Verdict::replay_if_reads:
      run_->must_read = std::max(run_->must_read, run_->fed);
      if (failure == retry::Failure::doubtful) {
        run_->report = retry::describe(retry::Outcome::in_doubt, retry::said_by_server(fields));
      }
      [[fallthrough]];
    case retry::Verdict::replay:
      return try_again(false, next, out, now);
    case retry::Verdict::unknown_outcome:
      if (alone_ && failure == retry::Failure::doubtful) {
        return settle_loss(retry::said_by_server(fields), next, out, now);
      }
      return give_up(retry::describe(retry::Outcome::in_doubt, retry::said_by_server(fields)),
                     ReplayResult::in_doubt, next, out, now);
    case retry::Verdict::pass:
      break;
  }
  return give_up(run_->report, ReplayResult::refused_again, next, out, now);
}

// --- The end -------------------------------------------------------------------------------------

// From here on the client hears everything.
void ReplayedSession::finish_run(Output& out, TimePoint now) {
  tell_parameters(out);
  effort_ =
      Effort{note_of_run(ReplayResult::masked, now), run_->started, run_->ends, run_->backoff};
  recording_->transcript = std::move(run_->again);
  run_.reset();
  phase_ = Phase::live;
  deadline_ = never;
}

// What the client does not know of this server yet.
void ReplayedSession::tell_parameters(Output& out) const {
  std::string bytes;
  for (const auto& [name, value] : session_.told()->entries()) {
    const std::string* told = run_->told ? run_->told->find(name) : nullptr;
    if (told == nullptr || *told != value) wire::append_parameter_status(bytes, name, value);
  }
  out.to_client.copy(bytes);
}

ReplayNote ReplayedSession::note_of_run(ReplayResult result, TimePoint now) {
  ReplayNote note;
  note.failure = run_->failure;
  note.result = result;
  note.statement = run_->statement;
  note.losses = run_->losses;
  note.refusals = run_->refusals;
  note.took = now - run_->started;
  note.cause = std::move(run_->cause);
  if (run_->settled) note.verdict = run_->verdict;
  return note;
}

void ReplayedSession::abandon_run() {
  run_.reset();
  end_recording();
  phase_ = Phase::live;
  deadline_ = never;
}

Next ReplayedSession::give_up_on_mismatch(Next next, Output& out, TimePoint now) {
  run_->again.clear();  // nothing of it was told to anybody
  if (cancelled_) return give_up(canceled_report(), ReplayResult::canceled, next, out, now);
  wire::ErrorReport report;
  report.detail = run_->cause;
  // A COMMIT on its way is no part of the transaction any more; what was answered before it is.
  if (run_->in_transaction || !transcript().units().empty()) {
    report.sqlstate = wire::sqlstate::serialization_failure;
    report.message =
        "the transaction was lost and run again, with other results than the application has seen";
    report.hint = "Nothing of it was committed. Roll back, then run the transaction again.";
  } else {
    report.sqlstate = wire::sqlstate::connection_failure;
    report.message =
        "the connection to the database server was lost in the middle of a result, and the result "
        "is not the same any more";
    report.hint = "Run the query again.";
  }
  return give_up(report, ReplayResult::mismatch, next, out, now);
}

// Whether it is in one, and has not asked for its end yet.
bool ReplayedSession::client_in_transaction() const {
  const bool ending = session_.attached() && session_.may_have_committed();
  return !ending && session_.client_status() != wire::TxStatus::idle;
}

Next ReplayedSession::give_up(const wire::ErrorReport& report, ReplayResult result, Next next,
                              Output& out, TimePoint now) {
  if (run_->fed > 0) forget_finished();
  const bool knows_all = run_->fed > 0 && passes_on();
  if (knows_all) run_->in_transaction = client_in_transaction();
  next = leave_backend(next, false);
  if (knows_all) run_->statements = session_.settled_statements();
  OpenRequests open = open_requests();
  // Who does not ask for anything at the moment has a transaction that is surely lost, or was run
  // again without his knowing; he is told when he asks.
  const bool asked = open.owed > 0 || open.unsynced;
  const bool unknown = report.sqlstate == wire::sqlstate::transaction_resolution_unknown;
  if (asked && (unknown || recording_->ends)) open.transaction = false;
  out.replays.push_back(note_of_run(result, now));
  rewind();
  std::unique_ptr<ClientStatements> statements = std::move(run_->statements);
  if (!statements) statements = session_.settled_statements();
  const std::unique_ptr<Run> over = std::move(run_);  // the report may stand in it
  end_recording();
  phase_ = Phase::live;
  deadline_ = never;
  session_.give_up(open, report, std::move(statements), out);
  if (draining_) {
    const Next drained = session_.drain(out, drain_reason_);
    if (drained != Next::need_input) return drained;
  }
  return next == Next::need_backend ? Next::need_input : next;
}

Next ReplayedSession::on_acquire_failed(const wire::ErrorReport& report, Output& out,
                                        TimePoint now) {
  if (phase_ == Phase::live) return session_.on_acquire_failed(report, out);
  wire::ErrorReport told = run_->report;
  told.detail = report.message + (told.detail.empty() ? "" : ". Before that: " + told.detail);
  return give_up(told, ReplayResult::no_backend, Next::need_input, out, now);
}

Next ReplayedSession::on_cancel_while_waiting(Output& out, TimePoint now) {
  if (phase_ == Phase::live) return session_.on_cancel_while_waiting(out);
  // What may have taken effect did not fail because somebody wished so.
  const bool doubtful = (run_->must_read > 0 || !run_->token.empty()) &&
                        run_->report.sqlstate == wire::sqlstate::transaction_resolution_unknown;
  return give_up(doubtful ? run_->report : canceled_report(), ReplayResult::canceled,
                 Next::need_input, out, now);
}

}  // namespace dwspool::session
