#include "dwspool/retry/moderator.h"

#include <vector>

#include <doctest/doctest.h>

namespace dwspool::retry {
namespace {

using namespace std::chrono_literals;
using Answer = Moderator::Answer;

std::shared_ptr<Moderator> make(const ModeratorOptions& options) {
  return std::make_shared<Moderator>(options);
}

constexpr TimePoint start{100s};

}  // namespace

TEST_CASE("moderator: only so many wait, with only so much to say") {
  ModeratorOptions options;
  options.most_waiting = 2;
  options.most_bytes = 100;
  const auto moderator = make(options);
  CHECK(moderator->may_wait(100, start) == Answer::welcome);
  CHECK(moderator->may_wait(101, start) == Answer::crowded);
  {
    const Moderator::Seat first = moderator->enter(60, start);
    CHECK(moderator->may_wait(40, start) == Answer::welcome);
    CHECK(moderator->may_wait(41, start) == Answer::crowded);
    Moderator::Seat second = moderator->enter(1, start);
    CHECK(moderator->may_wait(0, start) == Answer::crowded);
    const Moderator::Seat moved = std::move(second);
    CHECK(moderator->waiting() == 2);
  }
  CHECK(moderator->waiting() == 0);
  CHECK(moderator->may_wait(100, start) == Answer::welcome);
}

TEST_CASE("moderator: attempts are spread, more of them with every second") {
  ModeratorOptions options;
  options.rate = 10;
  options.burst = 4;
  const auto moderator = make(options);
  for (int i = 0; i < 4; ++i) CHECK(moderator->next_attempt(start) == start);
  CHECK(moderator->next_attempt(start) == start + 100ms);
  CHECK(moderator->next_attempt(start) == start + 200ms);
  // Two were promised by then, and eight more have become free; no more than a burst is kept.
  CHECK(moderator->next_attempt(start + 1s) == start + 1s);
  for (int i = 0; i < 3; ++i) CHECK(moderator->next_attempt(start + 1s) == start + 1s);
  CHECK(moderator->next_attempt(start + 1s) == start + 1s + 50ms);
  // After a rest it begins anew.
  const TimePoint later = start + 1min;
  for (int i = 0; i < 4; ++i) CHECK(moderator->next_attempt(later) == later);
  CHECK(moderator->next_attempt(later) == later + 100ms);
}

TEST_CASE("moderator: a cluster that fails over and over is not waited for") {
  ModeratorOptions options;
  options.most_switchovers = 2;
  options.switchover_window = 10min;
  const auto moderator = make(options);
  TimePoint now = start;
  const auto fail_for = [&](Duration time) {
    const Moderator::Seat seat = moderator->enter(1, now);
    now += time;
    static_cast<void>(moderator->next_attempt(now));
  };
  for (int i = 0; i < 10; ++i) fail_for(900ms);  // single connections
  fail_for(5s);
  CHECK(moderator->may_wait(1, now) == Answer::welcome);
  now += 1min;
  fail_for(5s);
  CHECK(moderator->may_wait(1, now) == Answer::flapping);
  CHECK(moderator->may_wait(1, now + 9min - 6s) == Answer::flapping);
  CHECK(moderator->may_wait(1, now + 9min) == Answer::welcome);
}

TEST_CASE("moderator: a statement that takes servers down comes into quarantine") {
  const auto moderator = make(ModeratorOptions{});
  CHECK_FALSE(moderator->note_taken_down(1, 7, start));
  CHECK_FALSE(moderator->is_quarantined(1, start));
  // Others that fall with it are the same failure; the same session is another one.
  CHECK_FALSE(moderator->note_taken_down(1, 8, start + 10ms));
  SUBCASE("by the same session") {
    CHECK(moderator->note_taken_down(1, 7, start + 20ms));
  }
  SUBCASE("by another one, later") {
    CHECK(moderator->note_taken_down(1, 8, start + 5s));
  }
  CHECK(moderator->is_quarantined(1, start + 5s));
  CHECK_FALSE(moderator->is_quarantined(2, start + 5s));
  CHECK(moderator->is_quarantined(1, start + 30min));
  CHECK_FALSE(moderator->is_quarantined(1, start + 31min));
  CHECK_FALSE(moderator->note_taken_down(1, 7, start + 32min));
}

TEST_CASE("moderator: what has come through was not to blame") {
  const auto moderator = make(ModeratorOptions{});
  CHECK_FALSE(moderator->note_taken_down(1, 7, start));
  moderator->note_survived(1);
  moderator->note_survived(2);
  CHECK_FALSE(moderator->note_taken_down(1, 7, start + 2s));
  CHECK(moderator->note_taken_down(1, 7, start + 4s));
  moderator->note_survived(1);
  CHECK(moderator->is_quarantined(1, start + 4s));
}

TEST_CASE("moderator: no quarantine for what is far apart, has no name, or is not to have one") {
  const auto moderator = make(ModeratorOptions{});
  CHECK_FALSE(moderator->note_taken_down(1, 7, start));
  CHECK_FALSE(moderator->note_taken_down(1, 7, start + 11min));
  CHECK_FALSE(moderator->note_taken_down(0, 7, start));
  CHECK_FALSE(moderator->note_taken_down(0, 7, start));
  CHECK_FALSE(moderator->is_quarantined(0, start));
  ModeratorOptions options;
  options.quarantine_after = 0;
  const auto never = make(options);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(never->note_taken_down(1, 7, start));
  CHECK_FALSE(never->is_quarantined(1, start));
}

TEST_CASE("moderator: what it knows of statements is bounded") {
  const auto moderator = make(ModeratorOptions{});
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    static_cast<void>(moderator->note_taken_down(i, i, start + std::chrono::milliseconds(i)));
  }
  // The oldest were forgotten: their second time is a first one.
  CHECK_FALSE(moderator->note_taken_down(1, 1, start + 6s));
  CHECK(moderator->note_taken_down(5000, 5000, start + 6s));
}

}  // namespace dwspool::retry
