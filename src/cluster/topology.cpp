// Events: connections, probes, time. What follows from them is in view.cpp.
#include "dwspool/cluster/topology.h"

#include <algorithm>

namespace dwspool::cluster {
namespace {

// One lost answer may be an accident.
constexpr std::uint32_t failures_to_go_down = 2;
// While a probe of the primary has been unanswered for so many quick intervals, the others are
// looked at as often.
constexpr int overdue_intervals = 2;
constexpr Duration rebalance_interval = std::chrono::seconds{1};

}  // namespace

Topology::Topology(const Options& options) : options_(options), balancer_(options.balance) {}

HostId Topology::add_host(double weight, std::uint32_t priority, TimePoint now) {
  Host host;
  host.weight = weight;
  host.priority = priority;
  host.next_probe = now;
  host.tokens = options_.connect_rate;
  host.tokens_at = now;
  hosts_.push_back(host);
  leadership_.add_host();
  if (next_rebalance_ == never) next_rebalance_ = now + rebalance_interval;
  return static_cast<HostId>(hosts_.size() - 1);
}

HostId Topology::add_host_on_trial(TimePoint now) {
  const HostId id = add_host(1, static_cast<std::uint32_t>(hosts_.size() + 1), now);
  hosts_[id].on_trial = true;
  return id;
}

void Topology::restore_host(HostId host, TimePoint now) {
  Host& entry = hosts_[host];
  if (!entry.removed) return;
  entry.removed = false;
  entry.on_trial = true;
  entry.health = Health::unknown;
  entry.failures = 0;
  entry.silent_since = never;
  entry.next_probe = now;
  leadership_.restore_host(host);
}

void Topology::renew_host(HostId host, TimePoint now) {
  remove_host(host);
  restore_host(host, now);
  Host& entry = hosts_[host];
  entry.on_trial = false;
  entry.role = Role::unknown;
  entry.answer = ProbeAnswer();
  entry.capacity = 0;
  entry.held_until = TimePoint{};
  entry.held_for_connecting = false;
  entry.backoff.reset();
  entry.given_up = false;
  entry.warm_since = never;
}

void Topology::remove_host(HostId host) {
  Host& entry = hosts_[host];
  if (entry.removed) return;
  entry.removed = true;
  if (entry.probe_begun != never) probes_.push_back({host, false});
  entry.probe_begun = never;
  entry.next_probe = never;
  leadership_.remove_host(host);
}

// --- Connections ---------------------------------------------------------------------------------

void Topology::on_connecting(HostId host, Target target, TimePoint now) {
  Host& entry = hosts_[host];
  ++entry.connections[index(target)];
  refill(entry, now);
  entry.tokens -= 1;
}

void Topology::on_opened(HostId host) {
  Host& entry = hosts_[host];
  entry.held_until = TimePoint{};
  entry.held_for_connecting = false;
  entry.backoff.reset();
}

void Topology::on_open_failed(HostId host, Target target, Trouble trouble, TimePoint now,
                              double jitter) {
  on_closed(host, target);
  Host& entry = hosts_[host];
  entry.held_until = now + entry.backoff.next(jitter);
  // A probe that logs in anew proves that it is over, but where there was no connection left.
  entry.held_for_connecting = trouble != Trouble::full;
  if (trouble != Trouble::full) on_lost(host, now);
}

void Topology::on_lost(HostId host, TimePoint now) {
  now_ = now;
  if (!options_.probing) return;
  const auto soon = [&](Host& entry) {
    if (entry.removed || entry.probe_begun != never) return;
    const TimePoint soonest = std::max(now, entry.probed_at + options_.suspect_interval);
    entry.next_probe = std::min(entry.next_probe, soonest);
  };
  if (knows_roles()) {
    for (Host& entry : hosts_) soon(entry);
  } else {
    soon(hosts_[host]);
  }
}

// --- Probes --------------------------------------------------------------------------------------

void Topology::begin_probe(HostId id, TimePoint now) {
  Host& host = hosts_[id];
  host.probe_begun = now;
  host.next_probe = never;
  probes_.push_back({id, true});
}

void Topology::probe_soon(TimePoint now) {
  for (Host& host : hosts_) {
    const bool due = !host.removed && host.probe_begun == never;
    if (due) host.next_probe = std::min(host.next_probe, now);
  }
}

// When the next one is due: soon while something is wrong, less often the longer a host is away.
// How soon it gets work again depends on that, so that it is never as seldom as for one that is
// well.
void Topology::end_probe(Host& host, TimePoint now, bool answered) {
  host.probe_begun = never;
  host.probed_at = now;
  Duration pause = suspicious_ ? options_.suspect_interval : options_.probe_interval;
  if (answered) {
    host.failures = 0;
    host.silent_since = never;
    host.given_up = false;
  } else {
    const std::uint32_t doublings = std::min<std::uint32_t>(host.failures / 4, 8);
    pause = std::min({options_.probe_interval, options_.down_interval,
                      options_.suspect_interval * (1U << doublings)});
  }
  host.next_probe = now + pause;
}

void Topology::on_probe_answer(HostId id, const ProbeAnswer& answer, bool fresh, TimePoint now) {
  now_ = now;
  Host& host = hosts_[id];
  if (host.removed || host.probe_begun == never) return;
  const TimePoint begun = host.probe_begun;
  host.answer = answer;
  if (options_.roles) {
    host.role = answer.sighting.in_recovery ? Role::standby : Role::primary;
    leadership_.on_answer(id, answer.sighting, begun, now);
  }
  if (fresh && host.held_for_connecting) on_opened(id);
  come_up(id, now);
  after_sighting(now);
  note_served(now);
  end_probe(host, now, true);
  // Not before the others have been looked at once more is anybody the primary.
  for (HostId other = 0; options_.roles && other < hosts_.size(); ++other) {
    Host& awaited = hosts_[other];
    if (awaited.probe_begun != never || !leadership_.is_awaited(other)) continue;
    awaited.next_probe = std::min(awaited.next_probe, now);
  }
}

void Topology::on_probe_failed(HostId id, Trouble trouble, TimePoint now) {
  now_ = now;
  Host& host = hosts_[id];
  if (host.removed || host.probe_begun == never) return;
  if (trouble == Trouble::full) {  // alive, and that is all that is known
    end_probe(host, now, true);
    return;
  }
  if (host.silent_since == never && trouble == Trouble::unreachable) {
    host.silent_since = host.probe_begun;
  }
  const bool timed_out = now - host.probe_begun >= options_.probe_timeout;
  ++host.failures;
  if (options_.roles) leadership_.on_silence(id, now);
  if (!timed_out || host.failures >= failures_to_go_down) go_down(id);
  after_sighting(now);
  end_probe(host, now, false);
}

void Topology::come_up(HostId id, TimePoint now) {
  Host& host = hosts_[id];
  host.on_trial = false;
  if (host.health == Health::up) return;
  if (host.health == Health::down) {
    if (options_.warm_up > Duration::zero()) host.warm_since = now;
    events_.push_back({Event::Kind::up, id});
  }
  host.health = Health::up;
}

// Whoever serves something that it did not serve before gets its share at once. That may be some
// answers after it has come up: of several primaries, each waits for the others to be looked at.
void Topology::note_served(TimePoint now) {
  for (HostId id = 0; id < hosts_.size(); ++id) {
    const TargetMask serving = hosts_[id].health == Health::up ? serves(id) : TargetMask{0};
    if ((serving & ~hosts_[id].served) != 0) next_rebalance_ = now;
    hosts_[id].served = serving;
  }
}

void Topology::go_down(HostId id) {
  Host& host = hosts_[id];
  if (host.health == Health::down) return;
  host.health = Health::down;
  host.served = 0;
  events_.push_back({Event::Kind::down, id});
}

void Topology::after_sighting(TimePoint now) {
  if (!options_.roles) {
    suspicious_ = false;
    return;
  }
  for (const HostId dropped : leadership_.take_dropped()) {
    ++hosts_[dropped].epoch;
    events_.push_back({Event::Kind::dropped, dropped});
  }
  const bool has_leader = leadership_.has_leader();
  for (HostId id = 0; id < hosts_.size(); ++id) {
    if (!leadership_.is_leader(id) || (last_leader_ == id && had_leader_)) continue;
    if (last_leader_ != id) positions_.clear();
    if (had_leader_ && leadership_.is_leader(*last_leader_)) continue;  // one of several
    last_leader_ = id;
    events_.push_back({Event::Kind::leader, id, hosts_[id].answer.sighting.timeline});
  }
  if (had_leader_ && !has_leader) events_.push_back({Event::Kind::no_leader, *last_leader_});
  had_leader_ = has_leader;
  if (!has_leader && !suspicious_) probe_soon(now);
  suspicious_ = !has_leader || is_leader_overdue(now);
  note_leader_position(now);
}

void Topology::set_blind(bool blind) {
  blind_ = blind;
}

void Topology::begin_probing(bool roles) {
  options_.probing = true;
  set_roles(roles);
}

void Topology::set_roles(bool roles) {
  options_.roles = roles;
  if (roles) return;
  suspicious_ = false;
  for (Host& host : hosts_) host.role = Role::unknown;
}

bool Topology::is_leader_overdue(TimePoint now) const {
  for (HostId id = 0; id < hosts_.size(); ++id) {
    const TimePoint begun = hosts_[id].probe_begun;
    if (begun == never || !leadership_.is_leader(id)) continue;
    if (now >= begun + options_.suspect_interval * overdue_intervals) return true;
  }
  return false;
}

// --- Time ----------------------------------------------------------------------------------------

void Topology::tick(TimePoint now) {
  now_ = now;
  for (HostId id = 0; options_.probing && id < hosts_.size(); ++id) {
    Host& host = hosts_[id];
    if (host.removed) continue;
    if (host.probe_begun != never && now >= host.probe_begun + options_.probe_timeout) {
      probes_.push_back({id, false});
      on_probe_failed(id, Trouble::unreachable, now);
    }
    if (host.probe_begun == never && now >= host.next_probe) begin_probe(id, now);
    if (options_.dead_after > Duration::zero() && !host.given_up && host.silent_since != never &&
        now >= host.silent_since + options_.dead_after) {
      host.given_up = true;
      ++host.epoch;
      events_.push_back({Event::Kind::dead, id});
    }
  }
  if (!suspicious_ && is_leader_overdue(now)) {
    suspicious_ = true;
    probe_soon(now);
  }
  // Those that were passed over before somebody became suspicious.
  for (HostId id = 0; suspicious_ && id < hosts_.size(); ++id) {
    if (hosts_[id].probe_begun == never && now >= hosts_[id].next_probe) begin_probe(id, now);
  }
  if (now >= next_rebalance_) {
    next_rebalance_ = now + rebalance_interval;
    rebalance(now);
  }
}

TimePoint Topology::next_deadline() const {
  TimePoint next = hosts_.size() > 1 ? next_rebalance_ : never;
  if (!options_.probing) return next;
  for (HostId id = 0; id < hosts_.size(); ++id) {
    const Host& host = hosts_[id];
    if (host.removed) continue;
    next = std::min(next, host.next_probe);
    if (host.probe_begun != never) {
      next = std::min(next, host.probe_begun + options_.probe_timeout);
      if (!suspicious_ && leadership_.is_leader(id)) {
        next = std::min(next, host.probe_begun + options_.suspect_interval * overdue_intervals);
      }
    }
    if (options_.dead_after > Duration::zero() && !host.given_up && host.silent_since != never) {
      next = std::min(next, host.silent_since + options_.dead_after);
    }
  }
  return next;
}

}  // namespace dwspool::cluster
