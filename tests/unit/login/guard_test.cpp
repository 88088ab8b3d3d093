#include "dwspool/login/guard.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::login {
namespace {

using namespace std::chrono_literals;
using Answer = LoginGuard::Answer;

constexpr Duration hold = 30min;
constexpr TimePoint start{1h};

// Brings an account into a state, and asks what state it is in by what it answers.
enum class State { unproven, probing, good, held };
const std::vector<State> all_states = {State::unproven, State::probing, State::good, State::held};

const wire::ErrorReport refusal{wire::Severity::error, "28P01", "no", "", "", ""};

LoginGuard in(State state) {
  LoginGuard guard(hold);
  switch (state) {
    case State::unproven:
      break;
    case State::probing:
      REQUIRE(guard.ask("a", start) == Answer::go);
      break;
    case State::good:
      guard.on_success("a");
      break;
    case State::held:
      guard.on_refused("a", refusal, start);
      break;
  }
  return guard;
}

State state_of(LoginGuard guard, TimePoint now) {
  if (guard.held_until("a") != never && now < guard.held_until("a")) return State::held;
  switch (guard.ask("a", now)) {
    case Answer::wait:
      return State::probing;
    case Answer::held:
      return State::held;
    case Answer::go:
      break;
  }
  // One that is proven lets a second one go, too.
  return guard.ask("a", now) == Answer::go ? State::good : State::unproven;
}

}  // namespace

TEST_CASE("guard: every event in every state") {
  struct Row {
    State before;
    State asked;
    State success;
    State refused;
    State no_verdict;
  };
  const std::vector<Row> rows = {
      {State::unproven, State::probing, State::good, State::held, State::unproven},
      {State::probing, State::probing, State::good, State::held, State::unproven},
      {State::good, State::good, State::good, State::held, State::good},
      {State::held, State::held, State::good, State::held, State::held},
  };
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.before));
    REQUIRE(state_of(in(row.before), start) == row.before);
    LoginGuard guard = in(row.before);
    static_cast<void>(guard.ask("a", start));
    CHECK(state_of(guard, start) == row.asked);
    guard = in(row.before);
    guard.on_success("a");
    CHECK(state_of(guard, start) == row.success);
    guard = in(row.before);
    guard.on_refused("a", refusal, start);
    CHECK(state_of(guard, start) == row.refused);
    guard = in(row.before);
    const bool asked = row.before == State::probing || row.before == State::held;
    guard.on_no_verdict("a", asked ? guard.attempt("a") : 0);
    CHECK(state_of(guard, start) == row.no_verdict);
  }
}

TEST_CASE("guard: until the password is proven there is one attempt at a time") {
  LoginGuard guard(hold);
  CHECK(guard.ask("a", start) == Answer::go);
  for (int i = 0; i < 10; ++i) CHECK(guard.ask("a", start + 1h) == Answer::wait);
  guard.on_success("a");
  for (int i = 0; i < 10; ++i) CHECK(guard.ask("a", start) == Answer::go);
}

TEST_CASE("guard: an attempt without a verdict lets the next one try") {
  LoginGuard guard(hold);
  CHECK(guard.ask("a", start) == Answer::go);
  guard.on_no_verdict("a", guard.attempt("a"));
  CHECK(guard.ask("a", start) == Answer::go);
  CHECK(guard.ask("a", start) == Answer::wait);
}

TEST_CASE("guard: an attempt that ends late does not let others try beside the one under way") {
  LoginGuard guard(hold);
  guard.on_success("a");
  CHECK(guard.ask("a", start) == Answer::go);
  const LoginGuard::Attempt first = guard.attempt("a");
  CHECK(guard.ask("a", start) == Answer::go);
  const LoginGuard::Attempt second = guard.attempt("a");
  CHECK(first != second);
  guard.on_refused("a", refusal, start);  // the second one
  CHECK(guard.ask("a", start + hold) == Answer::go);
  const LoginGuard::Attempt third = guard.attempt("a");
  guard.on_no_verdict("a", first);
  CHECK(guard.ask("a", start + hold) == Answer::wait);
  guard.on_no_verdict("a", third);
  CHECK(guard.ask("a", start + hold) == Answer::go);
}

