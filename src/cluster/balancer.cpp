#include "dwspool/cluster/balancer.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace dwspool::cluster {
namespace {

double load_of(const Candidate& candidate) {
  return static_cast<double>(candidate.connections + 1) / candidate.weight;
}

}  // namespace

std::vector<HostId> Balancer::order(std::vector<Candidate> candidates, double random) {
  switch (balance_) {
    case Balance::least_connections:
      by_load(candidates, turn_++);
      break;
    case Balance::round_robin:
      by_turn(candidates);
      break;
    case Balance::random_two:
      by_chance(candidates, random);
      break;
    case Balance::priority:
      by_load(candidates, turn_++);
      std::stable_sort(
          candidates.begin(), candidates.end(),
          [](const Candidate& a, const Candidate& b) { return a.priority < b.priority; });
      break;
  }
  std::vector<HostId> order;
  order.reserve(candidates.size());
  for (const Candidate& candidate : candidates) order.push_back(candidate.host);
  return order;
}

// Those that are equally busy take turns.
void Balancer::by_load(std::vector<Candidate>& candidates, std::size_t turn) {
  if (candidates.empty()) return;
  std::rotate(candidates.begin(),
              candidates.begin() + static_cast<std::ptrdiff_t>(turn % candidates.size()),
              candidates.end());
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return load_of(a) < load_of(b); });
}

// Smooth weighted turns: each gains its weight, the richest goes and pays for all.
void Balancer::by_turn(std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& candidate : candidates) {
    if (candidate.host >= credit_.size()) credit_.resize(candidate.host + 1);
    credit_[candidate.host] += candidate.weight;
    total += candidate.weight;
  }
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [&](const Candidate& a, const Candidate& b) { return credit_[a.host] > credit_[b.host]; });
  if (!candidates.empty()) credit_[candidates.front().host] -= total;
}

// Two are drawn by weight, and the less busy one is taken.
void Balancer::by_chance(std::vector<Candidate>& candidates, double random) {
  const auto draw = [&](std::size_t from, double chance) {
    const double total =
        std::accumulate(candidates.begin() + static_cast<std::ptrdiff_t>(from), candidates.end(),
                        0.0, [](double sum, const Candidate& each) { return sum + each.weight; });
    double rest = chance * total;
    std::size_t drawn = from;
    while (drawn + 1 < candidates.size() && rest >= candidates[drawn].weight) {
      rest -= candidates[drawn++].weight;
    }
    std::swap(candidates[from], candidates[drawn]);
    return total > 0 ? rest / candidates[from].weight : 0;  // what is left of the chance
  };
  if (candidates.size() < 2) return;
  const double left = draw(0, random);
  draw(1, std::clamp(left, 0.0, 0.999999));
  if (load_of(candidates[1]) < load_of(candidates[0])) std::swap(candidates[0], candidates[1]);
}

}  // namespace dwspool::cluster
