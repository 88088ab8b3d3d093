#include "dwspool/pool/pool.h"

#include <algorithm>
#include <cassert>

namespace dwspool::pool {
namespace {

// By how much longer than our own first client somebody on another worker must have waited for
// a backend to change workers: less, and backends would travel more than they work.
constexpr Duration foreign_patience = std::chrono::milliseconds{10};

constexpr Duration min_sweep = std::chrono::milliseconds{100};
constexpr Duration max_sweep = std::chrono::seconds{15};

}  // namespace

void Pool::transit(Slot slot, SlotEvent event) {
  Entry& entry = entries_[slot];
  const std::optional<SlotState> state = next(entry.state, event);
  assert(state);
  if (!state) return;
  if (entry.state != SlotState::free) --counts_[static_cast<std::size_t>(entry.state)];
  if (*state != SlotState::free) ++counts_[static_cast<std::size_t>(*state)];
  entry.state = *state;
}

std::size_t Pool::size() const {
  return count(SlotState::opening) + count(SlotState::idle) + count(SlotState::lent) +
         count(SlotState::cleaning);
}

std::optional<BackendId> Pool::acquire(ClientId client, BackendId preferred, TimePoint now) {
  if (waiters_.empty() && idle_head_ != none && !held_) {
    Slot slot = static_cast<Slot>(idle_head_);
    if (preferred && entries_[slot].backend != preferred) {
      for (std::int32_t i = entries_[slot].following; i != none;
           i = entries_[static_cast<Slot>(i)].following) {
        if (entries_[static_cast<Slot>(i)].backend == preferred) {
          slot = static_cast<Slot>(i);
          break;
        }
      }
    }
    unlink_idle(slot);
    transit(slot, SlotEvent::grant);
    return entries_[slot].backend;
  }
  // Other workers may have idle backends again: nobody says so as long as nobody waits here.
  if (waiters_.empty()) denied_ = Denied::nothing;
  waiters_.push_back({client, now, false});
  waiting_[client.packed()] = std::prev(waiters_.end());
  want_more(now);
  return std::nullopt;
}

bool Pool::abandon(ClientId client, TimePoint /*now*/) {
  const auto found = waiting_.find(client.packed());
  if (found == waiting_.end()) return false;
  waiters_.erase(found->second);
  waiting_.erase(found);
  return true;
}

void Pool::on_slot_denied() {
  slot_requested_ = false;
  denied_ = asked_reserve_ || !options_.has_reserve ? Denied::all : Denied::without_reserve;
}

void Pool::on_slot(TimePoint now) {
  slot_requested_ = false;
  if (shut_down_ || held_) {
    actions_.push_back({.kind = Action::Kind::free_slot, .client = {}, .backend = {}});
    return;
  }
  const Slot slot = new_slot();
  transit(slot, SlotEvent::open);
  actions_.push_back({.kind = Action::Kind::open, .client = {}, .backend = {}, .slot = slot});
  want_more(now);
}

void Pool::on_slots_available(TimePoint now) {
  denied_ = Denied::nothing;
  want_more(now);
}

Slot Pool::new_slot() {
  if (!free_slots_.empty()) {
    const Slot slot = free_slots_.back();
    free_slots_.pop_back();
    entries_[slot] = Entry{};
    return slot;
  }
  entries_.emplace_back();
  return static_cast<Slot>(entries_.size() - 1);
}

// Whether there are clients whom none of the backends under way can serve.
bool Pool::lacks_backends() const {
  return waiters_.size() > count(SlotState::opening) + count(SlotState::cleaning);
}

// Asks for one place more, if it is needed.
void Pool::want_more(TimePoint now) {
  if (slot_requested_ || shut_down_ || held_ || now < not_before_) return;
  if (!lacks_backends() && size() >= options_.min_size) return;
  const bool reserve = options_.has_reserve && !waiters_.empty() &&
                       now - waiters_.front().since >= options_.reserve_timeout;
  // Asked and refused: the answer changes only when a place comes free, or with the reserve. (Of
  // a backend that another worker does not need, this one hears as long as it waits.)
  if (denied_ == Denied::all || (denied_ == Denied::without_reserve && !reserve)) return;
  asked_reserve_ = reserve;
  slot_requested_ = true;
  actions_.push_back({.kind = Action::Kind::need_slot,
                      .client = {},
                      .backend = {},
                      .slot = 0,
                      .reserve = reserve});
}

void Pool::on_opened(Slot slot, BackendId backend, TimePoint foreign_since, TimePoint now) {
  Entry& entry = entries_[slot];
  entry.backend = backend;
  entry.opened_at = now;
  not_before_ = TimePoint{};
  transit(slot, SlotEvent::opened);
  make_available(slot, foreign_since, now);
  want_more(now);
}

Slot Pool::adopt(BackendId backend, TimePoint opened_at, TimePoint foreign_since, TimePoint now) {
  const Slot slot = new_slot();
  entries_[slot].backend = backend;
  entries_[slot].opened_at = opened_at;
  transit(slot, SlotEvent::opened);
  make_available(slot, foreign_since, now);
  // Where this one came from there may be more.
  if (!waiters_.empty()) denied_ = Denied::nothing;
  want_more(now);
  return slot;
}

void Pool::on_open_failed(Slot slot, TimePoint not_before, TimePoint now) {
  release_slot(slot, SlotEvent::lost);
  not_before_ = std::max(not_before, now);
  want_more(now);
}

void Pool::give_back(Slot slot, TimePoint foreign_since, TimePoint now) {
  transit(slot, SlotEvent::give_back);
  make_available(slot, foreign_since, now);
}

void Pool::give_back_dirty(Slot slot) {
  transit(slot, SlotEvent::give_back_dirty);
}

void Pool::on_cleaned(Slot slot, TimePoint foreign_since, TimePoint now) {
  transit(slot, SlotEvent::cleaned);
  make_available(slot, foreign_since, now);
}

// The slot is idle by state, but not in the idle list yet.
void Pool::make_available(Slot slot, TimePoint foreign_since, TimePoint now) {
  const BackendId backend = entries_[slot].backend;
  if (shut_down_ || too_old(entries_[slot], now)) {
    release_slot(slot, SlotEvent::expire);
    actions_.push_back({.kind = Action::Kind::close, .client = {}, .backend = backend});
    want_more(now);
    return;
  }
  if (held_) {
    push_idle(slot, now);
    return;
  }
  if (foreign_since != never &&
      (waiters_.empty() || foreign_since + foreign_patience < waiters_.front().since)) {
    transit(slot, SlotEvent::lost);
    free_slots_.push_back(slot);
    actions_.push_back({.kind = Action::Kind::surrender, .client = {}, .backend = backend});
    return;
  }
  if (waiters_.empty()) {
    push_idle(slot, now);
    return;
  }
  grant_front(slot);
}

// To the client who waits longest.
void Pool::grant_front(Slot slot) {
  const Waiter waiter = waiters_.front();
  waiting_.erase(waiter.client.packed());
  waiters_.pop_front();
  transit(slot, SlotEvent::grant);
  actions_.push_back({.kind = Action::Kind::grant,
                      .client = waiter.client,
                      .backend = entries_[slot].backend,
                      .slot = slot,
                      .since = waiter.since});
}

void Pool::resume(TimePoint now) {
  held_ = false;
  while (!waiters_.empty() && idle_head_ != none) {
    const Slot slot = static_cast<Slot>(idle_head_);
    unlink_idle(slot);
    grant_front(slot);
  }
  denied_ = Denied::nothing;
  want_more(now);
}

void Pool::take_back_grant(const Action& grant) {
  waiters_.push_front({grant.client, grant.since, false});
  waiting_[grant.client.packed()] = waiters_.begin();
}

void Pool::yield_idle() {
  if (!waiters_.empty() || idle_tail_ == none || size() <= options_.min_size) return;
  const Slot slot = static_cast<Slot>(idle_tail_);
  const BackendId backend = entries_[slot].backend;
  unlink_idle(slot);
  release_slot(slot, SlotEvent::expire);
  actions_.push_back({.kind = Action::Kind::close, .client = {}, .backend = backend});
}

void Pool::surrender_idle(TimePoint /*now*/) {
  if (!waiters_.empty() || idle_tail_ == none || held_) return;
  const Slot slot = static_cast<Slot>(idle_tail_);
  unlink_idle(slot);
  const BackendId backend = entries_[slot].backend;
  transit(slot, SlotEvent::lost);
  free_slots_.push_back(slot);
  actions_.push_back({.kind = Action::Kind::surrender, .client = {}, .backend = backend});
}

void Pool::on_lost(Slot slot, TimePoint now) {
  if (entries_[slot].state == SlotState::idle) unlink_idle(slot);
  if (entries_[slot].state == SlotState::lent) withdraw_grant(entries_[slot].backend);
  release_slot(slot, SlotEvent::lost);
  want_more(now);
}

// A backend may die before the shell has heard to whom it was granted, as when a server says
// goodbye in the same breath as its welcome. Then the client waits on, where it was.
void Pool::withdraw_grant(BackendId backend) {
  const auto found = std::find_if(actions_.begin(), actions_.end(), [&](const Action& action) {
    return action.kind == Action::Kind::grant && action.backend == backend;
  });
  if (found == actions_.end()) return;
  take_back_grant(*found);
  actions_.erase(found);
}

void Pool::release_slot(Slot slot, SlotEvent event) {
  transit(slot, event);
  free_slots_.push_back(slot);
  denied_ = Denied::nothing;
  actions_.push_back({.kind = Action::Kind::free_slot, .client = {}, .backend = {}});
}

void Pool::push_idle(Slot slot, TimePoint now) {
  Entry& entry = entries_[slot];
  entry.idle_since = now;
  entry.previous = none;
  entry.following = idle_head_;
  if (idle_head_ != none) {
    entries_[static_cast<Slot>(idle_head_)].previous = static_cast<std::int32_t>(slot);
  } else {
    idle_tail_ = static_cast<std::int32_t>(slot);
    if (next_sweep_ == never) next_sweep_ = deadline_after(now, sweep_interval());
  }
  idle_head_ = static_cast<std::int32_t>(slot);
}

void Pool::unlink_idle(Slot slot) {
  Entry& entry = entries_[slot];
  if (entry.previous != none) {
    entries_[static_cast<Slot>(entry.previous)].following = entry.following;
  } else {
    idle_head_ = entry.following;
  }
  if (entry.following != none) {
    entries_[static_cast<Slot>(entry.following)].previous = entry.previous;
  } else {
    idle_tail_ = entry.previous;
  }
  entry.previous = entry.following = none;
}

bool Pool::too_old(const Entry& entry, TimePoint now) const {
  if (options_.server_lifetime <= Duration::zero()) return false;
  // Spread over a tenth of the lifetime, so that backends opened together do not end together.
  const Duration spread =
      options_.server_lifetime / 10 * static_cast<std::int64_t>(entry.backend.slot % 8) / 8;
  return now - entry.opened_at >= options_.server_lifetime - spread;
}

Duration Pool::sweep_interval() const {
  Duration shortest = max_sweep * 8;
  for (const Duration limit : {options_.server_idle_timeout, options_.server_lifetime}) {
    if (limit > Duration::zero()) shortest = std::min(shortest, limit);
  }
  return std::clamp(shortest / 8, min_sweep, max_sweep);
}

void Pool::tick(TimePoint now) {
  if (now >= not_before_) not_before_ = TimePoint{};
  expire_waiters(now);
  if (now >= next_sweep_) expire_idle(now);
  want_more(now);
}

void Pool::expire_waiters(TimePoint now) {
  while (!waiters_.empty() &&
         now >= deadline_after(waiters_.front().since, options_.queue_timeout)) {
    const ClientId client = waiters_.front().client;
    waiting_.erase(client.packed());
    waiters_.pop_front();
    actions_.push_back({.kind = Action::Kind::timeout, .client = client, .backend = {}});
  }
  if (options_.queue_notice <= Duration::zero()) return;
  for (Waiter& waiter : waiters_) {
    if (now < waiter.since + options_.queue_notice) break;
    if (waiter.noticed) continue;
    waiter.noticed = true;
    actions_.push_back({.kind = Action::Kind::notice, .client = waiter.client, .backend = {}});
  }
}

void Pool::expire_idle(TimePoint now) {
  std::int32_t i = idle_tail_;
  while (i != none) {
    const Slot slot = static_cast<Slot>(i);
    const Entry& entry = entries_[slot];
    i = entry.previous;
    const bool idle_too_long =
        now >= deadline_after(entry.idle_since, options_.server_idle_timeout) &&
        size() > options_.min_size;
    if (!idle_too_long && !too_old(entry, now)) continue;
    const BackendId backend = entry.backend;
    unlink_idle(slot);
    release_slot(slot, SlotEvent::expire);
    actions_.push_back({.kind = Action::Kind::close, .client = {}, .backend = backend});
  }
  next_sweep_ = idle_head_ == none ? never : deadline_after(now, sweep_interval());
}

TimePoint Pool::next_deadline() const {
  TimePoint next = next_sweep_;
  const bool wants = !waiters_.empty() || size() < options_.min_size;
  if (wants && not_before_ != TimePoint{}) next = std::min(next, not_before_);
  if (waiters_.empty()) return next;
  next = std::min(next, deadline_after(waiters_.front().since, options_.queue_timeout));
  if (options_.queue_notice > Duration::zero()) {
    for (const Waiter& waiter : waiters_) {
      if (waiter.noticed) continue;
      next = std::min(next, waiter.since + options_.queue_notice);
      break;
    }
  }
  // Only while want_more() would ask: a deadline that nothing comes of would be due for ever.
  if (options_.has_reserve && denied_ == Denied::without_reserve && lacks_backends() &&
      !slot_requested_ && !shut_down_ && !held_) {
    next = std::min(next, std::max(waiters_.front().since + options_.reserve_timeout, not_before_));
  }
  return next;
}

void Pool::shut_down(TimePoint now) {
  shut_down_ = true;
  while (idle_head_ != none) {
    const Slot slot = static_cast<Slot>(idle_head_);
    const BackendId backend = entries_[slot].backend;
    unlink_idle(slot);
    release_slot(slot, SlotEvent::expire);
    actions_.push_back({.kind = Action::Kind::close, .client = {}, .backend = backend});
  }
  next_sweep_ = never;
  static_cast<void>(now);
}

std::vector<ClientId> Pool::take_waiters() {
  std::vector<ClientId> clients;
  for (const Waiter& waiter : waiters_) clients.push_back(waiter.client);
  waiters_.clear();
  waiting_.clear();
  return clients;
}

}  // namespace dwspool::pool
