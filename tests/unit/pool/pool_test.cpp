#include "dwspool/pool/pool.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::pool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint at(int ms) {
  return TimePoint(milliseconds(ms));
}
ClientId client(std::uint32_t n) {
  return {n, 1};
}
BackendId backend(std::uint32_t n) {
  return {n, 1};
}

std::string text(const Action& action) {
  const std::string c = std::to_string(action.client.slot);
  const std::string b = std::to_string(action.backend.slot);
  switch (action.kind) {
    case Action::Kind::grant:
      return "grant " + b + " to " + c;
    case Action::Kind::open:
      return "open " + std::to_string(action.slot);
    case Action::Kind::close:
      return "close " + b;
    case Action::Kind::need_slot:
      return action.reserve ? "need reserve" : "need";
    case Action::Kind::free_slot:
      return "free";
    case Action::Kind::surrender:
      return "surrender " + b;
    case Action::Kind::timeout:
      return "timeout " + c;
    case Action::Kind::notice:
      return "notice " + c;
  }
  return "?";
}

std::string actions(Pool& pool) {
  std::vector<Action> list;
  pool.take_actions(list);
  std::string all;
  for (const Action& action : list) all += (all.empty() ? "" : ", ") + text(action);
  return all;
}

PoolOptions options() {
  PoolOptions o;
  o.queue_timeout = seconds(10);
  o.queue_notice = seconds(2);
  o.server_idle_timeout = seconds(60);
  return o;
}

// A pool with `n` idle backends 1..n in slots 0..n-1.
Pool pool_with(std::uint32_t n, PoolOptions o = options()) {
  Pool pool(o);
  for (std::uint32_t i = 1; i <= n; ++i) {
    pool.acquire(client(i), {}, at(0));
    pool.on_slot(at(0));
    pool.on_opened(i - 1, backend(i), never, at(0));
  }
  for (std::uint32_t i = 0; i < n; ++i) pool.give_back(i, never, at(0));
  actions(pool);
  return pool;
}

}  // namespace

TEST_CASE("the first client waits for the first backend") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(1));
  CHECK(actions(pool) == "open 0");
  pool.on_opened(0, backend(7), never, at(5));
  CHECK(actions(pool) == "grant 7 to 1");
  CHECK(pool.count(SlotState::lent) == 1);
  pool.give_back(0, never, at(6));
  CHECK(actions(pool).empty());
  CHECK(pool.acquire(client(2), {}, at(7)) == backend(7));
  CHECK(actions(pool).empty());
}

TEST_CASE("the backend used last is lent first, and a client gets its own again") {
  Pool pool = pool_with(3);
  CHECK(pool.acquire(client(1), {}, at(1)) == backend(3));
  CHECK(pool.acquire(client(2), backend(1), at(1)) == backend(1));
  CHECK(pool.acquire(client(3), backend(3), at(1)) == backend(2));  // its own is lent
}

TEST_CASE("first come, first served, and nobody jumps the queue") {
  Pool pool = pool_with(1);
  CHECK(pool.acquire(client(1), {}, at(1)));
  CHECK_FALSE(pool.acquire(client(2), {}, at(2)));
  CHECK_FALSE(pool.acquire(client(3), {}, at(3)));
  pool.on_slot_denied();
  actions(pool);
  pool.give_back(0, never, at(4));
  CHECK_FALSE(pool.acquire(client(4), backend(1), at(4)));
  CHECK(actions(pool) == "grant 1 to 2");
  pool.give_back(0, never, at(5));
  CHECK(actions(pool) == "grant 1 to 3");
}

TEST_CASE("one backend is asked for per waiting client, no more") {
  Pool pool(options());
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0, need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 1");
  pool.acquire(client(3), {}, at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot_denied();
  pool.tick(at(100));
  CHECK(actions(pool).empty());  // refused: not asked again until something changes
  pool.on_slots_available(at(200));
  CHECK(actions(pool) == "need");
}

TEST_CASE("waits end: a notice, then the time-out") {
  PoolOptions o = options();
  o.server_idle_timeout = Duration::zero();
  Pool pool = pool_with(1, o);
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(1000));
  pool.on_slot_denied();
  actions(pool);
  CHECK(pool.next_deadline() == at(3000));
  pool.tick(at(3000));
  CHECK(actions(pool) == "notice 2");
  CHECK(pool.next_deadline() == at(11000));
  pool.tick(at(10999));
  CHECK(actions(pool).empty());
  pool.tick(at(11000));
  CHECK(actions(pool) == "timeout 2");
  CHECK(pool.waiting() == 0);
}

