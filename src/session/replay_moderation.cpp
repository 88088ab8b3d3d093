// What replay does for the sake of the cluster and of its other clients: it keeps within the
// bounds of retry::Moderator, and it ends the server process that a lost connection may have left
// behind, which would hold the locks that the replay waits for (doc/replay.md, trap 1).
#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>

#include "dwspool/sql/fingerprint.h"
#include "dwspool/wire/frame.h"

#include "dwspool/retry/facts.h"

#include "dwspool/session/replayed_session.h"

#include "session/detach.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

// pg_terminate_backend waits since then, if it is told how long.
constexpr int first_that_waits = 14;

int major_version(const ReportedSet& reported) {
  const std::string* version = reported.find("server_version");
  int major = 0;
  if (version == nullptr) return major;
  std::from_chars(version->data(), version->data() + version->size(), major);
  return major;
}

}  // namespace

// --- Bounds --------------------------------------------------------------------------------------

// A decision to run something again, as far as the state of the cluster allows it.
retry::Decision ReplayedSession::moderate(retry::Decision decision, retry::Failure failure,
                                          TimePoint now) const {
  const bool again = decision.verdict == retry::Verdict::replay ||
                     decision.verdict == retry::Verdict::replay_if_reads;
  retry::Moderator* moderator = replay_->moderator.get();
  if (!again || moderator == nullptr) return decision;
  using Answer = retry::Moderator::Answer;
  retry::Refusal why = retry::Refusal::none;
  switch (moderator->may_wait(recording_->log.size(), now)) {
    case Answer::welcome:
      break;
    case Answer::crowded:
      why = retry::Refusal::crowded;
      break;
    case Answer::flapping:
      why = retry::Refusal::flapping;
      break;
  }
  const bool lost =
      failure == retry::Failure::transaction_lost || failure == retry::Failure::in_doubt;
  if (lost && moderator->is_quarantined(suspect(transcript()), now)) {
    why = retry::Refusal::quarantined;
  }
  if (why == retry::Refusal::none) return decision;
  const bool doubtful = failure == retry::Failure::in_doubt || failure == retry::Failure::doubtful;
  return {doubtful && decision.verdict == retry::Verdict::replay_if_reads
              ? retry::Verdict::unknown_outcome
              : retry::Verdict::pass,
          why};
}

ReplayedSession::Presence::Presence(ReplayContext& replay, std::size_t bytes, TimePoint now)
    : replay_(&replay) {
  ++replay.waiting;
  if (replay.moderator) seat_ = replay.moderator->enter(bytes, now);
}

// The client asks for what was lost while it was silent, and waits from now on if it may.
bool ReplayedSession::may_wait(TimePoint now) {
  const std::size_t bytes = recording_->log.size();
  retry::Moderator* moderator = replay_->moderator.get();
  if (moderator != nullptr &&
      moderator->may_wait(bytes, now) != retry::Moderator::Answer::welcome) {
    return false;
  }
  run_->waits = Presence(*replay_, bytes, now);
  if (moderator == nullptr) return true;
  run_->resumes = std::max(now, moderator->next_attempt(now));
  deadline_ = std::min(run_->resumes, run_->ends);
  return true;
}

// What may have taken its server down. All COMMITs look the same: that the connection of two of
// them has ended says nothing about the next one.
std::uint64_t ReplayedSession::suspect(const retry::Transcript& told) const {
  const std::optional<std::string> text = text_of_failed(told);
  if (!text) return 0;
  const retry::TextFacts facts = retry::understand(*text);
  const bool only_control = std::all_of(
      facts.statements.begin(), facts.statements.end(),
      [](const retry::StatementFacts& each) { return each.nature == retry::Nature::control; });
  return facts.understood && only_control ? 0 : sql::fingerprint(*text);
}

// Once more the server has ended without a word while it was at a statement that is being run
// again: true if it is not to try that again for a while.
bool ReplayedSession::takes_servers_down(const retry::LostWork& work, const retry::Transcript& told,
                                         TimePoint now) const {
  const bool again = phase_ == Phase::replaying || (phase_ == Phase::live && effort_);
  if (!replay_->moderator || !again || !work.sent) return false;
  return replay_->moderator->note_taken_down(suspect(told), number_, now);
}

// --- Fencing -------------------------------------------------------------------------------------

// On PostgreSQL only: a coordinator of DWS does not know whose its processes are by their port.
ReplayedSession::Fence ReplayedSession::fence_for(const retry::LostWork& work,
                                                  TimePoint now) const {
  const bool holds_something = work.sent && (work.in_transaction || session_.token_sent());
  if (!holds_something || session_.backend()->dialect != Dialect::postgres) return {};
  return {session_.backend()->key.pid, session_.backend()->local_port, now};
}

// Asked on a fresh backend, which may be of another server: there is no such process there. A
// number is used again, and so is a port, but both together by another process of the same user
// that is older than the loss is none that exists.
void ReplayedSession::ask_fence(Next& next, Output& out, TimePoint now) {
  const Fence& fence = run_->fence;
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - fence.lost).count();
  std::string sql = "SELECT pg_catalog.pg_terminate_backend(pid";
  if (major_version(*session_.told()) >= first_that_waits) sql += ", 2000";
  sql.append(") FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) ")
      .append(std::to_string(fence.pid))
      .append(" AND client_port OPERATOR(pg_catalog.=) ")
      .append(std::to_string(fence.port))
      .append(" AND usename OPERATOR(pg_catalog.=) session_user")
      .append(" AND backend_start OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp()")
      .append(" OPERATOR(pg_catalog.-) '")
      .append(std::to_string(age))
      .append(" ms'::pg_catalog.interval)");
  ask(sql, next, out);
}

// Whether there was one, and whether it may be ended, makes no difference: if it is still there,
// the replay waits for its locks.
Next ReplayedSession::hear_fence(std::string_view bytes, Next next) {
  while (!bytes.empty()) {
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status != wire::FrameStatus::complete) break;  // no row of it is that large
    const wire::Frame frame = wire::take_frame(bytes, view);
    if (frame.type != be::ready_for_query) continue;
    run_->fence = {};
    phase_ = Phase::replaying;
    next = leave_backend(next, false);
    rewind();
    return next;
  }
  return next;
}

// A question of dwspool's own, on the session's next backend; the client sees nothing of it.
void ReplayedSession::ask(std::string_view sql, Next& next, Output& out) {
  std::string bytes;
  wire::append_query(bytes, sql);
  std::string_view in = bytes;
  const std::size_t mark = out.to_client.size();
  const std::size_t server_mark = out.to_server.size();
  phase_ = Phase::asking;
  next = session_.on_client(in, out);
  detach(out.to_server, server_mark);
  out.to_client.truncate(mark);
  if (!in.empty()) phase_ = Phase::replaying;  // when there is a backend
}

}  // namespace dwspool::session
