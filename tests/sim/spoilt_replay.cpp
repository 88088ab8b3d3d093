// The defects of replay: its safeties are taken away, one at a time.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sim/shell.h"

namespace dwspool::sim {
namespace {

using retry::Decision;
using retry::Failure;
using retry::LoggedUnit;
using retry::Situation;
using retry::Verdict;

// Decisions are made by a plain function; one schedule runs at a time.
Context* deciding = nullptr;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

bool ends_transaction(const std::vector<LoggedUnit>& units) {
  return std::any_of(units.begin(), units.end(), [](const LoggedUnit& unit) {
    return std::any_of(unit.statements.begin(), unit.statements.end(),
                       [](const auto& statement) { return statement.ends_transaction; });
  });
}

bool spoilt(Failure failure, Verdict verdict, bool ends) {
  const bool unknown = verdict == Verdict::unknown_outcome;
  switch (deciding->broken) {
    case Broken::replay_in_doubt:
      return unknown && failure == Failure::in_doubt && !ends;
    case Broken::replay_behind_commit:
      return unknown && failure == Failure::in_doubt && ends;
    case Broken::replay_refused_commit:
      return unknown && failure == Failure::doubtful;
    case Broken::replay_unproven:
      return verdict == Verdict::replay_if_reads;
    default:
      return false;
  }
}

std::string look_only(std::string_view token) {
  ++deciding->broken_times;
  return "SELECT dwspool.look('" + std::string(token) + "')";
}
std::string guess_aborted(std::string_view token) {
  ++deciding->broken_times;
  return "SELECT dwspool.look('no/" + std::string(token) + "')";
}
// Of a token that is there for certain, for the simulated server.
std::string guess_committed(std::string_view token) {
  ++deciding->broken_times;
  return "SELECT dwspool.look('yes/" + std::string(token) + "')";
}

Decision decide(const Situation& situation, const std::vector<LoggedUnit>& units) {
  const Decision decision = retry::decide(situation, units);
  if (situation.level < ReplayLevel::statement) return decision;
  if (!spoilt(situation.failure, decision.verdict, ends_transaction(units))) return decision;
  ++deciding->broken_times;
  return {Verdict::replay, retry::Refusal::none};
}

}  // namespace

void Shell::spoil_replay() {
  sessions_->replay.moderator = moderator_;
  sessions_->replay.tokens.prefix = std::to_string(++token_sources_);
  session::ReplayContext::Safeties& safeties = sessions_->replay.safeties;
  switch (context_.broken) {
    case Broken::replay_in_doubt:
    case Broken::replay_behind_commit:
    case Broken::replay_refused_commit:
    case Broken::replay_unproven:
      deciding = &context_;
      safeties.decide = decide;
      break;
    case Broken::replay_uncompared:
      safeties.compares = false;
      break;
    case Broken::replay_without_rewind:
      safeties.rewinds = false;
      break;
    case Broken::token_without_tombstone:
    case Broken::token_guessed_aborted:
    case Broken::token_guessed_committed:
      deciding = &context_;
      safeties.settle = context_.is_broken(Broken::token_without_tombstone) ? look_only
                        : context_.is_broken(Broken::token_guessed_aborted) ? guess_aborted
                                                                            : guess_committed;
      break;
    case Broken::forget_deadline:
      sessions_->replay.options.deadline = std::chrono::hours{1};
      break;
    default:
      break;
  }
}

// After each step: since when the client is being helped.
void Front::watch_replay() {
  if (!session_) return;
  Context& context = shell_.context_;
  bool told = false;
  token_sent_ = token_sent_ || shell_.output_.token == retry::TokenUse::sent;
  for (const session::ReplayNote& note : shell_.output_.replays) {
    check_doubt(note);
    if (note.result != retry::ReplayResult::refused) replay_began_ = never;
    told = told || (note.result != retry::ReplayResult::masked &&
                    note.result != retry::ReplayResult::canceled);
  }
  if (!session_->makes_good()) {
    replay_began_ = never;
  } else if (replay_began_ == never) {
    replay_began_ = context.now;
    const Broken broken = context.broken;
    if (broken == Broken::replay_uncompared || broken == Broken::replay_without_rewind ||
        broken == Broken::forget_deadline) {
      ++context.broken_times;
    }
  }
  const bool refused = shell_.output_.token == retry::TokenUse::refused;
  if (shell_.output_.queries > 0 || refused) token_sent_ = false;
  if (told && context.is_broken(Broken::replay_what_was_told)) run_what_was_told();
}

// A COMMIT that has a token is only in doubt when nobody could be asked for as long as was allowed.
void Front::check_doubt(const session::ReplayNote& note) {
  using retry::ReplayResult;
  const bool in_vain =
      note.result == ReplayResult::deadline || note.result == ReplayResult::attempts ||
      note.result == ReplayResult::canceled || note.result == ReplayResult::no_backend;
  const bool unsettled = note.verdict == retry::TokenVerdict::unknown && !in_vain;
  const bool not_tried =
      token_sent_ && note.result == ReplayResult::refused && note.why == retry::Refusal::commit;
  if (unsettled || not_tried) {
    shell_.context_.violate("a COMMIT with a token is in doubt, and nobody was asked (" +
                            std::string(to_string(note.result)) + ")");
  }
}

// Nobody hears what comes of it.
void Front::run_what_was_told() {
  auto [mine, theirs] = shell_.network_.connect();
  ServerProcess* process = shell_.cluster_.connect(0, std::move(theirs));
  if (process == nullptr || heard_.empty()) return;
  ++shell_.context_.broken_times;
  process->skip_login();
  process->on_bytes(heard_);
  heard_.clear();
}

}  // namespace dwspool::sim