TEST_CASE("a client that goes leaves the queue") {
  Pool pool = pool_with(1);
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(0));
  pool.acquire(client(3), {}, at(0));
  pool.on_slot_denied();
  actions(pool);
  CHECK(pool.abandon(client(2), at(1)));
  CHECK_FALSE(pool.abandon(client(2), at(1)));
  pool.give_back(0, never, at(2));
  CHECK(actions(pool) == "grant 1 to 3");
}

TEST_CASE("a failed attempt is repeated after its pause, as long as somebody waits") {
  Pool pool(options());
  pool.acquire(client(1), {}, at(0));
  pool.on_slot(at(0));
  actions(pool);
  pool.on_open_failed(0, at(100), at(10));
  CHECK(actions(pool) == "free");
  CHECK(pool.next_deadline() == at(100));
  pool.tick(at(99));
  CHECK(actions(pool).empty());
  pool.tick(at(100));
  CHECK(actions(pool) == "need");
  CHECK(pool.next_deadline() > at(100));  // no spinning
}

TEST_CASE("idle backends grow old and go; the minimum stays") {
  PoolOptions o = options();
  o.min_size = 1;
  Pool pool = pool_with(3, o);
  CHECK(pool.acquire(client(1), backend(2), at(30000)) == backend(2));
  pool.give_back(1, never, at(30000));
  pool.tick(at(59000));
  CHECK(actions(pool).empty());
  pool.tick(at(75000));
  CHECK(actions(pool) == "free, close 1, free, close 3");
  pool.tick(at(200000));
  CHECK(actions(pool).empty());
  CHECK(pool.size() == 1);
}

TEST_CASE("a backend that has lived long enough is not lent again") {
  PoolOptions o = options();
  o.server_lifetime = seconds(100);
  Pool pool = pool_with(1, o);
  pool.acquire(client(1), {}, at(99000));
  pool.acquire(client(2), {}, at(99000));
  pool.on_slot_denied();
  actions(pool);
  pool.give_back(0, never, at(100000));
  CHECK(actions(pool) == "free, close 1, need");
}

TEST_CASE("min_size is opened without a client, and restored after a loss") {
  PoolOptions o = options();
  o.min_size = 2;
  Pool pool(o);
  pool.tick(at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0, need, open 1");
  pool.on_opened(0, backend(1), never, at(1));
  pool.on_opened(1, backend(2), never, at(1));
  pool.on_lost(0, at(2));
  CHECK(actions(pool) == "free, need");
}

TEST_CASE("the reserve is for those who have waited") {
  PoolOptions o = options();
  o.has_reserve = true;
  o.reserve_timeout = seconds(1);
  Pool pool = pool_with(1, o);
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot_denied();
  CHECK(pool.next_deadline() == at(1000));
  pool.tick(at(1000));
  CHECK(actions(pool) == "need reserve");
  pool.on_slot_denied();
  pool.tick(at(1100));
  CHECK(actions(pool).empty());
}

TEST_CASE("the reserve was asked for: nothing is due before something happens") {
  PoolOptions o = options();
  o.queue_notice = Duration::zero();
  o.server_idle_timeout = Duration::zero();
  o.has_reserve = true;
  o.reserve_timeout = seconds(1);
  Pool pool = pool_with(1, o);
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(0));
  pool.on_slot_denied();
  actions(pool);
  pool.tick(at(1000));
  CHECK(actions(pool) == "need reserve");
  CHECK(pool.next_deadline() == at(10000));  // while the answer is awaited
  pool.on_slot(at(1000));
  CHECK(actions(pool) == "open 1");
  CHECK(pool.next_deadline() == at(10000));  // while the backend is being opened
  pool.on_open_failed(1, at(1500), at(1100));
  actions(pool);
  CHECK(pool.next_deadline() == at(1500));
  pool.tick(at(1500));
  CHECK(actions(pool) == "need reserve");
  pool.on_slot_denied();
  CHECK(pool.next_deadline() == at(10000));
}

