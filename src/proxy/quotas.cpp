#include "dwspool/proxy/quotas.h"

#include <algorithm>

namespace dwspool::proxy {

bool Quotas::Member::take_yield() {
  std::uint32_t left = to_yield_.load(std::memory_order_relaxed);
  while (left > 0) {
    if (to_yield_.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

Quotas::MemberPtr Quotas::join(const std::string& pool, const std::vector<QuotaRule>& rules) {
  if (rules.empty()) return nullptr;
  const std::lock_guard lock(mutex_);
  MemberPtr member = members_[pool].lock();
  if (member) return member;
  std::erase_if(members_, [](const auto& known) { return known.second.expired(); });
  member = std::make_shared<Member>(pool);
  for (const QuotaRule& rule : rules) {
    quotas_.try_emplace(rule.name, Quota{rule.limit, 0});
    member->quotas_.push_back(rule.name);
  }
  members_[pool] = member;
  return member;
}

bool Quotas::has_room(const Member& member) const {
  return std::all_of(member.quotas_.begin(), member.quotas_.end(), [&](const std::string& name) {
    const Quota& quota = quotas_.at(name);
    return quota.taken < quota.limit;
  });
}

void Quotas::count(Member& member, int change) {
  const auto by = static_cast<std::uint32_t>(change);  // modulo 2^32
  member.taken_ += by;
  for (const std::string& name : member.quotas_) quotas_.at(name).taken += by;
}

Quotas::Answer Quotas::try_take(const MemberPtr& member, std::size_t worker) {
  const std::lock_guard lock(mutex_);
  if (has_room(*member)) {
    count(*member, 1);
    return {true, nullptr};
  }
  const bool known = std::any_of(refused_.begin(), refused_.end(), [&](const Heir& each) {
    return each.member == member && each.worker == worker;
  });
  if (!known) refused_.push_back({member, worker});
  return {false, donor_for(*member)};
}

// Of the pools whose place would do, the one with the most backends.
Quotas::MemberPtr Quotas::donor_for(const Member& member) {
  MemberPtr richest;
  for (const auto& [pool, weak] : members_) {
    const MemberPtr other = weak.lock();
    if (!other || other.get() == &member || other->taken_ == 0) continue;
    // It must have a part in every quota that is full.
    const bool helps =
        std::all_of(member.quotas_.begin(), member.quotas_.end(), [&](const std::string& name) {
          const Quota& quota = quotas_.at(name);
          return quota.taken < quota.limit ||
                 std::find(other->quotas_.begin(), other->quotas_.end(), name) !=
                     other->quotas_.end();
        });
    if (helps && (!richest || other->taken_ > richest->taken_)) richest = other;
  }
  // Even a busy one yields as long as it has more than the other would have then.
  if (richest && richest->taken_ > member.taken_ + 1) {
    const std::uint32_t most = (richest->taken_ - member.taken_) / 2;
    if (richest->to_yield_.load(std::memory_order_relaxed) < most) {
      richest->to_yield_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return richest;
}

std::optional<Quotas::Heir> Quotas::give_back(const MemberPtr& member) {
  const std::lock_guard lock(mutex_);
  count(*member, -1);
  return next_heir();
}

std::optional<Quotas::Heir> Quotas::next_heir() {
  auto poorest = refused_.end();
  for (auto each = refused_.begin(); each != refused_.end(); ++each) {
    if (!has_room(*each->member)) continue;
    if (poorest == refused_.end() || each->member->taken_ < poorest->member->taken_) poorest = each;
  }
  if (poorest == refused_.end()) return std::nullopt;
  Heir heir = std::move(*poorest);
  refused_.erase(poorest);
  count(*heir.member, 1);
  return heir;
}

std::vector<Quotas::Heir> Quotas::change(const std::vector<QuotaRule>& rules) {
  const std::lock_guard lock(mutex_);
  bool grown = false;
  for (const QuotaRule& rule : rules) {
    const auto found = quotas_.find(rule.name);
    if (found == quotas_.end()) continue;
    grown = grown || rule.limit > found->second.limit;
    found->second.limit = rule.limit;
  }
  std::vector<Heir> heirs;
  while (grown) {
    std::optional<Heir> heir = next_heir();
    if (!heir) break;
    heirs.push_back(std::move(*heir));
  }
  return heirs;
}

std::uint32_t Quotas::taken(const std::string& quota) const {
  const std::lock_guard lock(mutex_);
  const auto found = quotas_.find(quota);
  return found == quotas_.end() ? 0 : found->second.taken;
}

bool ClientCounts::enter(const std::string& name, std::uint32_t limit) {
  if (limit == 0) return true;
  const std::lock_guard lock(mutex_);
  std::uint32_t& count = counts_[name];
  if (count >= limit) return false;
  ++count;
  return true;
}

void ClientCounts::leave(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(name);
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

}  // namespace dwspool::proxy
