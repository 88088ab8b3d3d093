#include "dwspool/login/guard.h"

namespace dwspool::login {

LoginGuard::Answer LoginGuard::ask(const std::string& account, TimePoint now) {
  Account& entry = accounts_[account];
  switch (entry.state) {
    case State::good:
      ++entry.attempt;
      return Answer::go;
    case State::probing:
      return Answer::wait;
    case State::held:
      if (now < entry.held_until) return Answer::held;
      break;
    case State::unproven:
      break;
  }
  entry.state = State::probing;
  ++entry.attempt;
  return Answer::go;
}

const wire::ErrorReport& LoginGuard::held_report(const std::string& account) const {
  return accounts_.at(account).report;
}

void LoginGuard::on_success(const std::string& account) {
  Account& entry = accounts_[account];
  entry = {State::good, {}, {}, entry.attempt};
}

void LoginGuard::on_refused(const std::string& account, const wire::ErrorReport& report,
                            TimePoint now) {
  Account& entry = accounts_[account];
  entry = {State::held, deadline_after(now, hold_time_), report, entry.attempt};
}

void LoginGuard::on_no_verdict(const std::string& account, Attempt attempt) {
  Account& entry = accounts_[account];
  if (entry.state == State::probing && entry.attempt == attempt) entry.state = State::unproven;
}

TimePoint LoginGuard::held_until(const std::string& account) const {
  const auto found = accounts_.find(account);
  return found != accounts_.end() && found->second.state == State::held ? found->second.held_until
                                                                        : never;
}

}  // namespace dwspool::login