TEST_CASE("dirty backends come back by way of cleaning") {
  Pool pool = pool_with(1);
  pool.acquire(client(1), {}, at(0));
  pool.acquire(client(2), {}, at(0));
  pool.on_slot_denied();
  actions(pool);
  pool.give_back_dirty(0);
  CHECK(actions(pool).empty());
  CHECK(pool.count(SlotState::cleaning) == 1);
  pool.on_cleaned(0, never, at(5));
  CHECK(actions(pool) == "grant 1 to 2");
}

TEST_CASE("a backend that dies frees its place, whatever it was doing") {
  Pool pool = pool_with(2);
  pool.on_lost(0, at(1));
  CHECK(actions(pool) == "free");
  pool.acquire(client(1), {}, at(1));
  pool.acquire(client(2), {}, at(1));
  actions(pool);
  pool.on_slot_denied();
  pool.on_lost(1, at(2));
  CHECK(actions(pool) == "free, need");
}

TEST_CASE("another worker's clients get a backend when they have waited longer") {
  Pool pool = pool_with(2);
  pool.acquire(client(1), {}, at(100));
  pool.give_back(1, at(50), at(101));
  CHECK(actions(pool) == "surrender 2");
  pool.acquire(client(1), {}, at(102));
  pool.acquire(client(2), {}, at(103));
  pool.on_slot_denied();
  actions(pool);
  pool.give_back(0, at(100), at(104));  // ours has waited nearly as long: it stays
  CHECK(actions(pool) == "grant 1 to 2");
  pool.acquire(client(3), {}, at(200));
  pool.on_slot_denied();
  actions(pool);
  pool.give_back(0, at(150), at(201));
  CHECK(actions(pool) == "surrender 1");
}

TEST_CASE("a place that was refused is asked for again by the next one who has to wait") {
  Pool pool(options());
  pool.acquire(client(1), {}, at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot_denied();
  pool.acquire(client(2), {}, at(1));
  CHECK(actions(pool).empty());  // other workers know of the first one
  // One of the other worker's comes, and there may be more.
  const Slot slot = pool.adopt(backend(1), at(0), never, at(2));
  CHECK(actions(pool) == "grant 1 to 1, need");
  pool.on_slot_denied();
  CHECK(pool.abandon(client(2), at(3)));
  pool.give_back(slot, at(2), at(4));
  CHECK(actions(pool) == "surrender 1");
  pool.acquire(client(3), {}, at(5));
  CHECK(actions(pool) == "need");
}

TEST_CASE("a backend that comes too late for its client goes to another worker's") {
  Pool pool(options());
  pool.acquire(client(1), {}, at(0));
  pool.on_slot(at(0));
  pool.abandon(client(1), at(1));
  actions(pool);
  pool.on_opened(0, backend(1), at(1), at(2));
  CHECK(actions(pool) == "surrender 1");
  pool.adopt(backend(2), at(0), at(1), at(3));
  CHECK(actions(pool) == "surrender 2");
  CHECK(pool.size() == 0);
}

TEST_CASE("an idle backend is given away when another worker asks, the oldest first") {
  Pool pool = pool_with(2);
  pool.surrender_idle(at(1));
  CHECK(actions(pool) == "surrender 1");
  CHECK(pool.size() == 1);
  const Slot slot = pool.adopt(backend(9), at(0), never, at(2));
  CHECK(pool.size() == 2);
  CHECK(pool.acquire(client(1), {}, at(3)) == backend(9));
  pool.give_back(slot, never, at(4));
}

TEST_CASE("shut down: idle ones go at once, the others when they come back") {
  Pool pool = pool_with(2);
  pool.acquire(client(1), backend(1), at(0));
  pool.shut_down(at(1));
  CHECK(actions(pool) == "free, close 2");
  pool.give_back(0, never, at(2));
  CHECK(actions(pool) == "free, close 1");
  CHECK(pool.unused());
}

TEST_CASE("the states of a slot are a table") {
  constexpr auto no = SlotState::free;  // marks "not allowed" below, with allowed[] beside it
  struct Row {
    SlotState from;
    SlotState to[8];
    bool allowed[8];
  };
  const Row table[] = {
      {SlotState::free,
       {SlotState::opening, SlotState::idle, no, no, no, no, no, no},
       {true, true, false, false, false, false, false, false}},
      {SlotState::opening,
       {no, SlotState::idle, no, no, no, no, no, SlotState::free},
       {false, true, false, false, false, false, false, true}},
      {SlotState::idle,
       {no, no, SlotState::lent, no, no, no, SlotState::free, SlotState::free},
       {false, false, true, false, false, false, true, true}},
      {SlotState::lent,
       {no, no, no, SlotState::idle, SlotState::cleaning, no, no, SlotState::free},
       {false, false, false, true, true, false, false, true}},
      {SlotState::cleaning,
       {no, no, no, no, no, SlotState::idle, no, SlotState::free},
       {false, false, false, false, false, true, false, true}},
  };
  for (const Row& row : table) {
    for (std::size_t event = 0; event < 8; ++event) {
      CAPTURE(to_string(row.from));
      CAPTURE(event);
      const auto reached = next(row.from, static_cast<SlotEvent>(event));
      CHECK(reached.has_value() == row.allowed[event]);
      if (reached) CHECK(*reached == row.to[event]);
    }
  }
}

TEST_CASE("a backend that dies before its grant is heard of: the client keeps its place") {
  Pool pool(options());
  CHECK_FALSE(pool.acquire(client(1), {}, at(0)));
  CHECK_FALSE(pool.acquire(client(2), {}, at(1)));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(1));
  CHECK(actions(pool) == "open 0, need");
  pool.on_slot_denied();
  pool.on_opened(0, backend(1), never, at(5));
  pool.on_lost(0, at(5));
  CHECK(actions(pool) == "free, need");
  CHECK(pool.waiting() == 2);
  CHECK(pool.oldest_wait() == at(0));
  pool.on_slot(at(5));
  pool.on_opened(0, backend(2), never, at(6));
  actions(pool);
  CHECK(pool.waiting() == 1);
  CHECK(pool.oldest_wait() == at(1));
}