TEST_CASE("guard: a refused password rests for the time given, and then one may try") {
  LoginGuard guard(hold);
  CHECK(guard.ask("a", start) == Answer::go);
  guard.on_refused("a", refusal, start);
  CHECK(guard.held_until("a") == start + hold);
  CHECK(guard.ask("a", start) == Answer::held);
  CHECK(guard.held_report("a").sqlstate == "28P01");
  CHECK(guard.held_report("a").message == "no");
  CHECK(guard.ask("a", start + hold - 1ns) == Answer::held);
  CHECK(guard.ask("a", start + hold) == Answer::go);
  CHECK(guard.held_until("a") == never);
  CHECK(guard.ask("a", start + hold) == Answer::wait);
  // Refused again, it rests as long again, for the new reason.
  guard.on_refused("a", {wire::Severity::error, "28000", "locked", "", "", ""}, start + hold);
  CHECK(guard.ask("a", start + hold + hold - 1ns) == Answer::held);
  CHECK(guard.held_report("a").message == "locked");
  CHECK(guard.ask("a", start + hold + hold) == Answer::go);
}

TEST_CASE("guard: a password that was good and is refused is not tried again") {
  LoginGuard guard(hold);
  guard.on_success("a");
  CHECK(guard.ask("a", start) == Answer::go);
  const LoginGuard::Attempt first = guard.attempt("a");
  CHECK(guard.ask("a", start) == Answer::go);  // two at once, of a pool that grows
  guard.on_refused("a", refusal, start);
  CHECK(guard.ask("a", start) == Answer::held);
  guard.on_no_verdict("a", first);  // the other one ended otherwise: no news
  CHECK(guard.ask("a", start) == Answer::held);
}

TEST_CASE("guard: accounts do not know of one another") {
  LoginGuard guard(hold);
  CHECK(guard.ask("cluster/a/1", start) == Answer::go);
  guard.on_refused("cluster/a/1", refusal, start);
  CHECK(guard.ask("cluster/a/2", start) == Answer::go);  // the same user, another password
  CHECK(guard.ask("cluster/b/1", start) == Answer::go);
  CHECK(guard.ask("", start) == Answer::go);
  guard.on_success("cluster/b/1");
  CHECK(guard.ask("cluster/a/1", start) == Answer::held);
  CHECK(guard.ask("cluster/a/2", start) == Answer::wait);
  CHECK(guard.ask("cluster/b/1", start) == Answer::go);
}

namespace {

// The account of a password of one user.
std::string with_password(const std::string& password) {
  return std::string("cluster\0user\0", 13) + password;
}

// One attempt that is refused; what the guard says before.
Answer refused_attempt(LoginGuard& guard, const std::string& password, TimePoint now,
                       bool counts = true) {
  const Answer answer = guard.ask(with_password(password), now, 3);
  if (answer == Answer::go) guard.on_refused(with_password(password), refusal, now, counts);
  return answer;
}

}  // namespace

TEST_CASE("guard: of different passwords, only so many are tried in an hour") {
  LoginGuard guard(hold);
  CHECK(refused_attempt(guard, "1", start) == Answer::go);
  CHECK(refused_attempt(guard, "1", start) == Answer::held);  // the same again costs nothing
  CHECK(guard.held_report(with_password("1")).sqlstate == "28P01");
  CHECK(refused_attempt(guard, "2", start + 10min) == Answer::go);
  CHECK(refused_attempt(guard, "3", start + 20min) == Answer::go);
  CHECK(refused_attempt(guard, "4", start + 20min) == Answer::held);
  CHECK(guard.held_report(with_password("4")).sqlstate == "28000");
  CHECK(guard.held_report(with_password("4")).message.find("too many") != std::string::npos);
  CHECK(refused_attempt(guard, "1", start + 40min) == Answer::held);  // rested, but no budget
  CHECK(refused_attempt(guard, "4", start + 1h - 1ns) == Answer::held);
  CHECK(refused_attempt(guard, "4", start + 1h) == Answer::go);  // the first is an hour ago
  CHECK(refused_attempt(guard, "5", start + 1h) == Answer::held);
  CHECK(refused_attempt(guard, "5", start + 70min) == Answer::go);
}

TEST_CASE("guard: other users, and other clusters, have a budget of their own") {
  LoginGuard guard(hold);
  for (const char* const password : {"1", "2", "3", "4"}) refused_attempt(guard, password, start);
  CHECK(guard.ask(std::string("cluster\0other\0001", 15), start, 3) == Answer::go);
  CHECK(guard.ask(std::string("other\0user\0001", 12), start, 3) == Answer::go);
  CHECK(guard.ask(with_password("9"), start, 3) == Answer::held);
  CHECK(guard.ask(with_password("9"), start, 0) == Answer::go);  // no budget to keep to
}

