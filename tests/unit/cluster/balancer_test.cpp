#include "dwspool/cluster/balancer.h"

#include <array>

#include <doctest/doctest.h>

namespace dwspool::cluster {
namespace {

using Order = std::vector<HostId>;

// So many connections, one after the other, each to the host that comes first.
std::vector<std::size_t> spread(Balancer& balancer, std::vector<Candidate> hosts,
                                std::size_t count) {
  std::vector<std::size_t> got(hosts.size());
  std::uint32_t random = 1;
  for (std::size_t i = 0; i < count; ++i) {
    random = random * 1664525U + 1013904223U;
    const HostId first = balancer.order(hosts, random / 4294967296.0).front();
    ++got[first];
    ++hosts[first].connections;
  }
  return got;
}

}  // namespace

TEST_CASE("least connections: the less busy one first, equals in turn") {
  Balancer balancer(Balance::least_connections);
  CHECK(balancer.order({{0, 1, 0, 5}, {1, 1, 0, 2}, {2, 1, 0, 3}}, 0) == Order{1, 2, 0});
  CHECK(spread(balancer, {{0}, {1}, {2}}, 30) == std::vector<std::size_t>{10, 10, 10});
  CHECK(spread(balancer, {{0, 1}, {1, 3}}, 40) == std::vector<std::size_t>{10, 30});
}

TEST_CASE("round robin goes by weight, whatever the load") {
  Balancer balancer(Balance::round_robin);
  CHECK(spread(balancer, {{0, 1, 0, 99}, {1}, {2}}, 30) == std::vector<std::size_t>{10, 10, 10});
  Balancer weighted(Balance::round_robin);
  CHECK(spread(weighted, {{0, 1}, {1, 3}}, 40) == std::vector<std::size_t>{10, 30});
}

TEST_CASE("random two: never the busier one of a pair, and evenly in the long run") {
  Balancer balancer(Balance::random_two);
  CHECK(balancer.order({{0, 1, 0, 9}, {1, 1, 0, 2}}, 0.1) == Order{1, 0});
  CHECK(balancer.order({{0, 1, 0, 9}, {1, 1, 0, 2}}, 0.9) == Order{1, 0});
  for (const std::size_t got : spread(balancer, {{0}, {1}, {2}}, 300)) {
    CHECK(got >= 90);
    CHECK(got <= 110);
  }
}

TEST_CASE("priority: the lowest number, by load among equals") {
  Balancer balancer(Balance::priority);
  CHECK(balancer.order({{0, 1, 2, 0}, {1, 1, 1, 9}, {2, 1, 1, 3}}, 0) == Order{2, 1, 0});
}

TEST_CASE("no order of nothing") {
  for (const Balance balance :
       {Balance::least_connections, Balance::round_robin, Balance::random_two, Balance::priority}) {
    Balancer balancer(balance);
    CHECK(balancer.order({}, 0.5).empty());
    CHECK(balancer.order({{4}}, 0.5) == Order{4});
  }
}

}  // namespace dwspool::cluster
