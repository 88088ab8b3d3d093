// What would be made good if it were lost.
#include "dwspool/retry/coverage.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::session {
namespace {

// To understand a longer one takes too long.
constexpr std::size_t longest_sampled = 16384;

}  // namespace

// All that is kept was answered. One of its units, whichever, is looked at as if the connection
// had broken while it ran.
void ReplayedSession::take_sample(Output& out, TimePoint now) {
  Recording& recording = *recording_;
  if (recording.log.size() > longest_sampled) return;
  bool asked_not_to = false;
  const std::vector<retry::LoggedUnit> units = logged_units(recording.log.size(), asked_not_to);
  if (units.empty()) return;
  const std::size_t at = ++replay_->samples % units.size();
  const retry::Decision decision = retry::decide_as_if_lost(level_, units, at, asked_not_to);
  out.sample = decision.why;
  if (decision.why == retry::Refusal::commit && recording.ends && at + 1 == units.size() &&
      replay_->tokens.available(now) == true) {
    out.sample = retry::Refusal::none;  // its token tells
  }
  if (decision.verdict != retry::Verdict::replay_if_reads) return;
  // Tables alone are taken for harmless; of a function the catalog must have said so before.
  const retry::CatalogNames names = names_in_log(recording.log.size());
  retry::CatalogNames missing;
  const bool proven =
      names.functions.empty() ||
      replay_->catalog.harmless(catalog_scope(), names, now, missing).value_or(false);
  if (!proven) out.sample = retry::Refusal::unproven;
}

}  // namespace dwspool::session
