#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/pool/pool.h"

namespace dwspool::pool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ClientId client(std::uint32_t n) {
  return {n, 1};
}
BackendId backend(std::uint32_t n) {
  return {n, 1};
}

}  // namespace

TEST_CASE("whatever happens: nobody shares a backend, and places are kept count of") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    PoolOptions o;
    o.queue_timeout = seconds(10);
    o.queue_notice = seconds(2);
    o.server_idle_timeout = seconds(60);
    o.min_size = static_cast<std::uint32_t>(random() % 3);
    o.server_lifetime = seconds(random() % 2 == 0 ? 0 : 30);
    o.has_reserve = random() % 2 == 0;
    o.reserve_timeout = milliseconds(random() % 2 == 0 ? 0 : 700);
    Pool pool(o);
    const std::size_t limit = 1 + random() % 5;
    std::size_t places = 0;
    std::uint32_t next_backend = 0;
    std::map<std::uint32_t, std::uint32_t> holder;  // backend -> client
    std::map<std::uint32_t, Slot> slot_of;          // backend -> slot
    std::set<Slot> opening;
    std::set<std::uint32_t> cleaning;
    std::set<std::uint32_t> waiting;
    std::vector<std::uint32_t> order;  // of waiting clients
    TimePoint now;
    const auto settle = [&] {
      std::vector<Action> list;
      while (pool.has_actions()) {
        pool.take_actions(list);
        for (const Action& action : list) {
          switch (action.kind) {
            case Action::Kind::grant:
              REQUIRE_FALSE(pool.held());
              REQUIRE(waiting.erase(action.client.slot) == 1);
              REQUIRE(order.front() == action.client.slot);
              order.erase(order.begin());
              REQUIRE_FALSE(holder.contains(action.backend.slot));
              holder[action.backend.slot] = action.client.slot;
              break;
            case Action::Kind::open:
              REQUIRE_FALSE(pool.held());
              REQUIRE(opening.insert(action.slot).second);
              break;
            case Action::Kind::close:
              REQUIRE_FALSE(holder.contains(action.backend.slot));
              slot_of.erase(action.backend.slot);
              break;
            case Action::Kind::surrender:
              slot_of.erase(action.backend.slot);
              --places;
              break;
            case Action::Kind::need_slot:
              if (places < limit + (action.reserve ? 1 : 0)) {
                ++places;
                pool.on_slot(now);
              } else {
                pool.on_slot_denied();
              }
              break;
            case Action::Kind::free_slot:
              REQUIRE(places > 0);
              --places;
              break;
            case Action::Kind::timeout:
              REQUIRE(waiting.erase(action.client.slot) == 1);
              order.erase(std::find(order.begin(), order.end(), action.client.slot));
              break;
            case Action::Kind::notice:
              REQUIRE(waiting.contains(action.client.slot));
              break;
          }
        }
      }
    };
    std::uint32_t next_client = 0;
    for (int step = 0; step < 400; ++step) {
      now += milliseconds(random() % 500);
      switch (random() % 10) {
        case 0:
        case 1: {
          const std::uint32_t c = ++next_client;
          waiting.insert(c);
          order.push_back(c);
          if (const auto got =
                  pool.acquire(client(c), backend(static_cast<std::uint32_t>(random() % 6)), now)) {
            REQUIRE(order.size() == 1);
            order.clear();
            waiting.erase(c);
            REQUIRE(holder.emplace(got->slot, c).second);
          }
          break;
        }
        case 2:
          if (!opening.empty()) {
            const Slot slot = *opening.begin();
            opening.erase(slot);
            if (random() % 4 == 0) {
              pool.on_open_failed(slot, now + milliseconds(100), now);
            } else {
              const std::uint32_t b = ++next_backend;
              slot_of[b] = slot;
              pool.on_opened(slot, backend(b), random() % 8 == 0 ? now - seconds(1) : never, now);
            }
          }
          break;
        case 3:
        case 4:
          if (!holder.empty()) {
            const auto [b, c] = *holder.begin();
            holder.erase(b);
            if (random() % 4 == 0) {
              pool.give_back_dirty(slot_of[b]);
              cleaning.insert(b);
            } else {
              pool.give_back(slot_of[b], random() % 8 == 0 ? now - seconds(1) : never, now);
            }
          }
          break;
        case 5:
          if (!cleaning.empty()) {
            const std::uint32_t b = *cleaning.begin();
            cleaning.erase(b);
            pool.on_cleaned(slot_of[b], never, now);
          }
          break;
        case 6:
          if (!slot_of.empty() && random() % 3 == 0) {
            const auto [b, slot] = *slot_of.begin();
            slot_of.erase(b);
            holder.erase(b);
            cleaning.erase(b);
            pool.on_lost(slot, now);
          }
          break;
        case 7:
          if (!waiting.empty() && random() % 3 == 0) {
            const std::uint32_t c = *waiting.begin();
            waiting.erase(c);
            order.erase(std::find(order.begin(), order.end(), c));
            REQUIRE(pool.abandon(client(c), now));
          }
          break;
        case 8:
          if (random() % 3 == 0) {
            pool.hold();
          } else {
            pool.resume(now);
          }
          break;
        default:
          pool.tick(now);
          settle();
          REQUIRE(pool.next_deadline() > now);  // or the shell would spin
          break;
      }
      settle();
      REQUIRE(pool.size() == places);
      REQUIRE(pool.waiting() == waiting.size());
      REQUIRE(pool.count(SlotState::lent) == holder.size());
      if (step % 4 == 0) {
        pool.tick(now);
        settle();
        REQUIRE(pool.next_deadline() > now);
      }
    }
  }
}

}  // namespace dwspool::pool
