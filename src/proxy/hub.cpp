#include "dwspool/proxy/hub.h"

namespace dwspool::proxy {

Credentials::Answer Credentials::ask(const std::string& account, TimePoint now,
                                     std::uint32_t budget) {
  const std::lock_guard lock(mutex_);
  Answer answer;
  answer.answer = guard_.ask(account, now, budget);
  if (answer.answer == login::LoginGuard::Answer::held) {
    answer.report = guard_.held_report(account);
  }
  if (answer.answer == login::LoginGuard::Answer::go) answer.attempt = guard_.attempt(account);
  return answer;
}

Credentials::Answer Credentials::ask_proof(const std::string& account, TimePoint now,
                                           std::uint32_t budget) {
  const std::lock_guard lock(mutex_);
  Answer answer;
  answer.answer = guard_.ask_proof(account, now, budget);
  if (answer.answer == login::LoginGuard::Answer::held) {
    answer.report = guard_.held_report(account);
  }
  if (answer.answer == login::LoginGuard::Answer::go) {
    answer.turn = std::make_unique<Turn>(*this, account);
  }
  return answer;
}

void Credentials::end_proof(const std::string& account) {
  const std::lock_guard lock(mutex_);
  guard_.end_proof(account);
}

void Credentials::on_success(const std::string& account) {
  const std::lock_guard lock(mutex_);
  guard_.on_success(account);
}

void Credentials::on_refused(const std::string& account, const wire::ErrorReport& report,
                             TimePoint now, bool counts) {
  const std::lock_guard lock(mutex_);
  guard_.on_refused(account, report, now, counts);
  keys_.forget(account);
}

void Credentials::on_no_verdict(const std::string& account, login::LoginGuard::Attempt attempt) {
  const std::lock_guard lock(mutex_);
  guard_.on_no_verdict(account, attempt);
}

std::optional<login::DerivedKeys> Credentials::find_keys(const std::string& account,
                                                         const login::Derivation& work) const {
  const std::lock_guard lock(mutex_);
  return keys_.find(account, work);
}

void Credentials::store_keys(const std::string& account, const login::Derivation& work,
                             const login::DerivedKeys& keys) {
  const std::lock_guard lock(mutex_);
  keys_.store(account, work, keys);
}

}  // namespace dwspool::proxy
