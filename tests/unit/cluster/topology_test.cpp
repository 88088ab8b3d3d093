#include "dwspool/cluster/topology.h"

#include <doctest/doctest.h>

#include "play.h"

namespace dwspool::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Hosts = std::vector<HostId>;

void fail(Topology& topology, HostId host, TimePoint now, Trouble trouble = Trouble::unreachable) {
  topology.on_connecting(host, Target::any, now);
  topology.on_open_failed(host, Target::any, trouble, now, 0);
}

}  // namespace

TEST_CASE("without probes every host serves everybody") {
  Play play(Options{}, 2);
  for (HostId host = 0; host < 2; ++host) CHECK(play.topology.serves(host) == all_targets);
  CHECK(play.topology.held() == 0);
  CHECK(play.topology.next_deadline() != never);  // to even out
}

TEST_CASE("who serves whom, by role") {
  Play play(with_roles(), 3);
  CHECK(play.holds(Target::read_write));
  CHECK_FALSE(play.holds(Target::any));
  play.run(milliseconds(20));
  CHECK(play.topology.held() == 0);
  CHECK(play.topology.role(0) == Role::primary);
  CHECK(play.topology.role(1) == Role::standby);
  CHECK(play.choose(Target::read_write) == Hosts{0});
  CHECK(play.choose(Target::read_only).size() == 2);
  CHECK(play.choose(Target::any).size() == 3);
  CHECK_FALSE(play.serves(0, Target::prefer_standby));
  CHECK(play.serves(2, Target::prefer_standby));
  play.servers[1].reachable = play.servers[2].reachable = false;
  play.run(seconds(2));
  CHECK(play.serves(0, Target::prefer_standby));
  CHECK(play.choose(Target::prefer_standby) == Hosts{0});
}

TEST_CASE("probes come once a second, and ten times as often while there is no primary") {
  Play play(with_roles(), 2);
  play.run(milliseconds(50));
  CHECK(play.probes <= 4);  // each once, and once more behind the claim
  play.probes = 0;
  play.run(seconds(10));
  CHECK(play.probes >= 18);
  CHECK(play.probes <= 22);
  play.servers[0].reachable = false;
  play.run(milliseconds(1100));
  play.probes = 0;
  play.run(seconds(1));
  CHECK(play.probes >= 10);  // of the standby; the dead one is asked less and less often
  CHECK(play.probes <= 22);
}

TEST_CASE("a switchover: held until a standby was promoted, found within one quick interval") {
  Play play(with_roles(), 2);
  play.run(milliseconds(50));
  const std::uint32_t epoch = play.topology.epoch(0);
  SUBCASE("the primary dies") {
    play.servers[0].reachable = false;
  }
  SUBCASE("the primary freezes") {
    play.servers[0].frozen = true;
  }
  play.until([&] { return play.holds(Target::read_write); });
  CHECK(play.holds(Target::read_write));
  CHECK_FALSE(play.holds(Target::any));
  CHECK(play.topology.epoch(0) == epoch);  // its connections live, who knows
  play.run(seconds(3));
  play.servers[1].in_recovery = false;
  play.servers[1].timeline = 2;
  CHECK(play.until([&] { return !play.holds(Target::read_write); }) <= milliseconds(110));
  CHECK(play.choose(Target::read_write) == Hosts{1});
  CHECK(play.topology.epoch(0) > epoch);
  CHECK(play.count(Event::Kind::dropped) == 1);
  CHECK(play.count(Event::Kind::leader) == 2);
  CHECK(play.count(Event::Kind::no_leader) == 1);
  // Back from the dead, it serves nobody, not even reads.
  play.servers[0].reachable = true;
  play.servers[0].frozen = false;
  play.run(seconds(3));
  CHECK(play.topology.serves(0) == 0);
  CHECK(play.choose(Target::read_write) == Hosts{1});
}

TEST_CASE("a primary that answers late is suspected long before it is given up") {
  Play play(with_roles(), 2);
  play.run(milliseconds(50));
  play.servers[0].frozen = true;
  CHECK(play.until([&] { return play.topology.suspects(); }) <= milliseconds(1300));
  CHECK_FALSE(play.holds(Target::read_write));
  play.servers[0].frozen = false;
  play.run(milliseconds(300));
  CHECK_FALSE(play.topology.suspects());
  CHECK(play.count(Event::Kind::no_leader) == 0);
}

