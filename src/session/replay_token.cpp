// Level `token`: a row goes with each COMMIT that may have something to commit, and when the answer
// to that is lost, the row tells what became of it (retry/commit_token.h).
//
//   answer lost ──► settle, on another backend ──► committed: that is the answer
//                         │        │
//                         │        └──► aborted, for ever: run again, with another token
//                         └──► nobody can be asked: 08007, with the token
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"

#include "dwspool/retry/facts.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;
using retry::ReplayResult;
using retry::TokenVerdict;

// What it comes to when nobody can be asked.
wire::ErrorReport unsettled_report(std::string_view cause, std::string_view token) {
  wire::ErrorReport report = retry::describe(retry::Outcome::in_doubt, cause);
  report.detail.append(". Outcome: unknown. Token: ").append(token);
  report.hint = retry::outcome_question(token) +
                " answers whether it has committed; if it says aborted, it never will.";
  return report;
}

// A simple Query with one statement, which does nothing that a second one in its text could change.
bool only_writes(std::string_view in) {
  const wire::FrameView view = wire::peek_frame(in);
  if (view.status != wire::FrameStatus::complete) return false;
  const auto text = wire::read_query(wire::take_frame(in, view).body());
  if (!text || retry::asks_for_no_replay(*text)) return false;
  const retry::TextFacts facts = retry::understand(*text);
  return facts.understood && facts.statements.size() == 1 &&
         facts.statements.front().nature == retry::Nature::write && !facts.external() &&
         !facts.session_effect();
}

}  // namespace

// The COMMIT, or the write, stands at the front of `in`. `log`: what was said before it.
void ReplayedSession::decide_token(std::string_view log, std::string_view in, Output& out,
                                   TimePoint now) {
  retry::TokenSource& tokens = replay_->tokens;
  const bool alone = session_.wants_token_alone();
  recording_->ends = !alone;
  if (const std::optional<bool> answer = session_.take_tokens_answer(); answer && *answer) {
    tokens.note_available();
  }
  // What must not be run again must not fail for the sake of a row either.
  bool possible =
      !recording_->unrepeatable && !recording_->bound && !retry::asks_for_no_replay(log);
  if (alone) {
    possible = possible && level_ >= ReplayLevel::token && only_writes(in);
  } else {
    possible = possible && retry::may_have_written(log, [&](std::string_view name) {
                 const PreparedStatement* known = session_.statement(name);
                 return known != nullptr ? std::optional<std::string>(known->query) : std::nullopt;
               });
  }
  if (!possible) {
    session_.decide_token({});
    return;
  }
  const std::optional<bool> available = recording_->no_token ? false : tokens.available(now);
  if (!available) {
    tokens.note_unavailable(now);  // until the answer has come
    session_.ask_about_tokens(retry::token_question(), out);
    return;
  }
  out.token = *available ? retry::TokenUse::sent : retry::TokenUse::unavailable;
  if (*available) token_ = tokens.next(now);
  session_.decide_token(*available ? retry::token_insert(token_) : std::string());
}

// Nothing was committed; it will be run again, without a token: whatever fails then is the
// client's.
void ReplayedSession::note_refused_token(Output& out, TimePoint now) {
  out.token = retry::TokenUse::refused;
  if (!session_.token_refused_otherwise()) replay_->tokens.note_unavailable(now);
  recording_->no_token = true;
}

// The answer to a COMMIT with a token is lost, or leaves open what became of it.
Next ReplayedSession::settle_loss(const std::string& cause, Next next, Output& out, TimePoint now) {
  const bool live = phase_ == Phase::live;
  auto committed = std::make_unique<CommittedState>();
  if (session_.token_sent()) *committed = session_.presume_committed(recording_->held);
  const retry::Transcript& told = live ? transcript() : run_->again;
  const retry::Decision if_aborted =
      judge(retry::Failure::transaction_lost, true, told, told.current().completed);
  if (live) {
    begin_run(retry::Failure::in_doubt, cause, {}, false, false, now);
    run_->statements = session_.settled_statements();
  }
  run_->token = token_;
  run_->committed = std::move(committed);
  run_->if_aborted = if_aborted;
  run_->in_transaction = false;
  run_->report = unsettled_report(cause, token_);
  run_->settled = true;
  run_->verdict = TokenVerdict::unknown;
  return try_again(true, next, out, now);
}

void ReplayedSession::ask_outcome(Next& next, Output& out) {
  run_->cannot_be_asked = false;
  run_->verdict = TokenVerdict::unknown;
  ask(replay_->safeties.settle(run_->token), next, out);
}

Next ReplayedSession::hear_outcome(std::string_view bytes, Next next, Output& out, TimePoint now) {
  while (!bytes.empty()) {
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status != wire::FrameStatus::complete) break;  // no row of it is that large
    const wire::Frame frame = wire::take_frame(bytes, view);
    if (frame.type == be::error_response) {
      run_->cannot_be_asked = retry::cannot_be_asked(wire::read_error(frame.body()).sqlstate);
      run_->verdict = TokenVerdict::unknown;
    } else if (frame.type == be::data_row) {
      wire::Cursor cursor(frame.body());
      const std::uint16_t columns = cursor.u16();
      const std::uint32_t size = cursor.u32();
      const std::string_view value = cursor.bytes(size);
      if (cursor.ok() && columns == 1) run_->verdict = retry::read_outcome(value);
    } else if (frame.type == be::ready_for_query) {
      return on_outcome(next, out, now);
    }
  }
  return next;
}

// ReadyForQuery has come: what was said stands.
Next ReplayedSession::on_outcome(Next next, Output& out, TimePoint now) {
  Run& run = *run_;
  phase_ = Phase::replaying;
  switch (run.verdict) {
    case TokenVerdict::unknown:
      if (!run.cannot_be_asked) return try_again(false, next, out, now);
      return give_up(run.report, ReplayResult::in_doubt, next, out, now);
    case TokenVerdict::committed:
      return finish_committed(next, out, now);
    case TokenVerdict::aborted:
      break;
  }
  run.token.clear();
  run.committed.reset();
  run.report = retry::describe(retry::Outcome::open_transaction_lost, run.cause);
  run.report.hint = "Nothing of it was committed. It can be run again.";
  if (run.if_aborted.verdict != retry::Verdict::replay) {
    return give_up(run.report, ReplayResult::refused_again, next, out, now);
  }
  next = leave_backend(next, false);
  rewind();
  return next;
}

Next ReplayedSession::finish_committed(Next next, Output& out, TimePoint now) {
  Run& run = *run_;
  if (!run.committed->whole) {
    run.report.detail.append(". Outcome: committed");
    run.report.message =
        "the connection to the database server was lost before it answered: the "
        "transaction was committed, but not all of the answer is known";
    run.report.hint = "Do not run it again.";
    return give_up(run.report, ReplayResult::in_doubt, next, out, now);
  }
  next = leave_backend(next, false);
  rewind();
  tell_parameters(out);
  session_.adopt_committed(std::move(*run.committed), out);
  out.replays.push_back(note_of_run(ReplayResult::masked, now));
  abandon_run();
  if (draining_) {
    const Next drained = session_.drain(out, drain_reason_);
    if (drained != Next::need_input) return drained;
  }
  return next;
}

}  // namespace dwspool::session
