// Something has failed: may it be run again?
#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/sql/statement.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/retry/unit_log.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

// Whether a server that reports this writes, so that its 25006 is what the client has asked for.
bool writes(const ReportedSet& told, const SettingSet& wanted) {
  const std::string* standby = told.find("in_hot_standby");
  const std::string* read_only = told.find("default_transaction_read_only");
  if (standby == nullptr || read_only == nullptr || *standby != "off") return false;
  return *read_only == "off" || wanted.find("default_transaction_read_only") != nullptr;
}

bool counts_as_completed(char type) {
  return type == be::command_complete || type == be::empty_query_response ||
         type == be::portal_suspended;
}

// A simple Query.
bool commits_only(std::string_view unit) {
  const wire::FrameView view = wire::peek_frame(unit);
  if (view.type != wire::frontend::query || view.total != unit.size()) return false;
  const auto text = wire::read_query(wire::take_frame(unit, view).body());
  return text && sql::recognize(*text).is_only(sql::StatementKind::commit);
}

}  // namespace

// What an error says about the cluster; `none` when it is about the statement.
retry::Failure ReplayedSession::failure_of(const wire::ErrorFields& fields) const {
  if (session_.met_outdated() && fields.sqlstate == wire::sqlstate::feature_not_supported) {
    const std::uint32_t before = run_ ? run_->refusals : effort_ ? effort_->note.refusals : 0;
    return before < most_outdated ? retry::Failure::outdated : retry::Failure::none;
  }
  switch (replay_->errors.meaning(fields, dialect_)) {
    case retry::ErrorMeaning::refused:
      return retry::Failure::refused;
    case retry::ErrorMeaning::doubtful:
      return retry::Failure::doubtful;
    case retry::ErrorMeaning::read_only:
      return replay_->options.needs_primary && dialect_ != Dialect::dws &&
                     !writes(*session_.told(), *session_.wanted_settings())
                 ? retry::Failure::read_only
                 : retry::Failure::none;
    case retry::ErrorMeaning::ordinary:
      break;
  }
  return retry::Failure::none;
}

// Whether the same error is to be expected of another run: not of one that somebody has asked for,
// or that the state of the cluster has brought about.
bool ReplayedSession::comes_again(const wire::ErrorFields& fields) const {
  constexpr std::array<std::string_view, 5> passing = {"40", "53", "57", "58", "XX"};
  const bool of_statement =
      std::none_of(passing.begin(), passing.end(),
                   [&](std::string_view each) { return fields.sqlstate.starts_with(each); });
  return of_statement && replay_->errors.meaning(fields, dialect_) == retry::ErrorMeaning::ordinary;
}

// An ErrorResponse is among what stands behind `mark`. Nothing when it goes its way, perhaps in
// other words.
std::optional<Next> ReplayedSession::take_error(Output& out, std::size_t mark, TimePoint now) {
  const Recording& recording = *recording_;
  const retry::Transcript& told = transcript();
  std::size_t completed = told.current().completed;
  std::size_t answered = told.units().size();
  std::size_t offset = mark;
  std::size_t behind = 0;
  wire::ErrorFields fields;
  bool found = false;
  std::size_t large_left = 0;  // of a message that comes in pieces
  const auto look = [&](std::string_view bytes) {
    const std::size_t rest = std::min(large_left, bytes.size());
    bytes.remove_prefix(rest);
    large_left -= rest;
    offset += rest;
    while (!bytes.empty() && !found) {
      const wire::FrameView view = wire::peek_frame(bytes);
      if (view.status != wire::FrameStatus::complete) {
        large_left = view.total - bytes.size();
        offset += bytes.size();
        return;
      }
      const wire::Frame frame = wire::take_frame(bytes, view);
      if (frame.type == be::error_response) {
        fields = wire::read_error(frame.body());
        behind = offset + view.total;
        found = true;
        return;
      }
      if (counts_as_completed(frame.type)) ++completed;
      if (frame.type == be::ready_for_query) {
        completed = 0;
        ++answered;
      }
      offset += view.total;
    }
  };
  if (told.large_left() > 0) return {};
  if (!recording.held.empty()) {
    offset = 0;
    look(recording.held);
    offset = mark;
  }
  out.to_client.for_each_from(mark, look);
  if (!found) return {};

  const retry::Failure failure = failure_of(fields);
  if (failure == retry::Failure::none) return {};
  bool in_transaction = false;
  if (session_.attached()) {
    const retry::LostWork work = session_.lost_work();
    in_transaction = session_.in_transaction() && !work.may_have_committed;
  }
  const std::string cause = retry::said_by_server(fields);
  retry::Decision decision = judge(failure, in_transaction, told, completed);
  // The bounds are for a cluster that fails.
  const bool outdated = failure == retry::Failure::outdated;
  if (!outdated) decision = moderate(decision, failure, now);
  if (answered != told.units().size() ||
      texts_of_log(recording.log.size()).size() != answered + 1) {
    decision = {retry::Verdict::pass, retry::Refusal::pipelined};
  }
  const bool settles = alone_ && decision.verdict == retry::Verdict::unknown_outcome &&
                       failure == retry::Failure::doubtful;
  switch (settles ? retry::Verdict::replay : decision.verdict) {
    case retry::Verdict::pass:
      note_refusal(failure, decision.why, cause, out);
      return {};
    case retry::Verdict::unknown_outcome: {
      // The server's words would make the application believe that it can run it again.
      note_refusal(failure, decision.why, cause, out);
      std::vector<std::string_view> rest;
      out.to_client.for_each_from(behind, [&](std::string_view bytes) { rest.push_back(bytes); });
      out.to_client.truncate(offset);
      const wire::ErrorReport report = retry::describe(retry::Outcome::in_doubt, cause);
      --out.errors;  // the server's own
      out.note_error(report.sqlstate);
      out.to_client.copy(wire::encode(report));
      for (const std::string_view bytes : rest) out.to_client.add(bytes);
      return {};
    }
    case retry::Verdict::replay:
    case retry::Verdict::replay_if_reads:
      break;
  }
  --out.errors;
  out.to_client.for_each_from(std::max(behind, mark),
                              [&](std::string_view bytes) { out.count_answers(bytes, false); });
  if (recording.held.empty()) {
    out.to_client.truncate(offset);
    observe(out, mark);
  } else {
    out.to_client.truncate(mark);
  }
  if (settles) return settle_loss(cause, Next::release, out, now);
  wire::ErrorReport report = retry::describe(retry::Outcome::not_sent, cause);
  report.message = "the database cluster could not run the statement, and did not recover in time";
  report.hint = "Nothing of it was committed. It can be run again.";
  if (failure == retry::Failure::doubtful && decision.verdict == retry::Verdict::replay_if_reads) {
    report = retry::describe(retry::Outcome::in_doubt, cause);
  }
  if (outdated) {
    report.sqlstate = fields.sqlstate;
    report.message = fields.message;
    report.routine = fields.routine;
  }
  begin_run(failure, cause, std::move(report), in_transaction,
            decision.verdict == retry::Verdict::replay_if_reads, now);
  return try_again(session_.has_found_loss(), Next::release, out, now);
}

