// `instance_id` and `peers`.
#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

std::string peers_of(const std::string& lines) {
  std::string text;
  for (const Peer& peer : loaded(with(lines)).peers) {
    text += (text.empty() ? "" : " ") + peer.id + "=" + peer.label();
  }
  return text;
}

}  // namespace

TEST_CASE("peers: by addresses, names and ids, this one left out") {
  CHECK(loaded(Parts{}.text()).peers.empty());
  CHECK(
      peers_of("peers: [\"10.0.0.1:6433\", dwspool-pods, \"[::1]:7\", \"/run/dwspool:6432\"]\n") ==
      "=10.0.0.1:6433 =dwspool-pods:6432 =[::1]:7 =/run/dwspool:6432");
  const std::string both =
      "peers: [{id: a, address: \"h:1\"}, {id: 2, address: \"h:2\"}, \"all:3\"]\n";
  CHECK(peers_of("instance_id: a\n" + both) == "2=h:2 =all:3");
  CHECK(peers_of("instance_id: 2\n" + both) == "a=h:1 =all:3");
  CHECK(peers_of("instance_id: c\n" + both) == "a=h:1 2=h:2 =all:3");
  CHECK(peers_of("instance_id: c\n") == "");
}

TEST_CASE("peers: what is wrong with them") {
  const auto wrong = [](const std::string& lines, const std::string& part) {
    const std::string said = complaints_about(with(lines));
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  wrong("peers: [\"h:0\"]\n", "a port from 1 to 65535");
  wrong("peers: [\"*:1\"]\n", "a peer has one host");
  wrong("peers: [{id: a}]\n", "needs an 'address'");
  wrong("peers: [{address: h, weight: 1}]\n", "weight");
  wrong("peers: [\"h:1\", \"h:1\"]\n", "stands there twice");
  wrong("instance_id: a\npeers: [{id: b, address: h}, {id: b, address: i}]\n",
        "stands there twice");
  wrong("peers: [{id: a, address: h}]\n", "write 'instance_id'");
  wrong("peers: h\n", "peers");
  std::string many = "peers: [";
  for (int i = 0; i < 65; ++i) many += (i > 0 ? ", h" : "h") + std::to_string(i);
  wrong(many + "]\n", "more than 64");
}

}  // namespace dwspool::config::testing
