#include "dwspool/proxy/peer_ledger.h"

#include <algorithm>
#include <random>
#include <set>

#include <doctest/doctest.h>

namespace dwspool::proxy {
namespace {

using namespace std::chrono_literals;
using Errand = PeerLedger::Errand;
using Errands = std::vector<Errand>;
using Requests = std::vector<PeerLedger::Request>;

constexpr PeerLedger::Limits limits{2, 3, 3s};

wire::KeyData key(std::uint32_t pid) {
  return {pid, "abcd"};
}

TEST_CASE("peers: a request goes to all of them, and is done when all have dealt with it") {
  const TimePoint now{1h};
  PeerLedger ledger(2, limits);
  const PeerLedger::Request first = ledger.add(key(1), now);
  CHECK(ledger.take_begun() == Errands{{first, 0}, {first, 1}});
  CHECK(ledger.key(first).pid == 1);
  CHECK(ledger.next_deadline() == now + 3s);
  ledger.on_finished({first, 1});
  CHECK(ledger.take_done().empty());
  ledger.on_finished({first, 1});  // once is enough
  CHECK(ledger.take_done().empty());
  ledger.on_finished({first, 0});
  CHECK(ledger.take_done() == Requests{first});
  CHECK(ledger.size() == 0);
  CHECK(ledger.next_deadline() == never);
}

TEST_CASE("peers: the same key is not passed on twice at the same time") {
  PeerLedger ledger(1, limits);
  const PeerLedger::Request first = ledger.add(key(1), TimePoint{1h});
  CHECK(ledger.add(key(1), TimePoint{1h}) == 0);
  CHECK(ledger.add({1, "abce"}, TimePoint{1h}) != 0);
  ledger.on_finished({first, 0});
  CHECK(ledger.add(key(1), TimePoint{1h}) != 0);
}

TEST_CASE("peers: one that is slow has its line, which is not endless, and holds up no other") {
  const TimePoint now{1h};
  PeerLedger ledger(2, limits);
  Requests all;
  for (std::uint32_t i = 1; i <= 2; ++i) all.push_back(ledger.add(key(i), now));
  CHECK(ledger.take_begun().size() == 4);
  for (std::uint32_t i = 3; i <= 8; ++i) {
    all.push_back(ledger.add(key(i), now));
    // The second one is quick.
    ledger.on_finished({all[i - 3], 1});
  }
  // Of the first one's: two under way, three in line, three dropped.
  CHECK(ledger.take_dropped() == 3);
  for (const Errand& errand : ledger.take_begun()) CHECK(errand.peer == 1);
  ledger.on_finished({all[0], 0});
  CHECK(ledger.take_begun() == Errands{{all[2], 0}});
}

TEST_CASE("peers: what is late is given up, whether it is under way or in line") {
  const TimePoint now{1h};
  PeerLedger ledger(1, limits);
  Requests all;
  for (std::uint32_t i = 1; i <= 4; ++i) all.push_back(ledger.add(key(i), now));
  const PeerLedger::Request later = ledger.add(key(5), now + 1s);
  CHECK(ledger.take_begun() == Errands{{all[0], 0}, {all[1], 0}});
  ledger.tick(now + 2s);
  CHECK(ledger.take_done().empty());
  ledger.tick(now + 3s);
  CHECK(ledger.take_given_up() == Errands{{all[0], 0}, {all[1], 0}});
  CHECK(ledger.take_dropped() == 2);
  CHECK(ledger.take_done() == all);
  CHECK(ledger.take_begun() == Errands{{later, 0}});
  ledger.on_finished({all[0], 0});  // too late: nobody minds
  ledger.tick(now + 4s);
  CHECK(ledger.take_done() == Requests{later});
  CHECK(ledger.next_deadline() == never);
}

TEST_CASE("peers: without any a request is done at once") {
  PeerLedger ledger(0, limits);
  const PeerLedger::Request request = ledger.add(key(1), TimePoint{});
  CHECK(ledger.take_done() == Requests{request});
  CHECK(ledger.size() == 0);
}

TEST_CASE(
    "peers: whatever happens, each request is done once, in time, and no peer gets too many") {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    PeerLedger ledger(3, limits);
    TimePoint now{1h};
    Errands under_way;
    std::set<PeerLedger::Request> open;
    const auto look = [&] {
      for (const Errand& errand : ledger.take_given_up()) {
        CHECK(std::erase(under_way, errand) == 1);
      }
      for (const Errand& errand : ledger.take_begun()) {
        CHECK(open.contains(errand.request));
        CHECK(!ledger.key(errand.request).secret.empty());
        under_way.push_back(errand);
      }
      for (const PeerLedger::Request request : ledger.take_done()) {
        CHECK(open.erase(request) == 1);
      }
      for (std::size_t peer = 0; peer < 3; ++peer) {
        const auto count = std::count_if(under_way.begin(), under_way.end(),
                                         [&](const Errand& errand) { return errand.peer == peer; });
        CHECK(count <= 2);
      }
      CHECK(ledger.size() == open.size());
    };
    for (int step = 0; step < 100; ++step) {
      switch (random() % 4) {
        case 0:
        case 1:
          if (const auto request =
                  ledger.add(key(static_cast<std::uint32_t>(random() % 20 + 1)), now);
              request != 0) {
            open.insert(request);
          }
          break;
        case 2:
          if (!under_way.empty()) {
            const Errand errand = under_way[random() % under_way.size()];
            std::erase(under_way, errand);
            ledger.on_finished(errand);
          }
          break;
        default:
          now += std::chrono::milliseconds{random() % 1000};
          ledger.tick(now);
          break;
      }
      look();
    }
    now += 3s;
    ledger.tick(now);
    look();
    CHECK(open.empty());
    CHECK(under_way.empty());
  }
}

}  // namespace
}  // namespace dwspool::proxy
