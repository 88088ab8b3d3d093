// Servers that crash, freeze, thaw, are cut off, promoted and rewound at random, and what must be
// true of the topology that watches them, whatever happens.
#include <map>
#include <random>

#include <doctest/doctest.h>

#include "dwspool/cluster/topology.h"

namespace dwspool::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Server {
  bool running = true;
  bool frozen = false;
  bool cut_off = false;  // from us alone: the others see it, or promote somebody else
  bool in_recovery = true;
  std::uint32_t timeline = 1;
  // Of the probe under way: what it has found out, and when we hear of it.
  bool probed = false;
  bool looked = false;
  ProbeAnswer found;
  TimePoint heard_at;
};

class World {
 public:
  World(unsigned seed, std::size_t count) : random_(seed), topology_(options()), servers_(count) {
    for (std::size_t i = 0; i < count; ++i) topology_.add_host(1, 0, now_);
    servers_[0].in_recovery = false;
    epochs_.resize(count);
  }

  void run(Duration length, bool faults) {
    const TimePoint end = now_ + length;
    while (now_ < end) {
      now_ += milliseconds(1 + random_() % 10);
      if (faults && random_() % 100 == 0) disturb();
      for (HostId id = 0; id < servers_.size(); ++id) step(id);
      topology_.tick(now_);
      for (const ProbeAction& action : topology_.take_probes()) {
        Server& server = servers_[action.host];
        server.probed = action.begin;
        server.looked = false;
      }
      check();
    }
  }

  void mend() {
    for (HostId id = 0; id < servers_.size(); ++id) {
      Server& server = servers_[id];
      server.running = true;
      server.frozen = server.cut_off = false;
      if (id != primary_) rewind(server);
    }
    if (servers_[primary_].in_recovery) promote(primary_);
  }

  bool serves(HostId host, Target target) const {
    return (topology_.serves(host) & mask_of(target)) != 0;
  }
  HostId primary() const { return primary_; }
  const Topology& topology() const { return topology_; }

 private:
  static Options options() {
    Options options;
    options.probing = options.roles = true;
    return options;
  }

  void rewind(Server& server) {
    server.in_recovery = true;
    server.timeline = timeline_;
  }
  void promote(HostId id) {
    servers_[id].in_recovery = false;
    servers_[id].timeline = ++timeline_;
    primary_ = id;
    promoted_at_ = now_;
  }

  void disturb() {
    const auto id = static_cast<HostId>(random_() % servers_.size());
    Server& server = servers_[id];
    switch (random_() % 7) {
      case 0:
        server.running = !server.running;
        server.probed = server.probed && server.running;
        break;
      case 1:
      case 2:
        server.frozen = !server.frozen;
        break;
      case 3:
        server.cut_off = !server.cut_off;
        break;
      case 4:
        if (server.running && server.in_recovery && !server.frozen) promote(id);
        break;
      default:
        if (id != primary_ && server.running && !server.frozen) rewind(server);
        break;
    }
  }

  // A server looks at itself at one moment, and is heard at another.
  void step(HostId id) {
    Server& server = servers_[id];
    if (!server.probed || server.frozen) return;
    if (!server.running) {
      server.probed = false;
      topology_.on_probe_failed(id, Trouble::unreachable, now_);
      return;
    }
    if (server.cut_off) return;
    if (!server.looked) {
      server.looked = true;
      server.found = {{server.in_recovery, true, 7, server.timeline}, 0, 0};
      server.heard_at = now_ + milliseconds(random_() % 30);
      return;
    }
    if (now_ < server.heard_at) return;
    server.probed = false;
    topology_.on_probe_answer(id, server.found, false, now_);
  }

  void check() {
    std::size_t leaders = 0;
    for (HostId id = 0; id < servers_.size(); ++id) {
      REQUIRE(topology_.epoch(id) >= epochs_[id]);
      const bool leads = topology_.role(id) == Role::primary;
      leaders += leads ? 1 : 0;
      if (leads) {
        if (leader_ != id) {
          // Whoever was the leader before has lost all its connections.
          if (leader_ < servers_.size()) REQUIRE(topology_.epoch(leader_) > led_in_);
          // Nobody leads again on a timeline that is over.
          REQUIRE(led_on_ <= servers_[id].timeline);
        }
        leader_ = id;
        led_in_ = topology_.epoch(id);
        led_on_ = servers_[id].timeline;
      }
      epochs_[id] = topology_.epoch(id);
    }
    REQUIRE(leaders <= 1);
    REQUIRE(((topology_.held() & mask_of(Target::read_write)) != 0) == (leaders == 0));
    // One that could be asked all the time is known within a probe interval and its answer.
    const Server& primary = servers_[primary_];
    if (!primary.running || primary.frozen || primary.cut_off) promoted_at_ = now_;
    if (now_ - promoted_at_ > seconds(3)) {
      REQUIRE(topology_.role(primary_) == Role::primary);
    }
    REQUIRE(topology_.next_deadline() > now_);  // or the shell would spin
  }

  std::mt19937 random_;
  TimePoint now_{seconds(100)};
  Topology topology_;
  std::vector<Server> servers_;
  std::vector<std::uint32_t> epochs_;
  HostId primary_ = 0;
  std::uint32_t timeline_ = 1;
  TimePoint promoted_at_ = now_;  // or when it was last out of reach
  HostId leader_ = UINT32_MAX;
  std::uint32_t led_in_ = 0;
  std::uint32_t led_on_ = 0;
};

}  // namespace

TEST_CASE("whatever happens: one primary at most, never an older one, found in time") {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    World world(seed, 1 + seed % 4);
    world.run(seconds(60), true);
    world.mend();
    world.run(seconds(4), false);
    CHECK(world.topology().held() ==
          (world.topology().size() == 1 ? mask_of(Target::read_only) : 0));
    for (HostId id = 0; id < world.topology().size(); ++id) {
      CHECK(world.serves(id, Target::read_write) == (id == world.primary()));
      CHECK(world.serves(id, Target::read_only) == (id != world.primary()));
      CHECK(world.topology().is_up(id) == true);
    }
  }
}

}  // namespace dwspool::cluster
