#include "dwspool/retry/decision.h"

#include <algorithm>
#include <array>

#include "dwspool/base/text.h"

namespace dwspool::retry {
namespace {

constexpr std::array levels = {ReplayLevel::off, ReplayLevel::connect, ReplayLevel::statement,
                               ReplayLevel::transaction, ReplayLevel::token};

// Run once more, it gives the same and changes nothing: as far as the text says.
bool may_be_read(const StatementFacts& statement) {
  return statement.nature == Nature::read || statement.nature == Nature::control ||
         statement.nature == Nature::light;
}

bool all_reads(const std::vector<LoggedUnit>& units) {
  return std::all_of(units.begin(), units.end(), [](const LoggedUnit& unit) {
    return unit.understood && std::all_of(unit.statements.begin(), unit.statements.end(),
                                          [](const auto& s) { return may_be_read(s); });
  });
}

// No names in it that the catalog would have to be asked about.
bool all_light(const std::vector<LoggedUnit>& units) {
  return std::all_of(units.begin(), units.end(), [](const LoggedUnit& unit) {
    return unit.understood &&
           std::all_of(unit.statements.begin(), unit.statements.end(), [](const auto& s) {
             return s.nature == Nature::control || s.nature == Nature::light;
           });
  });
}

Decision if_reads(const std::vector<LoggedUnit>& units) {
  return {all_light(units) ? Verdict::replay : Verdict::replay_if_reads, Refusal::none};
}

bool any_function(const std::vector<LoggedUnit>& units) {
  return std::any_of(units.begin(), units.end(), [](const LoggedUnit& unit) {
    return std::any_of(unit.statements.begin(), unit.statements.end(),
                       [](const auto& s) { return !s.functions.empty(); });
  });
}

bool any_external(const std::vector<LoggedUnit>& units) {
  for (const LoggedUnit& unit : units) {
    for (const StatementFacts& statement : unit.statements) {
      if (statement.external) return true;
    }
  }
  return false;
}

// What ran before the statement that failed had no effect that a repeat could double.
bool prefix_is_light(const Situation& situation, const std::vector<LoggedUnit>& units) {
  for (std::size_t i = 0; i < units.size() && i <= situation.answered; ++i) {
    const LoggedUnit& unit = units[i];
    const bool failing = i == situation.answered;
    if (!unit.understood && !(failing && situation.completed == 0)) return false;
    const std::size_t count =
        failing ? std::min(situation.completed, unit.statements.size()) : unit.statements.size();
    for (std::size_t s = 0; s < count; ++s) {
      if (!may_be_read(unit.statements[s])) return false;
    }
  }
  return true;
}

const StatementFacts* failing_statement(const Situation& situation,
                                        const std::vector<LoggedUnit>& units) {
  if (situation.answered >= units.size()) return nullptr;
  const LoggedUnit& unit = units[situation.answered];
  if (situation.completed >= unit.statements.size()) return nullptr;
  return &unit.statements[situation.completed];
}

bool unit_ends_transaction(const Situation& situation, const std::vector<LoggedUnit>& units) {
  if (situation.answered >= units.size()) return true;
  const LoggedUnit& unit = units[situation.answered];
  if (!unit.understood) return true;
  return std::any_of(unit.statements.begin(), unit.statements.end(),
                     [](const auto& s) { return s.ends_transaction; });
}

Decision on_refused(const Situation& situation, const std::vector<LoggedUnit>& units) {
  const StatementFacts* failing = failing_statement(situation, units);
  const bool light = prefix_is_light(situation, units);
  if (failing != nullptr && failing->ends_transaction) {
    // In doubt as every COMMIT is, but for one that has nothing to commit for certain.
    return light && !any_function(units) ? Decision{Verdict::replay, Refusal::none}
                                         : Decision{Verdict::unknown_outcome, Refusal::commit};
  }
  if (failing != nullptr && failing->nature == Nature::not_transactional) {
    return {Verdict::pass, Refusal::utility};
  }
  // A server that does not write has not committed either; all others may have been at it.
  if (!situation.in_transaction && situation.failure == Failure::refused) {
    if (failing != nullptr && failing->nature == Nature::unknown) {
      return {Verdict::unknown_outcome, Refusal::unreadable};
    }
    // All was done but the commit that comes with Sync.
    if (failing == nullptr && !light) return {Verdict::unknown_outcome, Refusal::commit};
  }
  if (light) {
    // In a transaction whatever a function had done was undone; outside of one it may have done
    // something that nothing undoes before it came to the statement that was refused.
    const bool clear = situation.in_transaction || failing == nullptr || failing->functions.empty();
    if (clear) return {Verdict::replay, Refusal::none};
    if (failing->nature == Nature::read) return {Verdict::replay_if_reads, Refusal::none};
    return {Verdict::pass, Refusal::external};
  }
  if (!situation.in_transaction) return {Verdict::pass, Refusal::multi};
  if (situation.level < ReplayLevel::transaction) return {Verdict::pass, Refusal::level};
  return {Verdict::replay, Refusal::none};
}

// The cluster is well: only this statement was not run, and what stood around it was undone.
Decision on_outdated(const Situation& situation, const std::vector<LoggedUnit>& units) {
  if (prefix_is_light(situation, units)) return {Verdict::replay, Refusal::none};
  if (!situation.in_transaction) return {Verdict::pass, Refusal::multi};
  if (situation.level < ReplayLevel::transaction) return {Verdict::pass, Refusal::level};
  return {Verdict::replay, Refusal::none};
}

Decision on_doubtful(const Situation& situation, const std::vector<LoggedUnit>& units) {
  if (situation.in_transaction && !unit_ends_transaction(situation, units)) {
    if (situation.level < ReplayLevel::transaction) return {Verdict::pass, Refusal::level};
    return {Verdict::replay, Refusal::none};
  }
  if (all_reads(units)) return if_reads(units);
  return {Verdict::unknown_outcome, Refusal::commit};
}

}  // namespace

std::optional<ReplayLevel> read_replay_level(std::string_view name) {
  for (const ReplayLevel level : levels) {
    if (equals_ignore_case(name, to_string(level))) return level;
  }
  return {};
}

std::string_view to_string(Failure failure) {
  switch (failure) {
    case Failure::none:
      return "none";
    case Failure::not_sent:
      return "not_sent";
    case Failure::refused:
      return "refused";
    case Failure::doubtful:
      return "doubtful";
    case Failure::read_only:
      return "read_only";
    case Failure::transaction_lost:
      return "transaction_lost";
    case Failure::in_doubt:
      return "in_doubt";
    case Failure::outdated:
      return "outdated";
  }
  return "?";
}

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::none:
      return "none";
    case Refusal::level:
      return "level";
    case Refusal::asked:
      return "asked";
    case Refusal::told:
      return "told";
    case Refusal::external:
      return "external";
    case Refusal::commit:
      return "commit";
    case Refusal::multi:
      return "multi";
    case Refusal::utility:
      return "utility";
    case Refusal::unreadable:
      return "unreadable";
    case Refusal::too_big:
      return "too_big";
    case Refusal::pipelined:
      return "pipelined";
    case Refusal::copy:
      return "copy";
    case Refusal::forwarded:
      return "forwarded";
    case Refusal::pinned:
      return "pinned";
    case Refusal::unproven:
      return "unproven";
    case Refusal::quarantined:
      return "quarantined";
    case Refusal::crowded:
      return "crowded";
    case Refusal::flapping:
      return "flapping";
  }
  return "?";
}

