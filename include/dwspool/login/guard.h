// The lock-out guard: a database account is locked (for a day, on GaussDB) after a few wrong
// passwords, so that a password which a server has refused is not tried again by itself; and of
// different ones, which clients may bring, only so many are tried in an hour.
//
//   unproven ─► probing ─► good            one attempt at a time until the first one succeeds
//                  │  ▲
//                  ▼  │ hold_time
//                 held
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "dwspool/base/hash.h"
#include "dwspool/base/time.h"

#include "dwspool/wire/messages.h"

namespace dwspool::login {

class LoginGuard {
 public:
  explicit LoginGuard(Duration hold_time) : hold_time_(hold_time) {}

  static constexpr Duration budget_window = std::chrono::hours{1};
  // More than these are forgotten, those first of which nothing is known.
  static constexpr std::size_t many_accounts = 10000;

  enum class Answer : std::uint8_t {
    go,    // log in, then call one of the on_ functions
    wait,  // another attempt is under way; ask again when that has ended
    held,  // refused before, or too many others were; see held_report
  };
  // `account`: names the cluster, the user and, behind the last NUL, the password in use. `budget`:
  // how many refusals of the user on the cluster there may be in an hour, whatever the password;
  // 0: any number. A password that was good is not concerned.
  Answer ask(const std::string& account, TimePoint now, std::uint32_t budget = 0);
  // Right before the password is proven, by an attempt that ask() has let go. One that was good may
  // be so no longer, and all who prove it at once are refused: so there are never more of them than
  // the budget has left, though always one. After `go`, end_proof whatever comes of it; after
  // on_refused, if that is what comes.
  Answer ask_proof(const std::string& account, TimePoint now, std::uint32_t budget);
  void end_proof(const std::string& account);
  // Names the attempt that ask() has just let go.
  using Attempt = std::uint64_t;
  Attempt attempt(const std::string& account) const { return accounts_.at(account).attempt; }
  // Why the account is held. Precondition: ask() has just answered `held`.
  const wire::ErrorReport& held_report(const std::string& account) const;

  void on_success(const std::string& account);
  // `counts`: towards the lock of the account, so that it is to be counted here, too.
  void on_refused(const std::string& account, const wire::ErrorReport& report, TimePoint now,
                  bool counts = true);
  // The attempt came to nothing for another reason: it says nothing about the password. If it is
  // the one that the others wait for, the next one may try; one that began while the password was
  // thought good may end like this much later, and then it is not.
  void on_no_verdict(const std::string& account, Attempt attempt);

  // When the account can be tried again; `never` unless it is held.
  TimePoint held_until(const std::string& account) const;
  std::size_t size() const { return accounts_.size(); }

 private:
  enum class State : std::uint8_t { unproven, probing, good, held };
  struct Account {
    State state = State::unproven;
    TimePoint held_until;
    wire::ErrorReport report;
    Attempt attempt = 0;  // the last one
  };
  // A user on a cluster.
  struct Owner {
    std::deque<TimePoint> refusals;  // within the window, and no more than have been asked for
    std::uint32_t probes = 0;        // under way, of passwords that are not known to be good
    std::uint32_t proofs = 0;        // let go by ask_proof
  };

  void enter(const std::string& account, Account& entry, State state);
  Answer ask_owner(const std::string& account, Account& entry, TimePoint now, std::uint32_t budget);
  void forget_old(TimePoint now);

  Duration hold_time_;
  Attempt last_attempt_ = 0;
  TimePoint next_sweep_{};
  StringMap<Account> accounts_;
  StringMap<Owner> owners_;
};

}  // namespace dwspool::login
