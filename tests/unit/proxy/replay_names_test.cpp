// The labels of the metrics are the words of module retry, which module metrics cannot see.
#include <doctest/doctest.h>

#include "dwspool/metrics/registry.h"
#include "dwspool/retry/commit_token.h"
#include "dwspool/retry/decision.h"

namespace dwspool {

TEST_CASE("the metrics of replay are named by what they count") {
  for (std::size_t i = 0; i < metrics::replay_failures; ++i) {
    CHECK(metrics::replay_failure_name(i) == to_string(static_cast<retry::Failure>(i)));
  }
  for (std::size_t i = 0; i < metrics::replay_results; ++i) {
    CHECK(metrics::replay_result_name(i) == to_string(static_cast<retry::ReplayResult>(i)));
  }
  for (std::size_t i = 0; i < metrics::replay_reasons; ++i) {
    CHECK(metrics::replay_reason_name(i) == to_string(static_cast<retry::Refusal>(i)));
  }
  for (std::size_t i = 0; i < metrics::token_uses; ++i) {
    CHECK(metrics::token_use_name(i) == to_string(static_cast<retry::TokenUse>(i)));
  }
  for (std::size_t i = 0; i < metrics::token_verdicts; ++i) {
    CHECK(metrics::token_verdict_name(i) == to_string(static_cast<retry::TokenVerdict>(i)));
  }
  static_assert(static_cast<std::size_t>(retry::TokenUse::refused) + 1 == metrics::token_uses);
  static_assert(static_cast<std::size_t>(retry::TokenVerdict::aborted) + 1 ==
                metrics::token_verdicts);
  static_assert(static_cast<std::size_t>(retry::Failure::outdated) + 1 == metrics::replay_failures);
  static_assert(static_cast<std::size_t>(retry::ReplayResult::quarantined) + 1 ==
                metrics::replay_results);
  static_assert(static_cast<std::size_t>(retry::Refusal::flapping) + 1 == metrics::replay_reasons);
}

}  // namespace dwspool
