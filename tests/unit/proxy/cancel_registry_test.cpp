#include "dwspool/proxy/cancel_registry.h"

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::proxy {

TEST_CASE("a key finds its client by pid and secret, and nothing else does") {
  CancelRegistry registry;
  std::vector<wire::KeyData> keys;
  for (std::uint32_t i = 0; i < 50; ++i) keys.push_back(registry.add({i % 3, ClientId{i, 1}}));
  std::set<std::uint32_t> pids;
  for (std::uint32_t i = 0; i < 50; ++i) {
    const wire::KeyData& key = keys[i];
    CAPTURE(i);
    CHECK(key.pid > 0);
    CHECK(key.pid <= 0x7fffffff);
    CHECK(pids.insert(key.pid).second);
    CHECK(key.secret.size() == 4);  // all that protocol 3.0 has room for
    const auto found = registry.find(key.pid, key.secret);
    REQUIRE(found);
    CHECK(found->worker == i % 3);
    CHECK(found->client == ClientId{i, 1});
    for (const std::size_t byte : {0U, 3U}) {
      std::string wrong = key.secret;
      wrong[byte] = static_cast<char>(wrong[byte] ^ 1);
      CHECK_FALSE(registry.find(key.pid, wrong));
    }
    CHECK_FALSE(registry.find(key.pid, key.secret + '\0'));
    CHECK_FALSE(registry.find(key.pid, key.secret.substr(0, 3)));
    CHECK_FALSE(registry.find(key.pid, ""));
    CHECK_FALSE(registry.find(key.pid | 0x80000000U, key.secret));
    if (keys[(i + 1) % 50].secret != key.secret) {
      CHECK_FALSE(registry.find(keys[(i + 1) % 50].pid, key.secret));
    }
  }
}

TEST_CASE("a key ends with its client") {
  CancelRegistry registry;
  const wire::KeyData first = registry.add({0, ClientId{1, 1}});
  const wire::KeyData second = registry.add({0, ClientId{2, 1}});
  registry.remove(first);
  CHECK_FALSE(registry.find(first.pid, first.secret));
  CHECK(registry.find(second.pid, second.secret)->client == ClientId{2, 1});
  registry.remove(first);
  CHECK_FALSE(CancelRegistry().find(second.pid, second.secret));
}

TEST_CASE("clients that show the same pid are told apart by their secrets") {
  CancelRegistry registry;
  std::vector<wire::KeyData> keys;
  for (std::uint32_t i = 0; i < 50; ++i) keys.push_back(registry.add({0, ClientId{i, 1}}, 4711));
  for (std::uint32_t i = 0; i < 50; ++i) {
    CHECK(keys[i].pid == 4711);
    CHECK(registry.find(4711, keys[i].secret)->client == ClientId{i, 1});
  }
  registry.remove(keys[7]);
  CHECK_FALSE(registry.find(4711, keys[7].secret));
  CHECK(registry.find(4711, keys[8].secret)->client == ClientId{8, 1});
}

}  // namespace dwspool::proxy
