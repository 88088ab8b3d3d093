// A pool whose configuration changes, that is renewed, paused and resumed.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/pool/pool.h"

#include "unit/pool/pool_text.h"

namespace dwspool::pool {
namespace {

using std::chrono::seconds;

PoolOptions options() {
  PoolOptions o;
  o.queue_timeout = seconds(10);
  return o;
}

// A backend that has logged in and is idle.
Slot opened(Pool& pool, std::uint32_t number, TimePoint now) {
  REQUIRE_FALSE(pool.acquire(client(number), {}, now));
  REQUIRE(actions(pool) == "need");
  pool.on_slot(now);
  std::vector<Action> list;
  pool.take_actions(list);
  REQUIRE(list.size() == 1);
  const Slot slot = list.front().slot;
  pool.on_opened(slot, backend(number), never, now);
  REQUIRE(actions(pool) == "grant " + std::to_string(number) + " to " + std::to_string(number));
  return slot;
}

TEST_CASE("renewing closes what is idle at once, and what is lent when it comes back") {
  Pool pool(options());
  const Slot lent = opened(pool, 1, at(0));
  const Slot idle = opened(pool, 2, at(0));
  pool.give_back(idle, never, at(1));
  pool.renew(at(2));
  CHECK(actions(pool) == "free, close 2");
  CHECK(pool.outdated() == 1);
  pool.give_back(lent, never, at(3));
  CHECK(actions(pool) == "free, close 1");
  CHECK(pool.outdated() == 0);
  CHECK(pool.unused());
}

TEST_CASE("a backend that is on its way while the pool is renewed is not lent") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0");
  pool.renew(at(1));
  pool.on_opened(0, backend(1), never, at(2));
  // The client waits on, and a new one is opened for it.
  CHECK(actions(pool) == "free, close 1, need");
  pool.on_slot(at(2));
  CHECK(actions(pool) == "open 0");
  pool.on_opened(0, backend(2), never, at(2));
  CHECK(actions(pool) == "grant 2 to 1");
}

TEST_CASE("a backend that another worker sent before the pool was renewed is not lent") {
  Pool pool(options());
  pool.renew(at(100));
  pool.adopt(backend(1), at(50), never, at(101));
  CHECK(actions(pool) == "free, close 1");
  pool.adopt(backend(2), at(100), never, at(101));
  CHECK(actions(pool).empty());
  CHECK(pool.first_idle() == backend(2));
}

TEST_CASE("a backend that is to be closed may be lost before it is") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0");
  CHECK(pool.abandon(client(1), at(1)));
  pool.renew(at(1));
  pool.on_opened(0, backend(1), never, at(2));
  pool.on_lost(0, at(2));
  CHECK(actions(pool) == "free, close 1");
}

TEST_CASE("one backend can be renewed by itself") {
  Pool pool(options());
  const Slot one = opened(pool, 1, at(0));
  const Slot two = opened(pool, 2, at(0));
  pool.give_back(two, never, at(1));
  pool.renew(two, at(2));
  CHECK(actions(pool) == "free, close 2");
  pool.renew(one, at(2));
  CHECK(actions(pool).empty());
  pool.give_back_dirty(one);
  pool.on_cleaned(one, never, at(3));
  CHECK(actions(pool) == "free, close 1");
}

TEST_CASE("the minimum is opened again after renewing, and when it is raised") {
  PoolOptions wanted = options();
  wanted.min_size = 1;
  Pool pool(wanted);
  pool.tick(at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0");
  pool.on_opened(0, backend(1), never, at(0));
  pool.renew(at(1));
  CHECK(actions(pool) == "free, close 1, need");
  pool.on_slot(at(1));
  CHECK(actions(pool) == "open 0");
  pool.on_opened(0, backend(2), never, at(1));
  wanted.min_size = 2;
  pool.reconfigure(wanted, at(2));
  CHECK(actions(pool) == "need");
}

TEST_CASE("a pool that is paused lends nothing, and keeps nothing") {
  Pool pool(options());
  const Slot lent = opened(pool, 1, at(0));
  const Slot idle = opened(pool, 2, at(0));
  pool.give_back(idle, never, at(1));
  pool.pause(at(2));
  CHECK(actions(pool) == "free, close 2");
  CHECK_FALSE(pool.acquire(client(3), {}, at(3)));
  CHECK(actions(pool).empty());
  pool.tick(at(4));
  CHECK(actions(pool).empty());
  pool.give_back(lent, never, at(5));
  CHECK(actions(pool) == "free, close 1");
  pool.unpause(at(6));
  CHECK(actions(pool) == "need");
}

TEST_CASE("a place that is granted while the pool is paused goes back") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK(actions(pool) == "need");
  pool.pause(at(0));
  pool.on_slot(at(0));
  CHECK(actions(pool) == "free");
  pool.unpause(at(1));
  CHECK(actions(pool) == "need");
}

TEST_CASE("clients who wait in a paused pool are still told when their time is over") {
  Pool pool(options());
  pool.pause(at(0));
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  pool.tick(at(10000));
  CHECK(actions(pool) == "timeout 1");
}

TEST_CASE("other time-outs hold for those who wait already") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK(actions(pool) == "need");
  pool.on_slot_denied();
  PoolOptions shorter = options();
  shorter.queue_timeout = seconds(1);
  pool.reconfigure(shorter, at(500));
  CHECK(pool.next_deadline() <= at(1000));
  CHECK(actions(pool) == "need");  // the answer may be another one now
  pool.on_slot_denied();
  pool.tick(at(1000));
  CHECK(actions(pool) == "timeout 1");
}

TEST_CASE("shedding closes the idle backends that were used longest ago") {
  Pool pool(options());
  std::vector<Slot> slots;
  for (std::uint32_t i = 1; i <= 3; ++i) slots.push_back(opened(pool, i, at(0)));
  for (const std::uint32_t i : {1U, 0U, 2U}) pool.give_back(slots[i], never, at(10));
  pool.shed(2, at(20));
  CHECK(actions(pool) == "free, close 2, free, close 1");
  pool.shed(5, at(20));
  CHECK(actions(pool) == "free, close 3");
}

TEST_CASE("a shorter idle time holds for backends that are idle already") {
  PoolOptions wanted = options();
  wanted.server_idle_timeout = seconds(600);
  Pool pool(wanted);
  const Slot slot = opened(pool, 1, at(0));
  pool.give_back(slot, never, at(0));
  wanted.server_idle_timeout = seconds(1);
  pool.reconfigure(wanted, at(100));
  TimePoint next = pool.next_deadline();
  for (int i = 0; i < 20 && next <= at(2000); ++i) {
    pool.tick(next);
    next = pool.next_deadline();
  }
  CHECK(actions(pool) == "free, close 1");
}

}  // namespace
}  // namespace dwspool::pool
