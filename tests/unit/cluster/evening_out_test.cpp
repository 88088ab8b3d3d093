// Who has more connections than its share, and how many of them are to move.
#include <doctest/doctest.h>

#include "dwspool/cluster/topology.h"

#include "play.h"

namespace dwspool::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Hosts = std::vector<HostId>;

}  // namespace

TEST_CASE("after a host has come back the others give up what is above their share") {
  Play play(equals(), 3);
  play.run(milliseconds(50));
  play.servers[2].reachable = false;
  play.run(seconds(2));
  for (int i = 0; i < 30; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(0) == 15);
  CHECK(play.topology.connections(1) == 15);
  // Whatever the phase of the second in which it evens out otherwise.
  SUBCASE("") {
    play.run(milliseconds(1));
  }
  SUBCASE("") {
    play.run(milliseconds(400));
  }
  SUBCASE("") {
    play.run(milliseconds(800));
  }
  play.servers[2].reachable = true;
  play.until([&] { return play.serves(2, Target::any); });
  play.run(milliseconds(2));
  CHECK(play.topology.to_shed(0, Target::any) > 0);
  CHECK(play.topology.to_shed(1, Target::any) > 0);
  for (int round = 0; round < 10; ++round) {
    for (HostId host = 0; host < 3; ++host) {
      while (play.topology.to_shed(host, Target::any) > 0) {
        play.topology.on_shed(host, Target::any);
        play.topology.on_closed(host, Target::any);
        play.connect(play.choose(Target::any).front());
      }
    }
    play.run(seconds(1));
  }
  for (HostId host = 0; host < 3; ++host) {
    CHECK(play.topology.connections(host) >= 9);
    CHECK(play.topology.connections(host) <= 11);
    CHECK(play.topology.to_shed(host, Target::any) == 0);
  }
}

TEST_CASE("a host that has come back gets little at first") {
  Options options = equals();
  options.warm_up = seconds(10);
  Play play(options, 2);
  play.run(milliseconds(50));
  for (int i = 0; i < 20; ++i) play.connect(0);
  play.servers[1].reachable = false;
  play.run(seconds(2));
  play.servers[1].reachable = true;
  play.until([&] { return play.serves(1, Target::any); });
  for (int i = 0; i < 10; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(1) <= 4);
  play.run(seconds(11));
  for (int i = 0; i < 10; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(1) >= 11);
}

TEST_CASE("priority: connections go back to the first host when it has come back") {
  Options options = equals();
  options.balance = Balance::priority;
  Play play(options, 2);
  play.run(milliseconds(50));
  CHECK(play.choose(Target::any) == Hosts{0, 1});
  play.servers[0].reachable = false;
  play.run(seconds(2));
  for (int i = 0; i < 4; ++i) play.connect(play.choose(Target::any).front());
  CHECK(play.topology.connections(1) == 4);
  CHECK(play.topology.to_shed(1, Target::any) == 0);
  play.servers[0].reachable = true;
  play.run(seconds(3));
  CHECK(play.topology.to_shed(1, Target::any) == 4);
  CHECK(play.topology.to_shed(0, Target::any) == 0);
}

TEST_CASE("nobody gives up what the others cannot take") {
  Options options = equals();
  Play play(options, 3);
  play.run(milliseconds(50));
  for (int i = 0; i < 12; ++i) play.connect(0);
  SUBCASE("one has room for a few, one for none") {
    play.topology.set_capacity(1, 3);
    play.topology.set_capacity(2, 1);
    play.connect(2);
    play.run(seconds(1));
    CHECK(play.topology.to_shed(0, Target::any) == play.topology.most_connections(1));
  }
  SUBCASE("both are full") {
    play.topology.set_capacity(1, 2);
    play.topology.set_capacity(2, 2);
    for (const HostId host : {1U, 2U}) {
      while (play.topology.connections(host) < play.topology.most_connections(host)) {
        play.connect(host);
      }
    }
    play.run(seconds(1));
    CHECK(play.topology.to_shed(0, Target::any) == 0);
  }
  SUBCASE("there is room enough") {
    play.run(seconds(1));
    CHECK(play.topology.to_shed(0, Target::any) == 8);
  }
  CHECK(play.topology.to_shed(1, Target::any) == 0);
  CHECK(play.topology.to_shed(2, Target::any) == 0);
}

TEST_CASE("priority: nobody gives up what the first host cannot take") {
  Options options = equals();
  options.balance = Balance::priority;
  options.max_connections = 5;
  Play play(options, 2);
  play.run(milliseconds(50));
  for (int i = 0; i < 3; ++i) play.connect(0);
  for (int i = 0; i < 5; ++i) play.connect(1);
  play.run(seconds(1));
  CHECK(play.topology.to_shed(1, Target::any) == 2);
  for (int i = 0; i < 2; ++i) play.connect(0);
  play.run(seconds(1));
  CHECK(play.topology.to_shed(1, Target::any) == 0);
}

}  // namespace dwspool::cluster