TEST_CASE("a connection that dies draws a probe, and nothing else") {
  Play play(equals(), 2);
  play.run(milliseconds(300));
  play.probes = 0;
  play.topology.on_lost(0, play.now);
  play.run(milliseconds(5));
  CHECK(play.probes == 1);
  CHECK(play.topology.serves(0) == all_targets);
  CHECK(play.choose(Target::any).size() == 2);
  // Many deaths, few probes.
  play.probes = 0;
  for (int i = 0; i < 100; ++i) {
    play.topology.on_lost(0, play.now);
    play.run(milliseconds(5));
  }
  CHECK(play.probes <= 8);
}

TEST_CASE("a host that is gone serves nobody until it is back, and is noticed within a second") {
  Play play(equals(), 3);
  play.run(milliseconds(50));
  play.servers[2].reachable = false;
  CHECK(play.until([&] { return !play.serves(2, Target::any); }) <= milliseconds(1010));
  CHECK(play.choose(Target::any).size() == 2);
  play.run(seconds(30));
  play.servers[2].reachable = true;
  CHECK(play.until([&] { return play.serves(2, Target::any); }) <= milliseconds(510));
  CHECK(play.count(Event::Kind::down) == 1);
  CHECK(play.count(Event::Kind::up) == 1);
}

TEST_CASE("a host that stays away is asked every down_interval, or more often if all are") {
  struct Row {
    int interval;
    int down;
    int expected;
  };
  for (const Row& each :
       {Row{1000, 500, 500}, Row{300, 500, 300}, Row{5000, 2000, 2000}, Row{1000, 1000, 1000}}) {
    CAPTURE(each.interval);
    CAPTURE(each.down);
    Options options = equals();
    options.probe_interval = milliseconds(each.interval);
    options.down_interval = milliseconds(each.down);
    Play play(options, 1);
    play.servers[0].reachable = false;
    play.run(seconds(30));
    play.probes = 0;
    play.run(seconds(20));
    CHECK(play.probes >= 20000 / (each.expected + 2) - 1);
    CHECK(play.probes <= 20000 / each.expected + 1);
  }
}

TEST_CASE("one answer lost is an accident; a silent host is given up in time") {
  Play play(equals(), 2);
  play.run(milliseconds(50));
  play.servers[1].frozen = true;
  play.run(milliseconds(2020));  // the first time-out
  CHECK(play.serves(1, Target::any));
  const TimePoint begun = play.now;
  play.until([&] { return !play.serves(1, Target::any); });
  CHECK(play.now - begun < milliseconds(1200));
  CHECK(play.topology.epoch(1) == 0);
  play.until([&] { return play.topology.epoch(1) == 1; });
  CHECK(play.now - begun < seconds(8));
  CHECK(play.count(Event::Kind::dead) == 1);
  play.run(seconds(20));
  CHECK(play.topology.epoch(1) == 1);  // once
}

TEST_CASE("never the last: when all are down, all are tried") {
  Play play(equals(), 2);
  play.servers[0].reachable = play.servers[1].reachable = false;
  play.run(seconds(3));
  CHECK(play.topology.is_up(0) == false);
  CHECK(play.topology.is_up(1) == false);
  CHECK(play.topology.held() == 0);
  CHECK(play.choose(Target::any).size() == 2);
}

TEST_CASE("failed connects hold a host back, for longer each time, but never the last one") {
  Play play(Options{}, 2);
  fail(play.topology, 0, play.now);
  CHECK(play.topology.is_held_back(0, play.now + milliseconds(99)));
  CHECK(play.choose(Target::any) == Hosts{1, 0});
  CHECK_FALSE(play.topology.is_held_back(0, play.now + milliseconds(100)));
  fail(play.topology, 0, play.now);
  CHECK(play.topology.is_held_back(0, play.now + milliseconds(199)));
  for (int i = 0; i < 20; ++i) fail(play.topology, 0, play.now);
  CHECK_FALSE(play.topology.is_held_back(0, play.now + seconds(2)));
  fail(play.topology, 1, play.now);
  CHECK(play.choose(Target::any) == Hosts{1, 0});  // the one that comes free first
  play.connect(0);
  CHECK_FALSE(play.topology.is_held_back(0, play.now));
  CHECK(play.topology.choose(Target::any, {0}, play.now, 0).hosts == Hosts{1});
  CHECK(play.topology.choose(Target::any, {0, 1}, play.now, 0).hosts.empty());
}