std::string_view to_string(ReplayResult result) {
  switch (result) {
    case ReplayResult::masked:
      return "masked";
    case ReplayResult::refused:
      return "refused";
    case ReplayResult::mismatch:
      return "mismatch";
    case ReplayResult::deadline:
      return "deadline";
    case ReplayResult::attempts:
      return "attempts";
    case ReplayResult::canceled:
      return "canceled";
    case ReplayResult::not_read:
      return "not_read";
    case ReplayResult::no_backend:
      return "no_backend";
    case ReplayResult::lost_again:
      return "lost_again";
    case ReplayResult::refused_again:
      return "refused_again";
    case ReplayResult::in_doubt:
      return "in_doubt";
    case ReplayResult::quarantined:
      return "quarantined";
  }
  return "?";
}

Decision decide(const Situation& situation, const std::vector<LoggedUnit>& units) {
  if (situation.failure == Failure::not_sent) {
    return situation.level >= ReplayLevel::connect ? Decision{Verdict::replay, Refusal::none}
                                                   : Decision{Verdict::pass, Refusal::level};
  }
  const bool doubt = situation.failure == Failure::in_doubt;
  const Verdict otherwise = doubt ? Verdict::unknown_outcome : Verdict::pass;
  if (situation.level < ReplayLevel::statement) return {otherwise, Refusal::level};
  if (situation.asked_not_to) return {otherwise, Refusal::asked};
  if (situation.failure_told) return {otherwise, Refusal::told};
  if (any_external(units)) return {otherwise, Refusal::external};
  switch (situation.failure) {
    case Failure::refused:
    case Failure::read_only:
      return on_refused(situation, units);
    case Failure::outdated:
      return on_outdated(situation, units);
    case Failure::doubtful:
      return on_doubtful(situation, units);
    case Failure::transaction_lost:
      if (situation.level >= ReplayLevel::transaction) return {Verdict::replay, Refusal::none};
      if (all_reads(units)) return if_reads(units);
      return {Verdict::pass, Refusal::level};
    case Failure::in_doubt:
      if (all_reads(units)) return if_reads(units);
      return {Verdict::unknown_outcome, Refusal::commit};
    case Failure::not_sent:
    case Failure::none:
      break;
  }
  return {otherwise, Refusal::none};
}

bool asks_for_no_replay(std::string_view text) {
  for (std::size_t at = text.find("/*+"); at != std::string_view::npos;
       at = text.find("/*+", at + 1)) {
    const std::size_t end = text.find("*/", at);
    if (end == std::string_view::npos) return false;
    std::string_view hint = text.substr(at + 3, end - at - 3);
    while (!hint.empty()) {
      const std::size_t begin = hint.find_first_not_of(" \t\r\n,");
      if (begin == std::string_view::npos) break;
      hint.remove_prefix(begin);
      const std::size_t length = std::min(hint.find_first_of(" \t\r\n,("), hint.size());
      if (equals_ignore_case(hint.substr(0, length), "noreplay")) return true;
      hint.remove_prefix(std::max<std::size_t>(length, 1));
    }
  }
  return false;
}

}  // namespace dwspool::retry
