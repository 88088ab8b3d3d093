// In which order hosts are tried for one new connection, by how busy they are and whose turn it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dwspool/base/routing.h"

#include "dwspool/cluster/leadership.h"

namespace dwspool::cluster {

struct Candidate {
  HostId host = 0;
  double weight = 1;           // above 0
  std::uint32_t priority = 0;  // Balance::priority: the lowest goes first
  std::size_t connections = 0;
};

class Balancer {
 public:
  explicit Balancer(Balance balance) : balance_(balance) {}

  // All candidates, the best one first. `random` in [0, 1).
  std::vector<HostId> order(std::vector<Candidate> candidates, double random);

 private:
  void by_turn(std::vector<Candidate>& candidates);
  static void by_load(std::vector<Candidate>& candidates, std::size_t turn);
  static void by_chance(std::vector<Candidate>& candidates, double random);

  Balance balance_;
  std::vector<double> credit_;  // Balance::round_robin: by host
  std::size_t turn_ = 0;
};

}  // namespace dwspool::cluster