TEST_CASE("a probe that could log in ends the hold, unless there was no connection left") {
  const bool fresh = true;
  for (const Trouble trouble : {Trouble::unreachable, Trouble::unavailable, Trouble::full}) {
    Play play(equals(), 2);
    play.run(milliseconds(50));
    for (int i = 0; i < 5; ++i) fail(play.topology, 0, play.now, trouble);
    REQUIRE(play.topology.is_held_back(0, play.now));
    play.until([&] { return play.waiting[0]; });
    play.topology.on_probe_answer(0, {}, fresh, play.now);
    CHECK(play.topology.is_held_back(0, play.now) == (trouble == Trouble::full));
  }
}

TEST_CASE("connections per second are bounded, and the next moment is told") {
  Options options;
  options.connect_rate = 10;
  Play play(options, 1);
  for (int i = 0; i < 10; ++i) {
    REQUIRE(play.choose(Target::any) == Hosts{0});
    play.connect(0);
  }
  const Choice none = play.topology.choose(Target::any, {}, play.now, 0.5);
  CHECK(none.hosts.empty());
  CHECK(none.retry_at > play.now);
  CHECK(none.retry_at <= play.now + milliseconds(125));
  play.now += milliseconds(101);
  CHECK(play.choose(Target::any) == Hosts{0});
}

TEST_CASE("a host never has more connections than it may") {
  Options options;
  options.max_connections = 2;
  Play play(options, 2);
  for (int i = 0; i < 4; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(0) == 2);
  CHECK(play.topology.connections(1) == 2);
  CHECK(play.choose(Target::any).empty());
  play.topology.on_closed(1, Target::any);
  CHECK(play.choose(Target::any) == Hosts{1});
}

TEST_CASE("of what a host takes some is left to others") {
  Options options;
  options.reserve = 3;
  Play play(options, 2);
  CHECK(play.topology.most_connections(0) == 0);  // nobody knows
  play.topology.set_capacity(0, 5);
  for (int i = 0; i < 4; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(0) == 2);
  CHECK(play.choose(Target::any) == Hosts{1});
  CHECK(play.topology.choose(Target::any, {}, play.now, 0.5, true).hosts.size() == 2);
  CHECK(play.topology.room(Target::any) == 0);
  play.topology.set_capacity(1, 10);
  CHECK(play.topology.room(Target::any) == 9);
  // Some connection there must be, however small the host is.
  play.topology.set_capacity(0, 2);
  CHECK(play.topology.most_connections(0) == 1);
  play.topology.renew_host(0, play.now);
  CHECK(play.topology.most_connections(0) == 0);

  options.max_connections = 7;
  Play bounded(options, 1);
  CHECK(bounded.topology.most_connections(0) == 7);
  bounded.topology.set_capacity(0, 100);
  CHECK(bounded.topology.most_connections(0) == 7);
  bounded.topology.set_capacity(0, 9);
  CHECK(bounded.topology.most_connections(0) == 6);
}

TEST_CASE("a standby that lags too far behind is left alone") {
  Options options = with_roles();
  options.max_standby_lag = seconds(5);
  Play play(options, 2);
  for (int i = 0; i < 20; ++i) {  // both advance
    play.servers[0].position += 1000;
    play.servers[1].position = play.servers[0].position - 500;
    play.run(seconds(1));
    if (i > 0) CHECK(play.serves(1, Target::read_only));
  }
  for (int i = 0; i < 4; ++i) {  // it stands still
    play.servers[0].position += 1000;
    play.run(seconds(1));
    CHECK(play.serves(1, Target::read_only));
  }
  for (int i = 0; i < 4; ++i) {
    play.servers[0].position += 1000;
    play.run(seconds(1));
  }
  CHECK_FALSE(play.serves(1, Target::read_only));
  CHECK(play.holds(Target::read_only));
  CHECK(play.serves(0, Target::prefer_standby));
  play.run(seconds(60));  // nothing is written: it is as far behind as before
  CHECK_FALSE(play.serves(1, Target::read_only));
  play.servers[1].position = play.servers[0].position;
  play.run(seconds(2));
  CHECK(play.serves(1, Target::read_only));
}