// The backend is lost, or what it says makes no sense any more. `still_lent`: the shell has it
// yet, and wants it back.
Next ReplayedSession::on_loss(const std::string& cause, bool still_lent, Output& out,
                              TimePoint now) {
  const Next next = still_lent ? Next::release : Next::need_input;
  const bool live = phase_ == Phase::live;
  if (live && session_.state() == SessionState::syncing) {
    return session_.on_backend_lost(cause, out);
  }
  if (live && session_.at_rest()) {
    // The server's last words came in one piece with the end of its answer.
    end_effort(out, now);
    let_go(out, out.to_client.size());
    end_recording();
    return session_.on_backend_lost(cause, out);
  }
  if (!live && run_->fed > 0) forget_finished();  // its end came with the server's last words
  if (session_.token_refused()) note_refused_token(out, now);
  // While its settings are made, a backend has heard nothing of the client's.
  const retry::LostWork work =
      session_.state() == SessionState::syncing ? retry::LostWork{} : session_.lost_work();
  const retry::Outcome outcome = retry::judge(work);
  const bool ended = still_lent || session_.backend() == nullptr || session_.backend()->ending;
  const Fence fence = ended ? Fence{} : fence_for(work, now);
  const bool in_transaction = session_.state() != SessionState::syncing &&
                              session_.in_transaction() && outcome != retry::Outcome::in_doubt;
  if (outcome == retry::Outcome::in_doubt && session_.token_sent()) {
    const Next settling = settle_loss(cause, next, out, now);
    if (run_) run_->fence = fence;
    return settling;
  }
  using retry::Failure;
  Failure failure = Failure::in_doubt;
  if (outcome == retry::Outcome::not_sent) failure = Failure::not_sent;
  if (outcome == retry::Outcome::open_transaction_lost) failure = Failure::transaction_lost;
  if (!live && run_->again.large_left() > 0 && passes_on()) {
    // The client has half of a large message: no error can be told in the middle of it.
    static_cast<void>(leave_backend(next, true));
    return Next::close;
  }
  const retry::Transcript& told = live ? transcript() : run_->again;
  retry::Decision decision = judge(failure, in_transaction, told, told.current().completed);
  if (live) decision = moderate(decision, failure, now);
  if (transcript().large_left() > 0) {
    decision = {retry::Verdict::pass, retry::Refusal::forwarded};
  }
  const bool again = decision.verdict == retry::Verdict::replay ||
                     decision.verdict == retry::Verdict::replay_if_reads;
  const bool only_if_reads = decision.verdict == retry::Verdict::replay_if_reads;
  const bool takes_down = again && !ended && takes_servers_down(work, told, now);
  if (!live) {
    if (run_->fed > 0 && passes_on()) run_->in_transaction = client_in_transaction();
    if (!again) {
      return give_up(retry::describe(outcome, cause), retry::ReplayResult::lost_again, next, out,
                     now);
    }
    if (fence.port != 0) run_->fence = fence;
    run_->takes_down = takes_down;
    if (only_if_reads) {
      run_->must_read = std::max(run_->must_read, run_->fed);
      // Until it is proven that it only read, it may have taken effect.
      if (failure == Failure::in_doubt) run_->report = retry::describe(outcome, cause);
    }
    return try_again(true, next, out, now);
  }
  if (!again) {
    note_refusal(failure, decision.why, cause, out);
    let_go(out, out.to_client.size());
    end_recording();
    return session_.on_backend_lost(cause, out);
  }
  begin_run(failure, cause, retry::describe(outcome, cause), in_transaction, only_if_reads, now);
  run_->fence = fence;
  run_->takes_down = takes_down;
  return try_again(true, next, out, now);
}

