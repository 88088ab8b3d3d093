#include "dwspool/retry/coverage.h"

namespace dwspool::retry {

Decision decide_as_if_lost(ReplayLevel level, const std::vector<LoggedUnit>& units, std::size_t at,
                           bool asked_not_to) {
  Situation situation;
  situation.level = level;
  situation.answered = at;
  situation.asked_not_to = asked_not_to;
  bool open = false;
  for (std::size_t i = 0; i < at; ++i) {
    for (const StatementFacts& statement : units[i].statements) {
      if (statement.ends_transaction) open = false;
      if (statement.begins_transaction) open = true;
    }
  }
  bool may_end = !units[at].understood;
  for (const StatementFacts& statement : units[at].statements) {
    may_end = may_end || statement.ends_transaction;
  }
  situation.in_transaction = open && !may_end;
  situation.failure = situation.in_transaction ? Failure::transaction_lost : Failure::in_doubt;
  return decide(situation, {units.begin(), units.begin() + static_cast<std::ptrdiff_t>(at) + 1});
}

}  // namespace dwspool::retry