TEST_CASE("at a standstill clients wait although there are backends, and time out as ever") {
  Pool pool = pool_with(2);
  pool.hold();
  CHECK_FALSE(pool.first_idle());
  CHECK_FALSE(pool.acquire(client(11), {}, at(1000)));
  CHECK_FALSE(pool.acquire(client(12), {}, at(2000)));
  CHECK_FALSE(pool.acquire(client(13), {}, at(3000)));
  CHECK(actions(pool).empty());  // nothing is opened either
  pool.tick(at(11000));
  CHECK(actions(pool) == "timeout 11, notice 12, notice 13");
  pool.resume(at(11500));
  CHECK(actions(pool) == "grant 2 to 12, grant 1 to 13");
}

TEST_CASE("what comes back at a standstill is kept, and a place that was granted is let go") {
  Pool pool(options());
  pool.acquire(client(1), {}, at(0));
  CHECK(actions(pool) == "need");
  pool.on_slot(at(0));
  CHECK(actions(pool) == "open 0");
  pool.on_opened(0, backend(1), never, at(0));
  CHECK(actions(pool) == "grant 1 to 1");
  pool.acquire(client(2), {}, at(1));
  CHECK(actions(pool) == "need");
  pool.hold();
  pool.on_slot(at(2));
  CHECK(actions(pool) == "free");
  pool.give_back(0, at(0), at(3));  // another worker waits, at a standstill, too
  CHECK(actions(pool).empty());
  CHECK(pool.count(SlotState::idle) == 1);
  pool.surrender_idle(at(4));
  CHECK(actions(pool).empty());
  CHECK(pool.next_deadline() > at(4));
  pool.resume(at(5));
  CHECK(actions(pool) == "grant 1 to 2");
}

TEST_CASE("a grant that comes to nothing leaves the client where it was") {
  Pool pool = pool_with(1);
  REQUIRE(pool.acquire(client(10), {}, at(0)));
  pool.acquire(client(11), {}, at(1));
  pool.acquire(client(12), {}, at(2));
  pool.on_slot_denied();
  std::vector<Action> list;
  pool.take_actions(list);
  pool.give_back(0, never, at(3));
  pool.take_actions(list);
  REQUIRE(list.size() == 1);
  pool.take_back_grant(list.front());
  pool.on_lost(0, at(3));
  CHECK(actions(pool) == "free, need");
  pool.on_slot(at(4));
  pool.on_opened(0, backend(2), never, at(5));
  CHECK(actions(pool).find("grant 2 to 11") != std::string::npos);
}

}  // namespace dwspool::pool
