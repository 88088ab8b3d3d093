#include "dwspool/cluster/leadership.h"

#include <algorithm>

namespace dwspool::cluster {

void Leadership::remove_host(HostId host) {
  hosts_[host] = Host();
  hosts_[host].removed = true;
  for (auto& [system, group] : groups_) {
    if (group.leader == host) depose(group, false);
    if (group.claim && group.claim->host == host) group.claim.reset();
  }
}

void Leadership::on_answer(HostId host, const Sighting& sighting, TimePoint begun, TimePoint now) {
  Host& entry = hosts_[host];
  if (entry.removed) return;
  entry.answered = true;
  entry.sighting = sighting;
  entry.answer_begun = begun;
  if (sighting.in_recovery) entry.fenced = false;  // it follows somebody now
  review(now);
}

void Leadership::on_silence(HostId host, TimePoint now) {
  Host& entry = hosts_[host];
  if (entry.removed) return;
  entry.answered = false;
  entry.silent_at = now;
  review(now);
}

void Leadership::review(TimePoint now) {
  for (const Host& host : hosts_) {
    if (host.answered && !host.sighting.in_recovery) groups_.try_emplace(host.sighting.system);
  }
  for (auto& [system, group] : groups_) review(system, group, now);
}

void Leadership::review(std::uint64_t system, Group& group, TimePoint now) {
  if (group.leader) {
    const Host& leader = hosts_[*group.leader];
    if (!leader.answered) {
      group.confirmed = false;
      group.claim.reset();
    } else if (leader.sighting.in_recovery || leader.sighting.system != system) {
      depose(group, true);
    } else if (!leader.sighting.writable) {
      depose(group, false);
    }
  }
  const std::optional<HostId> best = best_of(system, group);
  if (!best) {
    group.claim.reset();
    return;
  }
  const std::uint32_t timeline = hosts_[*best].sighting.timeline;
  if (group.epoch != 0 && timeline > group.epoch) {
    group.epoch = timeline;
    install(group, *best);
  } else if (group.leader != best || !group.confirmed) {
    group.epoch = timeline;
    if (!group.claim || group.claim->host != *best) group.claim = {*best, now};
    if (all_others_seen(*best, group.claim->at)) install(group, *best);
  }
  for (HostId id = 0; id < hosts_.size(); ++id) {
    Host& host = hosts_[id];
    if (!host.answered || host.sighting.in_recovery || host.sighting.system != system) continue;
    if (host.sighting.timeline >= group.epoch || host.fenced) continue;
    host.fenced = true;
    dropped_.push_back(id);
  }
}

// The one with the best claim of those that call themselves primary: on the newest timeline, and
// the leader before others on the same one.
std::optional<HostId> Leadership::best_of(std::uint64_t system, const Group& group) const {
  std::optional<HostId> best;
  for (HostId id = 0; id < hosts_.size(); ++id) {
    const Host& host = hosts_[id];
    const Sighting& sighting = host.sighting;
    if (!host.answered || sighting.in_recovery || !sighting.writable) continue;
    if (sighting.system != system || sighting.timeline < group.epoch) continue;
    if (best && sighting.timeline < hosts_[*best].sighting.timeline) continue;
    const bool equal = best && sighting.timeline == hosts_[*best].sighting.timeline;
    if (equal && group.leader != id) continue;
    best = id;
  }
  return best;
}

// Of one that does not answer nothing more will be heard by waiting for longer.
bool Leadership::is_seen(HostId host, TimePoint since) const {
  const Host& entry = hosts_[host];
  if (entry.removed) return true;
  return entry.answered ? entry.answer_begun >= since : entry.silent_at != TimePoint{};
}

bool Leadership::all_others_seen(HostId claimant, TimePoint since) const {
  for (HostId id = 0; id < hosts_.size(); ++id) {
    if (id != claimant && !is_seen(id, since)) return false;
  }
  return true;
}

void Leadership::install(Group& group, HostId host) {
  if (group.leader && *group.leader != host) depose(group, true);
  group.leader = host;
  group.confirmed = true;
  group.claim.reset();
  hosts_[host].fenced = false;
}

void Leadership::depose(Group& group, bool drop) {
  for (HostId id = 0; drop && id < hosts_.size(); ++id) {
    if (is_same_server(id, *group.leader)) dropped_.push_back(id);
  }
  group.leader.reset();
  group.confirmed = false;
}

bool Leadership::is_same_server(HostId one, HostId other) const {
  if (one == other) return true;
  const Sighting& mine = hosts_[one].sighting;
  const Sighting& theirs = hosts_[other].sighting;
  return hosts_[one].answered && hosts_[other].answered && mine.instance != 0 &&
         mine.instance == theirs.instance && mine.system == theirs.system;
}

bool Leadership::is_leader(HostId host) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](const auto& entry) {
    const Group& group = entry.second;
    return group.confirmed && group.leader && is_same_server(host, *group.leader);
  });
}

bool Leadership::is_doubted(HostId host) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](const auto& entry) {
    const Group& group = entry.second;
    return !group.confirmed && group.leader && is_same_server(host, *group.leader);
  });
}

bool Leadership::has_leader() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const auto& entry) {
    return entry.second.leader && entry.second.confirmed;
  });
}

bool Leadership::is_awaited(HostId host) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](const auto& entry) {
    const auto& claim = entry.second.claim;
    return claim && claim->host != host && !is_seen(host, claim->at);
  });
}

std::vector<HostId> Leadership::take_dropped() {
  std::vector<HostId> dropped;
  dropped.swap(dropped_);
  return dropped;
}

}  // namespace dwspool::cluster
