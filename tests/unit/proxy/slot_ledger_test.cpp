#include "dwspool/proxy/slot_ledger.h"

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/pool/pool.h"

namespace dwspool::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Workers = std::vector<std::size_t>;

}  // namespace

TEST_CASE("places are counted, and those who were refused hear of a free one, once") {
  SlotAccount account(3, 2, 1);
  CHECK(account.try_take(0, false));
  CHECK(account.try_take(1, false));
  CHECK_FALSE(account.try_take(2, false));
  CHECK_FALSE(account.try_take(0, false));
  CHECK_FALSE(account.try_take(2, false));
  CHECK(account.taken() == 2);
  CHECK(account.give_back() == Workers{2, 0});
  CHECK(account.give_back().empty());
  CHECK(account.taken() == 0);
}

TEST_CASE("the reserve is beyond the limit, for those who may use it") {
  SlotAccount account(1, 1, 1);
  CHECK(account.try_take(0, true));
  CHECK_FALSE(account.try_take(0, false));
  CHECK(account.try_take(0, true));
  CHECK_FALSE(account.try_take(0, true));
  CHECK(account.taken() == 2);
}

TEST_CASE("who waits longest on another worker") {
  SlotAccount account(3, 1, 0);
  CHECK(account.foreign_wait(0) == never);
  account.publish_wait(0, TimePoint(seconds(5)));
  account.publish_wait(2, TimePoint(seconds(4)));
  CHECK(account.foreign_wait(0) == TimePoint(seconds(4)));
  CHECK(account.oldest_other(0).worker == 2);
  CHECK(account.foreign_wait(2) == TimePoint(seconds(5)));
  CHECK(account.oldest_other(1).worker == 2);
  account.publish_wait(2, never);
  CHECK(account.foreign_wait(0) == never);
  CHECK(account.oldest_other(1).worker == 0);
  // There are no others.
  SlotAccount alone(1, 1, 0);
  alone.publish_wait(0, TimePoint(seconds(1)));
  CHECK(alone.foreign_wait(0) == never);
}

TEST_CASE("an account lasts as long as somebody has it") {
  SlotLedger ledger(2);
  std::shared_ptr<SlotAccount> first = ledger.account("a", 1, 0);
  CHECK(first->try_take(0, false));
  CHECK(ledger.account("a", 5, 5) == first);  // the limits of the first one hold
  CHECK_FALSE(ledger.account("a", 5, 5)->try_take(1, true));
  CHECK(ledger.account("b", 1, 0) != first);
  first.reset();
  CHECK(ledger.account("a", 3, 0)->taken() == 0);
}

