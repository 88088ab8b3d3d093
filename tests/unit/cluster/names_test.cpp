#include "dwspool/cluster/names.h"

#include <algorithm>
#include <random>
#include <set>

#include <doctest/doctest.h>

namespace dwspool::cluster {
namespace {

using namespace std::chrono_literals;
using Hosts = std::vector<AddressList>;

// "a" stands for an address of IPv4, "A" for one of IPv6.
AddressList addresses(const std::string& letters) {
  AddressList list;
  for (const char letter : letters) {
    list.emplace_back(letter >= 'a' ? std::size_t{4} : std::size_t{16}, letter);
  }
  return list;
}

Hosts hosts(const std::vector<std::string>& each) {
  Hosts list;
  for (const std::string& letters : each) list.push_back(addresses(letters));
  return list;
}

TEST_CASE("names: which address is which host") {
  struct Row {
    std::vector<std::string> before;
    std::string answer;
    std::vector<std::string> after;
  };
  const std::vector<Row> table = {
      {{""}, "a", {"a"}},
      {{}, "a", {"a"}},
      {{"a"}, "a", {"a"}},
      {{"a"}, "b", {"b"}},
      {{"a"}, "", {"a"}},
      {{"a", "b"}, "", {"a", "b"}},
      {{""}, "ba", {"a", "b"}},
      {{"a"}, "ba", {"a", "b"}},
      {{"b"}, "ba", {"b", "a"}},
      {{"a", "b"}, "ba", {"a", "b"}},
      {{"a", "b"}, "b", {"", "b"}},
      {{"", "b"}, "c", {"c", ""}},
      {{"Aa"}, "a", {"a"}},
      {{"a", "b", "c"}, "ac", {"a", "", "c"}},
      {{"a", "", "c"}, "adc", {"a", "d", "c"}},
      {{"a", "b"}, "cd", {"c", "d"}},
      {{"a", "b"}, "bcd", {"c", "b", "d"}},
      {{"a"}, "aA", {"aA"}},
      {{""}, "Aa", {"Aa"}},
      {{"Aa"}, "aA", {"Aa"}},
      {{"Aa"}, "ab", {"a", "b"}},
      {{"a", "b"}, "abAB", {"abAB", ""}},
      {{"a"}, "abcdefgh", {"a", "b", "c", "d"}},
      {{"a", "b", "c", "d", "e"}, "abcdefgh", {"a", "b", "c", "d", "e"}},
  };
  for (const Row& row : table) {
    CAPTURE(row.answer);
    CHECK(distribute(hosts(row.before), addresses(row.answer), 4) == hosts(row.after));
  }
}

TEST_CASE("names: whatever comes, each address has one host, and stays there while it is named") {
  std::mt19937 random(1);
  Hosts now(1);
  for (int i = 0; i < 2000; ++i) {
    AddressList answer;
    for (char letter = 'a'; letter < 'k'; ++letter) {
      if (random() % 2 == 0) answer.emplace_back(4, letter);
    }
    std::shuffle(answer.begin(), answer.end(), random);
    const Hosts next = distribute(now, answer, 16);
    if (answer.empty()) {
      CHECK(next == now);
      continue;
    }
    std::multiset<std::string> seen;
    for (const AddressList& host : next) seen.insert(host.begin(), host.end());
    CHECK(seen == std::multiset<std::string>(answer.begin(), answer.end()));
    for (std::size_t host = 0; host < now.size(); ++host) {
      if (now[host].empty()) continue;
      const bool named = std::find(answer.begin(), answer.end(), now[host].front()) != answer.end();
      CHECK((!named || next[host] == now[host]));
    }
    now = next;
  }
}

TEST_CASE("names: looked up at once, then every interval, and sooner when something is wrong") {
  const TimePoint start{1h};
  NameSchedule name(15s, start);
  CHECK(name.is_due(start));
  name.on_begun(start);
  CHECK_FALSE(name.is_due(start + 1h));
  CHECK_FALSE(name.is_late(start + 4999ms));
  name.on_answer(start + 10ms);
  CHECK(name.next() == start + 10ms + 15s);
  name.hurry(start + 100ms);
  CHECK(name.next() == start + 1s);  // not more often than that
  name.on_begun(start + 1s);
  name.hurry(start + 2s);  // an answer is on its way
  name.on_answer(start + 2s);
  name.hurry(start + 9s);
  CHECK(name.next() == start + 9s);
  CHECK(name.is_due(start + 9s));
}

TEST_CASE("names: a name server that says nothing is asked less and less often") {
  TimePoint now{1h};
  NameSchedule name(15s, now);
  Duration last{};
  for (int i = 0; i < 20; ++i) {
    name.on_begun(now);
    now += NameSchedule::patience;
    CHECK(name.is_late(now));
    name.on_silence(now);
    CHECK_FALSE(name.is_late(now));
    const Duration pause = name.next() - now;
    CHECK(pause >= std::max<Duration>(last, 1s));
    CHECK(pause <= 5min);
    name.hurry(now);  // no use
    CHECK(name.next() == now + pause);
    last = pause;
    now = name.next();
  }
  CHECK(last == 5min);
  name.on_begun(now);
  name.on_answer(now);
  CHECK(name.next() == now + 15s);
}

}  // namespace
}  // namespace dwspool::cluster