// `told`: what of the log is answered; `completed`: statements of the unit behind that.
retry::Decision ReplayedSession::judge(retry::Failure failure, bool in_transaction,
                                       const retry::Transcript& told, std::size_t completed) const {
  retry::Situation situation;
  situation.level = level_;
  situation.failure = failure;
  situation.in_transaction = in_transaction;
  situation.answered = told.units().size();
  situation.completed = completed;
  situation.failure_told = recording_->unrepeatable;
  // Of what is run again, only what has been said again by now can have done anything.
  const std::size_t said = run_ ? run_->fed : recording_->log.size();
  const retry::Decision decision =
      replay_->safeties.decide(situation, logged_units(said, situation.asked_not_to));
  const bool again = decision.verdict == retry::Verdict::replay ||
                     decision.verdict == retry::Verdict::replay_if_reads;
  if (!again || !recording_->bound) return decision;
  const bool doubtful = failure == retry::Failure::in_doubt || failure == retry::Failure::doubtful;
  if (doubtful && decision.verdict == retry::Verdict::replay_if_reads) {
    return {retry::Verdict::unknown_outcome, retry::Refusal::pinned};
  }
  return {retry::Verdict::pass, retry::Refusal::pinned};
}

void ReplayedSession::begin_run(retry::Failure failure, std::string_view cause,
                                wire::ErrorReport report, bool in_transaction, bool only_if_reads,
                                TimePoint now) {
  run_ = std::make_unique<Run>();
  run_->failure = failure;
  run_->statement = fingerprint_of_failed(transcript());
  run_->cause = cause;
  run_->started = now;
  run_->ends = deadline_after(now, replay_->options.deadline_for(dialect_));
  if (effort_) {
    run_->started = effort_->started;
    run_->ends = effort_->ends;
    run_->losses = effort_->note.losses;
    run_->refusals = effort_->note.refusals;
    run_->backoff = effort_->backoff;
    effort_.reset();
  }
  if (only_if_reads) run_->must_read = recording_->log.size();
  run_->in_transaction = in_transaction;
  run_->report = std::move(report);
  if (recording_->held.empty()) run_->statements = session_.settled_statements();
  run_->told = session_.told();
  const OpenRequests open = open_requests();
  run_->dormant = open.owed == 0 && !open.unsynced;
  if (!run_->dormant) run_->waits = Presence(*replay_, recording_->log.size(), now);
  recording_->held.clear();
  cancelled_ = false;
}

// What the client has asked, less what it was told.
OpenRequests ReplayedSession::open_requests() const {
  OpenRequests open;
  const retry::Transcript& told = run_ && passes_on() ? run_->again : transcript();
  std::size_t asked = 0;
  std::string_view log = recording_->log;
  while (!log.empty()) {
    const retry::LogPiece piece = retry::first_piece(log);
    log.remove_prefix(piece.bytes.size());
    if (piece.kind == retry::LogPiece::Kind::unit) {
      if (asked >= told.units().size() && commits_only(piece.bytes)) {
        open.ends_at = std::min(open.ends_at, asked - told.units().size());
      }
      ++asked;
    }
    if (log.empty()) open.unread = retry::missing_at_end(piece.bytes);
    if (piece.kind == retry::LogPiece::Kind::rest) {
      // A large Query that is still on its way is a request all the same.
      const char type = piece.bytes.front();
      if (type == wire::frontend::query || type == wire::frontend::function_call) {
        ++asked;
      } else {
        open.unsynced = true;
      }
    }
  }
  open.owed = asked - std::min(asked, told.units().size());
  open.error_told = told.current().failed;
  open.transaction = run_ && run_->in_transaction;
  open.stateful = recording_->bound || leaves_state(told);
  return open;
}

void ReplayedSession::note_refusal(retry::Failure failure, retry::Refusal why,
                                   std::string_view cause, Output& out) const {
  ReplayNote note;
  note.failure = failure;
  note.result = retry::ReplayResult::refused;
  if (recording_) note.statement = fingerprint_of_failed(transcript());
  note.why = why;
  note.cause = cause;
  out.replays.push_back(std::move(note));
}

}  // namespace dwspool::session
