#include <doctest/doctest.h>

#include "dwspool/retry/backoff.h"
#include "dwspool/retry/outcome.h"

namespace dwspool::retry {

TEST_CASE("pauses grow and are bounded; jitter only shortens") {
  using std::chrono::milliseconds;
  Backoff backoff(milliseconds(100), milliseconds(500));
  CHECK(backoff.next(0) == milliseconds(100));
  CHECK(backoff.next(0) == milliseconds(200));
  CHECK(backoff.next(0) == milliseconds(400));
  CHECK(backoff.next(0) == milliseconds(500));
  CHECK(backoff.next(0.999) > milliseconds(370));
  CHECK(backoff.next(0.999) < milliseconds(500));
  backoff.reset();
  CHECK(backoff.next(0) == milliseconds(100));
}

TEST_CASE("the outcome decides, from what is known") {
  struct Row {
    LostWork work;
    Outcome outcome;
    const char* sqlstate;
  };
  const Row table[] = {
      {{false, false, false}, Outcome::not_sent, "08006"},
      {{false, true, false}, Outcome::not_sent, "08006"},
      {{true, false, false}, Outcome::in_doubt, "08007"},
      {{true, false, true}, Outcome::in_doubt, "08007"},
      {{true, true, false}, Outcome::open_transaction_lost, "08006"},
      {{true, true, true}, Outcome::in_doubt, "08007"},
  };
  for (const Row& row : table) {
    CHECK(static_cast<int>(judge(row.work)) == static_cast<int>(row.outcome));
    const wire::ErrorReport report = describe(row.outcome, "cause");
    CHECK(report.sqlstate == row.sqlstate);
    CHECK(report.detail == "cause");
    CHECK_FALSE(report.hint.empty());
    // A driver that matches this text would run the statement again (doc/replay.md).
    CHECK(report.message.find("terminating connection") == std::string::npos);
  }
}

}  // namespace dwspool::retry
