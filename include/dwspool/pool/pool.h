// Who gets which backend, when: the backends of one database and user on one worker.
//
// Pure: events and the time come in; what is to be done comes out as a list of actions, which
// the shell drains after every call (take_actions). Only acquire() answers at once, because
// nearly always there is an idle backend and nothing else to do.
//
// Waiting clients are served first come, first served, and nobody jumps the queue. Of the idle
// backends a client gets its last one, if that is idle, else the one that was used last (so that
// what is not needed grows old and goes).
//
// How many backends there may be is not the pool's to decide alone: other workers have pools of
// the same name. It asks for a place (need_slot) and gets one (on_slot) or not (on_slot_denied).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dwspool/base/ids.h"
#include "dwspool/base/time.h"

#include "dwspool/pool/slot_state.h"

namespace dwspool::pool {

struct PoolOptions {
  std::uint32_t min_size = 0;
  Duration reserve_timeout{};  // a wait this long may use the reserve; 0: at once
  bool has_reserve = false;
  Duration queue_timeout{};        // 0: none
  Duration queue_notice{};         // 0: none
  Duration server_idle_timeout{};  // 0: none
  Duration server_lifetime{};      // 0: none
};

using Slot = std::uint32_t;

struct Action {
  enum class Kind : std::uint8_t {
    grant,      // give `backend` to `client`
    open,       // make a connection for `slot`
    close,      // close `backend`; its slot is free already
    need_slot,  // ask for a place; `reserve` says whether the reserve may be used
    free_slot,  // a place is not needed any more
    surrender,  // hand `backend` to another worker that waits; its slot is free already
    timeout,    // `client` has waited too long and is out of the queue
    notice,     // `client` has waited for a while
  };
  Kind kind = Kind::grant;
  ClientId client;
  BackendId backend;
  Slot slot = 0;
  bool reserve = false;
  TimePoint since{};  // grant: how long the client has waited
};

class Pool {
 public:
  explicit Pool(const PoolOptions& options) : options_(options) {}

  // --- Clients ---

  // A backend for the client, or nothing: then it waits, and hears by a `grant` or `timeout`.
  // `preferred`: the backend it had last.
  std::optional<BackendId> acquire(ClientId client, BackendId preferred, TimePoint now);
  // The client does not want one any more. False when it was not waiting.
  bool abandon(ClientId client, TimePoint now);

  // --- Backends, by the slot they live in ---

  // The slot's connection has logged in.
  // `foreign_since`, here and below: since when another worker waits for a backend of this name;
  // `never` if none does.
  void on_opened(Slot slot, BackendId backend, TimePoint foreign_since, TimePoint now);
  // It could not be opened: nothing is tried before `not_before`.
  void on_open_failed(Slot slot, TimePoint not_before, TimePoint now);
  // A backend that another worker has handed over, together with its place.
  Slot adopt(BackendId backend, TimePoint opened_at, TimePoint foreign_since, TimePoint now);

  // The client is done.
  void give_back(Slot slot, TimePoint foreign_since, TimePoint now);
  // The client is done, and the backend must be cleaned before anybody else gets it.
  void give_back_dirty(Slot slot);
  void on_cleaned(Slot slot, TimePoint foreign_since, TimePoint now);
  // The connection is gone, whatever it was used for.
  void on_lost(Slot slot, TimePoint now);

  // --- Places ---

  void on_slot(TimePoint now);
  void on_slot_denied();
  // Places have come free elsewhere: ask again if need be.
  void on_slots_available(TimePoint now);
  // Whether a place that is offered would be used: on_slot() takes it.
  bool wants_slot(TimePoint now) const {
    return !shut_down_ && !held_ && !slot_requested_ && now >= not_before_ &&
           (lacks_backends() || size() < options_.min_size);
  }
  // Another pool needs a place more: closes the backend that has been idle for longest, if there
  // is one.
  void yield_idle();
  // Another worker waits: give it an idle backend if there is one to spare.
  void surrender_idle(TimePoint now);

  // --- Standstill: nobody is given a backend and none is opened, while clients may go on waiting
  // and backends may come back. ---
  void hold() { held_ = true; }
  void resume(TimePoint now);
  bool held() const { return held_; }
  // What a grant was for has come to nothing: the client waits on, where it was. The backend is to
  // be reported lost, or given back, by the caller.
  void take_back_grant(const Action& grant);