TEST_CASE("when nobody can log in to look, roles are not waited for") {
  Play play(with_roles(), 2);
  CHECK(play.holds(Target::read_write));
  play.topology.set_blind(true);
  CHECK_FALSE(play.holds(Target::read_write));
  CHECK(play.choose(Target::read_write).size() == 2);
  play.topology.set_blind(false);
  CHECK(play.holds(Target::read_write));
  play.topology.set_roles(false);  // it is DWS
  CHECK_FALSE(play.holds(Target::read_write));
}

TEST_CASE("a host that is taken out gets nothing new") {
  Play play(equals(), 2);
  play.run(milliseconds(50));
  play.connect(1);
  play.topology.remove_host(1);
  CHECK(play.topology.serves(1) == 0);
  CHECK(play.choose(Target::any) == Hosts{0});
  CHECK(play.topology.epoch(1) == 0);  // what is there finishes
  play.run(seconds(3));
  play.topology.on_closed(1, Target::any);
  play.topology.restore_host(1, play.now);
  CHECK(play.topology.serves(1) == 0);
  play.run(milliseconds(10));
  CHECK(play.serves(1, Target::any));
}

TEST_CASE("another server behind the same host: nothing that was known of the former counts") {
  Play play(with_roles(), 2);
  play.run(milliseconds(50));
  REQUIRE(play.topology.role(0) == Role::primary);
  play.topology.renew_host(0, play.now);
  CHECK(play.topology.role(0) == Role::unknown);
  CHECK(play.holds(Target::read_write));
  CHECK(play.serves(0, Target::any));  // it was configured, and is not on trial
  play.servers[0].in_recovery = true;
  play.servers[1].in_recovery = false;
  play.servers[1].timeline = 2;
  play.run(milliseconds(200));
  CHECK(play.topology.role(1) == Role::primary);
  CHECK(play.topology.role(0) == Role::standby);
  // Neither does that it was down, or that attempts are held back.
  play.servers[0].reachable = false;
  fail(play.topology, 0, play.now);
  play.run(seconds(10));
  CHECK(play.topology.is_up(0) == false);
  play.topology.renew_host(0, play.now);
  CHECK_FALSE(play.topology.is_up(0));
  CHECK_FALSE(play.topology.is_held_back(0, play.now));
}

TEST_CASE("a host that was taken out and is another one now serves at once") {
  Play play(Options{}, 2);
  play.topology.remove_host(1);
  CHECK(play.topology.serves(1) == 0);
  play.topology.renew_host(1, play.now);
  CHECK(play.topology.serves(1) == all_targets);
}

TEST_CASE("hosts may turn out to be several, and are looked after from then on") {
  Play play(Options{}, 1);
  play.run(milliseconds(50));
  CHECK(play.probes == 0);
  play.topology.add_host(1, 1, play.now);
  play.servers.emplace_back();
  play.topology.begin_probing(false);
  play.servers[1].reachable = false;
  play.run(seconds(3));
  CHECK(play.probes > 2);
  CHECK(play.choose(Target::any) == Hosts{0});
}

TEST_CASE("a host that was only heard of serves nobody before it has answered") {
  Play play(equals(), 1);
  play.run(milliseconds(50));
  REQUIRE(play.topology.add_host_on_trial(play.now) == 1);
  play.servers.emplace_back();
  play.servers[1].reachable = false;
  play.run(seconds(3));
  CHECK(play.topology.serves(1) == 0);
  play.servers[0].reachable = false;  // not even when no other is left
  play.run(seconds(3));
  CHECK(play.choose(Target::any) == Hosts{0});
  play.servers[1].reachable = true;
  play.run(milliseconds(1100));
  CHECK(play.choose(Target::any) == Hosts{1});
}

}  // namespace dwspool::cluster
