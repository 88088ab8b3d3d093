#include "dwspool/login/guard.h"

#include "dwspool/wire/sqlstate.h"

namespace dwspool::login {
namespace {

// Of one owner; more would not make a difference to any budget.
constexpr std::size_t most_refusals = 100;
constexpr Duration between_sweeps = std::chrono::minutes{1};

std::string owner_of(const std::string& account) {
  const std::size_t end = account.rfind('\0');
  return end == std::string::npos ? account : account.substr(0, end);
}

}  // namespace

LoginGuard::Answer LoginGuard::ask(const std::string& account, TimePoint now,
                                   std::uint32_t budget) {
  forget_old(now);
  Account& entry = accounts_[account];
  switch (entry.state) {
    case State::good:
      entry.attempt = ++last_attempt_;
      return Answer::go;
    case State::probing:
      return Answer::wait;
    case State::held:
      if (now < entry.held_until) return Answer::held;
      enter(account, entry, State::unproven);
      break;
    case State::unproven:
      break;
  }
  const Answer answer = ask_owner(account, entry, now, budget);
  if (answer != Answer::go) return answer;
  enter(account, entry, State::probing);
  entry.attempt = ++last_attempt_;
  return Answer::go;
}

LoginGuard::Answer LoginGuard::ask_proof(const std::string& account, TimePoint now,
                                         std::uint32_t budget) {
  const Account& entry = accounts_[account];
  if (entry.state == State::held && now < entry.held_until) return Answer::held;
  Owner& owner = owners_[owner_of(account)];
  const std::size_t spent = owner.refusals.size();
  const std::size_t left = spent < budget ? budget - spent : 1;
  if (budget > 0 && entry.state == State::good && owner.proofs >= left) return Answer::wait;
  ++owner.proofs;
  return Answer::go;
}

void LoginGuard::end_proof(const std::string& account) {
  Owner& owner = owners_[owner_of(account)];
  if (owner.proofs > 0) --owner.proofs;
}

// Attempts under way may all be refused.
LoginGuard::Answer LoginGuard::ask_owner(const std::string& account, Account& entry, TimePoint now,
                                         std::uint32_t budget) {
  if (budget == 0) return Answer::go;
  Owner& owner = owners_[owner_of(account)];
  while (!owner.refusals.empty() && owner.refusals.front() + budget_window <= now) {
    owner.refusals.pop_front();
  }
  if (owner.refusals.size() + owner.probes < budget) return Answer::go;
  if (owner.refusals.size() < budget) return Answer::wait;
  entry.report = {};
  entry.report.sqlstate = wire::sqlstate::invalid_authorization;
  entry.report.message = "too many passwords of this user were refused by the cluster";
  entry.report.hint =
      "dwspool tries auth_failure_budget of them in an hour, since the cluster locks the account "
      "after a few more. Wait, or log in to the cluster itself.";
  return Answer::held;
}

void LoginGuard::enter(const std::string& account, Account& entry, State state) {
  if (entry.state == State::probing) --owners_[owner_of(account)].probes;
  if (state == State::probing) ++owners_[owner_of(account)].probes;
  entry.state = state;
}

const wire::ErrorReport& LoginGuard::held_report(const std::string& account) const {
  return accounts_.at(account).report;
}

void LoginGuard::on_success(const std::string& account) {
  Account& entry = accounts_[account];
  enter(account, entry, State::good);
  entry.report = {};
}

void LoginGuard::on_refused(const std::string& account, const wire::ErrorReport& report,
                            TimePoint now, bool counts) {
  Account& entry = accounts_[account];
  enter(account, entry, State::held);
  entry.held_until = deadline_after(now, hold_time_);
  entry.report = report;
  if (!counts) return;
  Owner& owner = owners_[owner_of(account)];
  owner.refusals.push_back(now);
  if (owner.refusals.size() > most_refusals) owner.refusals.pop_front();
}

void LoginGuard::on_no_verdict(const std::string& account, Attempt attempt) {
  const auto found = accounts_.find(account);
  if (found == accounts_.end()) return;
  Account& entry = found->second;
  if (entry.state != State::probing || entry.attempt != attempt) return;
  enter(account, entry, State::unproven);
}

TimePoint LoginGuard::held_until(const std::string& account) const {
  const auto found = accounts_.find(account);
  return found != accounts_.end() && found->second.state == State::held ? found->second.held_until
                                                                        : never;
}

// Whoever comes may bring names and passwords that nobody has heard of.
void LoginGuard::forget_old(TimePoint now) {
  if (accounts_.size() + owners_.size() < many_accounts || now < next_sweep_) return;
  next_sweep_ = now + between_sweeps;
  const bool far_too_many = accounts_.size() >= 2 * many_accounts;
  std::erase_if(accounts_, [&](const auto& each) {
    const Account& entry = each.second;
    const bool rests = entry.state == State::held && now < entry.held_until;
    return entry.state == State::unproven || (entry.state == State::held && !rests) ||
           (rests && far_too_many && hold_time_ > Duration::zero());
  });
  std::erase_if(owners_, [&](const auto& each) {
    const Owner& owner = each.second;
    return owner.probes == 0 && owner.proofs == 0 &&
           (owner.refusals.empty() || owner.refusals.back() + budget_window <= now);
  });
}

}  // namespace dwspool::login