  // --- Time and state ---

  void tick(TimePoint now);
  TimePoint next_deadline() const;
  // Other knobs from now on, for those who wait already, too.
  void reconfigure(const PoolOptions& options, TimePoint now);
  // Every backend that is open or on the way now is closed as soon as nobody uses it; new ones
  // take their places.
  void renew(TimePoint now);
  // The same for one backend.
  void renew(Slot slot, TimePoint now);
  // How many of those are left.
  std::size_t outdated() const;
  // Closes up to `count` idle backends, the one that was used longest ago first.
  void shed(std::size_t count, TimePoint now);
  // Nobody gets a backend, and those that come back are closed, until unpause(). Clients wait.
  void pause(TimePoint now);
  void unpause(TimePoint now);
  bool paused() const { return paused_; }
  // Every backend is closed as soon as nobody uses it; no new one is opened.
  void shut_down(TimePoint now);
  // All waiting clients, out of the queue; for an error that concerns them all.
  std::vector<ClientId> take_waiters();

  // In the order in which they are to be done; the list is empty afterwards.
  void take_actions(std::vector<Action>& actions) {
    actions.swap(actions_);
    actions_.clear();
  }
  bool has_actions() const { return !actions_.empty(); }

  // Whether another would be opened for each that is lost, though nobody waits.
  bool at_minimum() const { return size() <= options_.min_size && !shut_down_ && !held_; }
  // The backend that acquire() would give a client without a preference; none if it would wait.
  BackendId first_idle() const {
    if (!waiters_.empty() || idle_head_ == none || held_) return {};
    return entries_[static_cast<Slot>(idle_head_)].backend;
  }
  std::size_t waiting() const { return waiters_.size(); }
  TimePoint oldest_wait() const { return waiters_.empty() ? never : waiters_.front().since; }
  std::size_t count(SlotState state) const { return counts_[static_cast<std::size_t>(state)]; }
  std::size_t size() const;
  bool unused() const { return waiters_.empty() && size() == 0; }
  TimePoint opened_at(Slot slot) const { return entries_[slot].opened_at; }

 private:
  struct Waiter {
    ClientId client;
    TimePoint since;
    bool noticed = false;
  };
  struct Entry {
    BackendId backend;
    SlotState state = SlotState::free;
    std::int32_t previous = none;  // in the idle list, last used first
    std::int32_t following = none;
    TimePoint opened_at;
    TimePoint idle_since;
    std::uint32_t generation = 0;  // of the pool when it was opened; see renew()
  };
  static constexpr std::int32_t none = -1;

  void transit(Slot slot, SlotEvent event);
  Slot new_slot();
  void push_idle(Slot slot, TimePoint now);
  void close_idle(Slot slot);
  void close_all_idle();
  void unlink_idle(Slot slot);
  void make_available(Slot slot, TimePoint foreign_since, TimePoint now);
  void withdraw_grant(BackendId backend);
  void grant_front(Slot slot);
  void release_slot(Slot slot, SlotEvent event);
  bool too_old(const Entry& entry, TimePoint now) const;
  bool lacks_backends() const;
  void want_more(TimePoint now);
  void expire_waiters(TimePoint now);
  void expire_idle(TimePoint now);
  Duration sweep_interval() const;

  PoolOptions options_;
  std::list<Waiter> waiters_;
  std::unordered_map<std::uint64_t, std::list<Waiter>::iterator> waiting_;
  std::vector<Entry> entries_;
  std::vector<Slot> free_slots_;
  std::vector<Action> actions_;
  std::size_t counts_[5] = {};  // NOLINT(modernize-avoid-c-arrays)
  std::int32_t idle_head_ = none;
  std::int32_t idle_tail_ = none;
  TimePoint not_before_;
  TimePoint next_sweep_ = never;
  enum class Denied : std::uint8_t { nothing, without_reserve, all };
  Denied denied_ = Denied::nothing;
  bool slot_requested_ = false;
  bool asked_reserve_ = false;
  bool shut_down_ = false;
  bool paused_ = false;
  std::uint32_t generation_ = 0;
  TimePoint renewed_at_;
  bool held_ = false;
};

}  // namespace dwspool::pool
