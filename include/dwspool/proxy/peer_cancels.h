// Passes requests to cancel on to the other instances: whoever knows the session cancels it. Of one
// worker. How many at a time, and for how long, says PeerLedger.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "dwspool/wire/messages.h"

#include "dwspool/config/config.h"
#include "dwspool/metrics/registry.h"

#include "dwspool/net/loop.h"
#include "dwspool/net/resolver.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/cancel_sender.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/peer_ledger.h"

namespace dwspool::proxy {

class PeerCancels {
 public:
  PeerCancels(Hub& hub, net::Loop& loop, metrics::WorkerBlock& metrics,
              const std::vector<config::Peer>& peers);
  PeerCancels(const PeerCancels&) = delete;
  PeerCancels& operator=(const PeerCancels&) = delete;

  bool has_peers() const { return !peers_.empty(); }
  // `done` is called once, when all peers have dealt with it or some seconds have passed; at once
  // if it is on its way already.
  void pass_on(const wire::KeyData& key, std::function<void()> done);
  // What is under way is left at that if these are others.
  void reconfigure(const std::vector<config::Peer>& peers);
  // The same, for good.
  void stop();

 private:
  // All that is known of one errand: a name may have several addresses, each an instance.
  struct Journey {
    std::unique_ptr<net::Resolver> resolver;
    std::vector<std::unique_ptr<CancelSender>> senders;
    std::size_t missing = 0;
  };
  using Errand = PeerLedger::Errand;

  void go_on();
  void begin(Errand errand);
  void on_resolved(Errand errand, const std::vector<net::Address>& addresses,
                   const std::string& error);
  void end(Errand errand);

  Hub& hub_;
  net::Loop& loop_;
  metrics::WorkerBlock& metrics_;
  std::vector<config::Peer> peers_;
  PeerLedger ledger_;
  std::unordered_map<PeerLedger::Request, std::function<void()>> done_;
  std::map<Errand, std::unique_ptr<Journey>> journeys_;
  net::Timer timer_;
};

}  // namespace dwspool::proxy