TEST_CASE("many threads never take more places than there are") {
  SlotAccount account(4, 3, 0);
  std::atomic<int> held{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (std::size_t worker = 0; worker < 4; ++worker) {
    threads.emplace_back([&, worker] {
      for (int i = 0; i < 5000; ++i) {
        if (!account.try_take(worker, false)) continue;
        const int now = ++held;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --held;
        account.give_back();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most.load() <= 3);
  CHECK(account.taken() == 0);
}

namespace {

// Some workers with a pool of the same name each, doing what Worker does with its actions.
// Messages between them take as long as the test likes.
class Workshop {
 public:
  Workshop(std::size_t workers, std::uint32_t limit) : account_(workers, limit, 0) {
    pool::PoolOptions options;
    options.queue_timeout = seconds(1000);
    for (std::size_t i = 0; i < workers; ++i) workers_.push_back({pool::Pool(options), {}, {}, {}});
  }

  void acquire(std::size_t w) {
    if (const auto backend = workers_[w].pool.acquire({++last_client_, 1}, {}, now_)) {
      workers_[w].lent.push_back(slots_[backend->slot]);
    }
    settle(w);
  }
  void give_back(std::size_t w) {
    Worker& worker = workers_[w];
    if (worker.lent.empty()) return;
    const pool::Slot slot = worker.lent.front();
    worker.lent.pop_front();
    worker.pool.give_back(slot, account_.foreign_wait(w), now_);
    settle(w);
  }
  void open(std::size_t w) {
    Worker& worker = workers_[w];
    if (worker.opening.empty()) return;
    const pool::Slot slot = worker.opening.front();
    worker.opening.pop_front();
    const BackendId id = new_backend(slot);
    worker.pool.on_opened(slot, id, account_.foreign_wait(w), now_);
    settle(w);
  }
  void abandon(std::size_t w) {
    for (std::uint32_t client = 1; client <= last_client_; ++client) {
      if (workers_[w].pool.abandon({client, 1}, now_)) break;
    }
    settle(w);
  }
  void deliver(std::size_t w) {
    if (workers_[w].inbox.empty()) return;
    const std::function<void()> message = workers_[w].inbox.front();
    workers_[w].inbox.pop_front();
    message();
    settle(w);
  }
  void pass_time(Duration time) { now_ += time; }

  void come_to_rest() {
    bool busy = true;
    for (int i = 0; busy; ++i) {
      REQUIRE(i < 10000);  // else backends travel without end
      busy = false;
      for (std::size_t w = 0; w < workers_.size(); ++w) {
        busy = busy || !workers_[w].inbox.empty() || !workers_[w].opening.empty();
        deliver(w);
        open(w);
      }
    }
  }
  std::size_t waiting() const {
    return sum([](const Worker& w) { return w.pool.waiting(); });
  }
  std::size_t lent() const {
    return sum([](const Worker& w) { return w.lent.size(); });
  }
  std::size_t idle() const {
    return sum([](const Worker& w) { return w.pool.count(pool::SlotState::idle); });
  }
  std::uint32_t taken() const { return account_.taken(); }

 private:
  struct Worker {
    pool::Pool pool;
    std::deque<std::function<void()>> inbox;
    std::deque<pool::Slot> opening;
    std::deque<pool::Slot> lent;
  };
  template <class Number>
  std::size_t sum(Number number) const {
    std::size_t total = 0;
    for (const Worker& worker : workers_) total += number(worker);
    return total;
  }
  BackendId new_backend(pool::Slot slot) {
    slots_.push_back(slot);
    return {static_cast<std::uint32_t>(slots_.size() - 1), 1};
  }
  void settle(std::size_t w);
  void surrender(std::size_t w, BackendId backend);

  SlotAccount account_;
  std::vector<Worker> workers_;
  std::vector<pool::Slot> slots_;  // by backend
  TimePoint now_{seconds(1)};
  std::uint32_t last_client_ = 0;
};

void Workshop::settle(std::size_t w) {
  Worker& worker = workers_[w];
  std::vector<pool::Action> actions;
  while (worker.pool.has_actions()) {
    worker.pool.take_actions(actions);
    for (const pool::Action& action : actions) {
      switch (action.kind) {
        case pool::Action::Kind::grant:
          worker.lent.push_back(slots_[action.backend.slot]);
          break;
        case pool::Action::Kind::open:
          worker.opening.push_back(action.slot);
          break;
        case pool::Action::Kind::need_slot:
          if (account_.try_take(w, action.reserve)) {
            worker.pool.on_slot(now_);
            break;
          }
          worker.pool.on_slot_denied();
          account_.publish_wait(w, worker.pool.oldest_wait());
          for (std::size_t other = 0; other < workers_.size(); ++other) {
            if (other == w) continue;
            workers_[other].inbox.push_back(
                [this, other] { workers_[other].pool.surrender_idle(now_); });
          }
          break;
        case pool::Action::Kind::surrender:
          surrender(w, action.backend);
          break;
        case pool::Action::Kind::close:
        case pool::Action::Kind::free_slot:
        case pool::Action::Kind::timeout:
        case pool::Action::Kind::notice:
          FAIL("backends do not age here");
      }
    }
    actions.clear();
  }
  account_.publish_wait(w, worker.pool.oldest_wait());
}

void Workshop::surrender(std::size_t w, BackendId backend) {
  const SlotAccount::Waiting waiting = account_.oldest_other(w);
  if (waiting.since == never) {
    slots_[backend.slot] = workers_[w].pool.adopt(backend, now_, never, now_);
    return;
  }
  const std::size_t to = waiting.worker;
  workers_[to].inbox.push_back([this, to] {
    const BackendId moved = new_backend(0);
    slots_[moved.slot] = workers_[to].pool.adopt(moved, now_, account_.foreign_wait(to), now_);
  });
}

}  // namespace

TEST_CASE("no client waits while a backend is idle or could be opened, whichever worker has it") {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::size_t workers = 1 + random() % 4;
    const auto limit = static_cast<std::uint32_t>(1 + random() % 4);
    Workshop shop(workers, limit);
    for (int step = 0; step < 300; ++step) {
      const std::size_t w = random() % workers;
      switch (random() % 8) {
        case 0:
        case 1:
          shop.acquire(w);
          break;
        case 2:
        case 3:
          shop.give_back(w);
          break;
        case 4:
          shop.open(w);
          break;
        case 5:
          if (random() % 4 == 0) shop.abandon(w);
          break;
        case 6:
          shop.pass_time(milliseconds(random() % 15));
          break;
        default:
          shop.deliver(w);
          break;
      }
      REQUIRE(shop.taken() <= limit);
      if (step % 20 != 0) continue;
      shop.come_to_rest();
      REQUIRE(shop.idle() + shop.lent() == shop.taken());
      if (shop.waiting() > 0) {
        REQUIRE(shop.idle() == 0);
        REQUIRE(shop.taken() == limit);
      }
    }
  }
}

TEST_CASE("other limits hold at once") {
  SlotAccount account(2, 2, 0);
  CHECK(account.try_take(0, false));
  CHECK(account.try_take(0, false));
  CHECK_FALSE(account.try_take(1, false));
  CHECK(account.surplus() == 0);
  // Lower: nothing is taken away, but it shows.
  CHECK(account.set_limits(1, 0) == std::vector<std::size_t>{1});
  CHECK(account.surplus() == 1);
  CHECK(account.give_back().empty());
  CHECK(account.surplus() == 0);
  CHECK_FALSE(account.try_take(1, false));
  // Higher, and who was refused hears of it.
  CHECK(account.set_limits(1, 1) == std::vector<std::size_t>{1});
  CHECK_FALSE(account.try_take(1, false));
  CHECK(account.try_take(1, true));
}

}  // namespace dwspool::proxy
