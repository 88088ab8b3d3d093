#include "dwspool/proxy/slot_ledger.h"

#include <algorithm>

namespace dwspool::proxy {

bool SlotAccount::try_take(std::size_t worker, bool reserve) {
  const std::lock_guard lock(mutex_);
  if (taken_ < limit_ + (reserve ? reserve_ : 0)) {
    ++taken_;
    return true;
  }
  if (std::find(refused_.begin(), refused_.end(), worker) == refused_.end()) {
    refused_.push_back(worker);
  }
  return false;
}

std::vector<std::size_t> SlotAccount::give_back() {
  const std::lock_guard lock(mutex_);
  --taken_;
  note_surplus();
  std::vector<std::size_t> refused;
  refused.swap(refused_);
  return refused;
}

std::vector<std::size_t> SlotAccount::set_limits(std::uint32_t limit, std::uint32_t reserve) {
  const std::lock_guard lock(mutex_);
  limit_ = limit;
  reserve_ = reserve;
  note_surplus();
  std::vector<std::size_t> refused;
  refused.swap(refused_);
  return refused;
}

void SlotAccount::note_surplus() {
  const std::uint32_t places = limit_ + reserve_;
  surplus_.store(taken_ > places ? taken_ - places : 0, std::memory_order_relaxed);
}

std::uint32_t SlotAccount::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

SlotAccount::Waiting SlotAccount::oldest_other(std::size_t worker) const {
  Waiting oldest;
  for (std::size_t i = 0; i < workers_; ++i) {
    if (i == worker) continue;
    const TimePoint since{Duration(waits_[i].load(std::memory_order_relaxed))};
    if (since < oldest.since) oldest = {i, since};
  }
  return oldest;
}

std::shared_ptr<SlotAccount> SlotLedger::account(const std::string& pool, std::uint32_t limit,
                                                 std::uint32_t reserve) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<SlotAccount>& entry = accounts_[pool];
  std::shared_ptr<SlotAccount> account = entry.lock();
  if (!account) {
    std::erase_if(accounts_,
                  [&](const auto& known) { return known.first != pool && known.second.expired(); });
    account = std::make_shared<SlotAccount>(workers_, limit, reserve);
    accounts_[pool] = account;
  }
  return account;
}

}  // namespace dwspool::proxy
