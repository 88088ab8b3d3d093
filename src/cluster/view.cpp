// What follows from what is known: who serves whom, where the next connection goes.
#include <algorithm>
#include <numeric>

#include "dwspool/cluster/topology.h"

namespace dwspool::cluster {
namespace {

constexpr Duration whole_second = std::chrono::seconds{1};
// Of its weight, what a host has that has just come back.
constexpr double cold = 0.1;
// How much the hosts may differ before connections are moved.
constexpr double tolerance = 0.05;
constexpr double rounding = 1e-6;       // shares are fractions, and their sums miss whole numbers
constexpr std::size_t most_moves = 10;  // per second, host and target
constexpr std::size_t most_positions = 600;

}  // namespace

// --- Who serves whom -----------------------------------------------------------------------------

// By its role alone.
bool Topology::fits(const Host& host, HostId id, Target target) const {
  if (host.removed || host.on_trial) return false;
  if (!knows_roles()) return true;
  if (leadership_.is_fenced(id)) return false;
  const bool leads = leadership_.is_leader(id);
  switch (target) {
    case Target::any:
      return true;
    case Target::read_write:
      return leads;
    case Target::read_only:
      return is_fresh_standby(host);
    case Target::prefer_standby:
      return leads || is_fresh_standby(host);
  }
  return false;
}

bool Topology::is_fresh_standby(const Host& host) const {
  if (host.role != Role::standby) return false;
  // It follows a timeline that ended: what is written now will never reach it.
  if (last_leader_ && had_leader_) {
    const ProbeAnswer& leader = hosts_[*last_leader_].answer;
    const std::uint32_t receiving = host.answer.receiving_timeline;
    if (host.answer.sighting.system == leader.sighting.system && receiving != 0 &&
        receiving < leader.sighting.timeline) {
      return false;
    }
  }
  if (options_.max_standby_lag <= Duration::zero() || positions_.empty()) return true;
  // The last moment at which the primary was not ahead of what the standby has applied.
  const auto ahead = std::upper_bound(
      positions_.begin(), positions_.end(), host.answer.position,
      [](std::uint64_t position, const auto& sample) { return position < sample.second; });
  if (ahead == positions_.end()) return true;
  return positions_.back().first - ahead->first <= options_.max_standby_lag;
}

void Topology::note_leader_position(TimePoint now) {
  if (!had_leader_ || options_.max_standby_lag <= Duration::zero()) return;
  const std::uint64_t position = hosts_[*last_leader_].answer.position;
  if (!positions_.empty() && position < positions_.back().second) positions_.clear();
  if (!positions_.empty() && now - positions_.back().first < options_.suspect_interval) return;
  positions_.emplace_back(now, position);
  while (positions_.size() > most_positions ||
         positions_.front().first + options_.max_standby_lag * 4 < now) {
    positions_.pop_front();
  }
}

bool Topology::serves_one(HostId id, Target target) const {
  const Host& host = hosts_[id];
  if (!fits(host, id, target)) return false;
  const bool wants_standby = target == Target::prefer_standby && knows_roles();
  const bool good = host.health != Health::down;
  if (good && !(wants_standby && leadership_.is_leader(id))) return true;
  // Only where there is nothing better.
  for (HostId other = 0; other < hosts_.size(); ++other) {
    if (other == id || !fits(hosts_[other], other, target)) continue;
    const bool better = hosts_[other].health != Health::down &&
                        !(wants_standby && good && leadership_.is_leader(other));
    if (better) return false;
  }
  return true;
}

TargetMask Topology::serves(HostId host) const {
  TargetMask mask = 0;
  for (std::size_t i = 0; i < target_count; ++i) {
    const auto target = static_cast<Target>(i);
    // In doubt its connections are kept, and the target is held.
    const bool doubted = target == Target::read_write && knows_roles() && !hosts_[host].removed &&
                         leadership_.is_doubted(host);
    if (doubted || serves_one(host, target)) mask |= mask_of(target);
  }
  return mask;
}

TargetMask Topology::held() const {
  TargetMask mask = all_targets;
  for (HostId id = 0; id < hosts_.size(); ++id) {
    for (std::size_t i = 0; i < target_count; ++i) {
      const auto target = static_cast<Target>(i);
      if ((mask & mask_of(target)) != 0 && serves_one(id, target)) {
        mask = static_cast<TargetMask>(mask & ~mask_of(target));
      }
    }
  }
  return mask;
}

Role Topology::role(HostId host) const {
  if (!knows_roles()) return Role::unknown;
  if (leadership_.is_leader(host)) return Role::primary;
  const bool standby = hosts_[host].health == Health::up && hosts_[host].role == Role::standby;
  return standby ? Role::standby : Role::unknown;
}

std::size_t Topology::connections(HostId host) const {
  const auto& counts = hosts_[host].connections;
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

// --- Where the next connection goes --------------------------------------------------------------

double Topology::weight_of(const Host& host, TimePoint now) const {
  if (host.warm_since == never || now >= host.warm_since + options_.warm_up) return host.weight;
  const double warmth = to_seconds(now - host.warm_since) / to_seconds(options_.warm_up);
  return host.weight * std::max(cold, warmth);
}

void Topology::refill(Host& host, TimePoint now) const {
  if (options_.connect_rate == 0) {
    host.tokens = 1;
    return;
  }
  const double rate = options_.connect_rate;
  host.tokens = std::min(rate, host.tokens + rate * to_seconds(now - host.tokens_at));
  host.tokens_at = now;
}

std::uint32_t Topology::most_connections(HostId host) const {
  const std::uint32_t configured = options_.max_connections;
  const std::uint32_t capacity = hosts_[host].capacity;
  if (capacity == 0) return configured;
  const std::uint32_t left = capacity > options_.reserve ? capacity - options_.reserve : 1;
  return configured == 0 ? left : std::min(configured, left);
}

std::optional<std::uint32_t> Topology::room(Target target) const {
  std::optional<std::uint32_t> sum;
  for (HostId id = 0; id < hosts_.size(); ++id) {
    if (!serves_one(id, target)) continue;
    const std::uint32_t most = most_connections(id);
    if (most == 0) return 0;
    sum = sum.value_or(0) + most;
  }
  return sum;
}

Choice Topology::choose(Target target, const std::vector<HostId>& tried, TimePoint now,
                        double random, bool spare) {
  Choice choice;
  std::vector<Candidate> good;
  std::vector<HostId> held_back;
  for (HostId id = 0; id < hosts_.size(); ++id) {
    Host& host = hosts_[id];
    if (!serves_one(id, target)) continue;
    if (std::find(tried.begin(), tried.end(), id) != tried.end()) continue;
    const std::uint32_t most = most_connections(id);
    if (!spare && most > 0 && connections(id) >= most) continue;
    refill(host, now);
    if (options_.connect_rate > 0 && host.tokens < 1) {
      const double wait = (1 - host.tokens) / options_.connect_rate;
      const auto pause = std::chrono::duration_cast<Duration>(whole_second * wait);
      choice.retry_at = std::min(choice.retry_at, now + pause + pause / 4 * (random < 0.5 ? 0 : 1));
      continue;
    }
    if (is_held_back(id, now)) {
      held_back.push_back(id);
    } else {
      good.push_back({id, weight_of(host, now), host.priority, connections(id)});
    }
  }
  choice.hosts = balancer_.order(std::move(good), random);
  std::stable_sort(held_back.begin(), held_back.end(),
                   [&](HostId a, HostId b) { return hosts_[a].held_until < hosts_[b].held_until; });
  choice.hosts.insert(choice.hosts.end(), held_back.begin(), held_back.end());
  return choice;
}

// --- Evening out ---------------------------------------------------------------------------------

// After a host has come back the others have more than their share. No more of theirs move than
// those that have less can take.
void Topology::rebalance(TimePoint now) {
  for (std::size_t i = 0; i < target_count; ++i) {
    const auto target = static_cast<Target>(i);
    double weights = 0;
    std::size_t total = 0;
    std::uint32_t best_priority = UINT32_MAX;
    std::vector<HostId> hosts;
    for (HostId id = 0; id < hosts_.size(); ++id) {
      hosts_[id].to_shed[i] = 0;
      if (!serves_one(id, target) || is_held_back(id, now)) continue;
      hosts.push_back(id);
      weights += weight_of(hosts_[id], now);
      total += hosts_[id].connections[i];
      best_priority = std::min(best_priority, hosts_[id].priority);
    }
    // How many more it should have; below 0: how many fewer.
    const auto lacks = [&](const Host& host) {
      const auto have = static_cast<double>(host.connections[i]);
      if (options_.balance == Balance::priority) {
        return host.priority == best_priority ? static_cast<double>(total) : -have;
      }
      return static_cast<double>(total) * weight_of(host, now) / weights - have;
    };
    double room = rounding;
    for (const HostId id : hosts) {
      const std::uint32_t most = most_connections(id);
      const double left = most == 0
                              ? static_cast<double>(total)
                              : static_cast<double>(most) - static_cast<double>(connections(id));
      room += std::max(0.0, std::min(lacks(hosts_[id]), left));
    }
    for (const HostId id : hosts) {
      Host& host = hosts_[id];
      const double surplus = -lacks(host);
      const double fair = static_cast<double>(host.connections[i]) - surplus;
      if (surplus < 1 || surplus < fair * tolerance) continue;
      const auto moves = static_cast<std::size_t>(std::min(surplus, room));
      host.to_shed[i] = std::min(most_moves, moves);
      room -= static_cast<double>(host.to_shed[i]);
    }
  }
}

}  // namespace dwspool::cluster
