// A cluster's hosts with their probes, at a time that the test moves.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dwspool/cluster/topology.h"

namespace dwspool::cluster {

// Hosts that answer a probe after a millisecond, or do not.
struct Play {
  struct Server {
    bool reachable = true;
    bool frozen = false;
    bool in_recovery = false;
    std::uint32_t timeline = 1;
    std::uint64_t position = 0;
  };

  Play(const Options& options, std::size_t count) : topology(options), servers(count) {
    for (std::size_t i = 0; i < count; ++i) {
      topology.add_host(1, static_cast<std::uint32_t>(i), now);
      if (i > 0) servers[i].in_recovery = true;
    }
  }

  // Lets the time go on, with every probe that falls due.
  void run(Duration length) {
    const TimePoint end = now + length;
    while (now < end) {
      now += std::chrono::milliseconds(1);
      for (HostId id = 0; id < servers.size(); ++id) {
        if (!waiting[id]) continue;
        const Server& server = servers[id];
        if (server.frozen) continue;
        waiting[id] = false;
        if (!server.reachable) {
          topology.on_probe_failed(id, Trouble::unreachable, now);
          continue;
        }
        topology.on_probe_answer(
            id, {{server.in_recovery, true, 7, server.timeline}, server.position, 0}, false, now);
      }
      topology.tick(now);
      for (const ProbeAction& action : topology.take_probes()) {
        waiting[action.host] = action.begin;
        if (action.begin) ++probes;
      }
    }
  }
  // Until the condition holds; how long that took.
  template <class Condition>
  Duration until(Condition condition) {
    const TimePoint begun = now;
    while (!condition() && now - begun < std::chrono::seconds(60))
      run(std::chrono::milliseconds(1));
    return now - begun;
  }
  bool serves(HostId host, Target target) const {
    return (topology.serves(host) & mask_of(target)) != 0;
  }
  bool holds(Target target) const { return (topology.held() & mask_of(target)) != 0; }
  std::vector<HostId> choose(Target target) { return topology.choose(target, {}, now, 0.5).hosts; }
  void connect(HostId host, Target target = Target::any) {
    topology.on_connecting(host, target, now);
    topology.on_opened(host);
  }
  std::size_t count(Event::Kind kind) {
    for (const Event& event : topology.take_events()) events.push_back(event);
    return static_cast<std::size_t>(std::count_if(
        events.begin(), events.end(), [&](const Event& event) { return event.kind == kind; }));
  }

  TimePoint now{std::chrono::seconds(100)};
  Topology topology;
  std::vector<Server> servers;
  std::vector<bool> waiting = std::vector<bool>(16);
  std::vector<Event> events;
  int probes = 0;
};

inline Options with_roles() {
  Options options;
  options.probing = true;
  options.roles = true;
  return options;
}

inline Options equals() {
  Options options;
  options.probing = true;
  return options;
}

}  // namespace dwspool::cluster
