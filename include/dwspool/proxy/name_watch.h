// Looks up the names among a cluster's hosts, again and again, and tells the cluster what addresses
// they have. Lives on the first worker's loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dwspool/net/loop.h"
#include "dwspool/net/resolver.h"
#include "dwspool/net/timer.h"

#include "dwspool/cluster/names.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/hub.h"

namespace dwspool::proxy {

class NameWatch {
 public:
  NameWatch(Hub& hub, ClusterState& state, net::Loop& loop);
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

  // A host could not be reached: its name may lead elsewhere by now.
  void hurry();

 private:
  struct Name {
    std::string host;
    std::uint16_t port = 0;
    cluster::NameSchedule schedule;
    std::unique_ptr<net::Resolver> resolver;  // while it is being looked up
  };

  void look_around();
  void begin(std::size_t index);
  void on_resolved(std::size_t index, const std::vector<net::Address>& addresses,
                   const std::string& error);
  void note_failure(const Name& name, const std::string& why);
  void arm();

  Hub& hub_;
  ClusterState& state_;
  net::Loop& loop_;
  std::vector<Name> names_;  // as ClusterState::names() has them
  net::Timer timer_;
};

}  // namespace dwspool::proxy
