// The lock-out guard: a database account is locked (for a day, on GaussDB) after a few wrong
// passwords, so that a password which a server has refused is not tried again by itself.
//
//   unproven ─► probing ─► good            one attempt at a time until the first one succeeds
//                  │  ▲
//                  ▼  │ hold_time
//                 held
#pragma once

#include <cstdint>
#include <string>

#include "dwspool/base/hash.h"
#include "dwspool/base/time.h"

#include "dwspool/wire/messages.h"

namespace dwspool::login {

class LoginGuard {
 public:
  explicit LoginGuard(Duration hold_time) : hold_time_(hold_time) {}

  enum class Answer : std::uint8_t {
    go,    // log in, then call one of the on_ functions
    wait,  // another attempt is under way; ask again when that has ended
    held,  // refused before; see held_report
  };
  // `account`: names the cluster, the user and the password in use.
  Answer ask(const std::string& account, TimePoint now);
  // Names the attempt that ask() has just let go.
  using Attempt = std::uint64_t;
  Attempt attempt(const std::string& account) const { return accounts_.at(account).attempt; }
  // Why the account is held. Precondition: ask() has just answered `held`.
  const wire::ErrorReport& held_report(const std::string& account) const;

  void on_success(const std::string& account);
  void on_refused(const std::string& account, const wire::ErrorReport& report, TimePoint now);
  // The attempt came to nothing for another reason: it says nothing about the password. If it is
  // the one that the others wait for, the next one may try; one that began while the password was
  // thought good may end like this much later, and then it is not.
  void on_no_verdict(const std::string& account, Attempt attempt);

  // When the account can be tried again; `never` unless it is held.
  TimePoint held_until(const std::string& account) const;

 private:
  enum class State : std::uint8_t { unproven, probing, good, held };
  struct Account {
    State state = State::unproven;
    TimePoint held_until;
    wire::ErrorReport report;
    Attempt attempt = 0;  // the last one
  };

  Duration hold_time_;
  StringMap<Account> accounts_;
};

}  // namespace dwspool::login