TEST_CASE("guard: attempts under way may all fail, and are counted as if they did") {
  LoginGuard guard(hold);
  for (const char* const password : {"1", "2", "3"}) {
    CHECK(guard.ask(with_password(password), start, 3) == Answer::go);
  }
  CHECK(guard.ask(with_password("4"), start, 3) == Answer::wait);
  guard.on_no_verdict(with_password("1"), guard.attempt(with_password("1")));
  CHECK(guard.ask(with_password("4"), start, 3) == Answer::go);
  CHECK(guard.ask(with_password("5"), start, 3) == Answer::wait);
  guard.on_success(with_password("2"));
  CHECK(guard.ask(with_password("5"), start, 3) == Answer::go);
  for (const char* const password : {"3", "4", "5"}) {
    guard.on_refused(with_password(password), refusal, start);
  }
  CHECK(guard.ask(with_password("6"), start, 3) == Answer::held);
}

TEST_CASE("guard: a password that is good goes, whatever others have failed") {
  LoginGuard guard(hold);
  CHECK(guard.ask(with_password("right"), start, 3) == Answer::go);
  guard.on_success(with_password("right"));
  for (const char* const password : {"1", "2", "3", "4"}) refused_attempt(guard, password, start);
  for (int i = 0; i < 5; ++i) CHECK(guard.ask(with_password("right"), start, 3) == Answer::go);
}

TEST_CASE("guard: of a password that was good, no more are proven at once than may be refused") {
  LoginGuard guard(hold);
  const std::string account = with_password("good");
  guard.on_success(account);
  for (int i = 0; i < 3; ++i) CHECK(guard.ask_proof(account, start, 3) == Answer::go);
  CHECK(guard.ask_proof(account, start, 3) == Answer::wait);
  CHECK(guard.ask_proof(account, start, 0) == Answer::go);  // where nothing is locked
  guard.end_proof(account);
  guard.end_proof(account);
  CHECK(guard.ask_proof(account, start, 3) == Answer::go);
  CHECK(guard.ask_proof(account, start, 3) == Answer::wait);
  // The first one that is refused ends it for those who wait.
  guard.on_refused(account, refusal, start);
  CHECK(guard.ask_proof(account, start, 3) == Answer::held);
  CHECK(guard.held_report(account).sqlstate == "28P01");
}

TEST_CASE("guard: what clients have spent is missing, but one may always prove a good password") {
  LoginGuard guard(hold);
  const std::string account = with_password("good");
  guard.on_success(account);
  refused_attempt(guard, "1", start);
  CHECK(guard.ask_proof(account, start, 3) == Answer::go);
  CHECK(guard.ask_proof(account, start, 3) == Answer::go);
  CHECK(guard.ask_proof(account, start, 3) == Answer::wait);
  guard.end_proof(account);
  guard.end_proof(account);
  refused_attempt(guard, "2", start);
  refused_attempt(guard, "3", start);
  CHECK(guard.ask_proof(account, start, 3) == Answer::go);
  CHECK(guard.ask_proof(account, start, 3) == Answer::wait);
}

TEST_CASE("guard: refusals that do not count leave the budget as it is") {
  LoginGuard guard(hold);
  for (int i = 0; i < 10; ++i) {
    CHECK(refused_attempt(guard, std::to_string(i), start, false) == Answer::go);
  }
  CHECK(refused_attempt(guard, "x", start) == Answer::go);
}

TEST_CASE("guard: passwords and users without end do not take memory without end") {
  LoginGuard guard(hold);
  guard.on_success("good");
  for (std::size_t i = 0; i < 3 * LoginGuard::many_accounts; ++i) {
    const std::string account = "cluster\0" + std::to_string(i) + '\0' + "x";
    const TimePoint now = start + std::chrono::milliseconds(100) * static_cast<int>(i);
    REQUIRE(guard.ask(account, now, 3) == Answer::go);
    guard.on_refused(account, refusal, now);
    REQUIRE(guard.size() <= 2 * LoginGuard::many_accounts + 1000);
  }
  CHECK(guard.ask("good", start + 10h, 3) == Answer::go);
  CHECK(guard.ask("good", start + 10h, 3) == Answer::go);  // still known to be
}

TEST_CASE("guard: when an account can be tried again") {
  for (const State state : all_states) {
    CAPTURE(static_cast<int>(state));
    CHECK(in(state).held_until("a") == (state == State::held ? start + hold : never));
  }
  CHECK(LoginGuard(hold).held_until("unknown") == never);
}

TEST_CASE("guard: without a time to rest, a refused password is never tried again") {
  LoginGuard guard(Duration::zero());
  guard.on_refused("a", refusal, start);
  CHECK(guard.ask("a", start + 10000h) == Answer::held);
  CHECK(guard.held_until("a") == never);
}

}  // namespace dwspool::login
