#include "dwspool/proxy/peer_cancels.h"

#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/startup.h"

namespace dwspool::proxy {
namespace {

// Behind one name.
constexpr std::size_t most_addresses = 64;

}  // namespace

PeerCancels::PeerCancels(Hub& hub, net::Loop& loop, metrics::WorkerBlock& metrics,
                         const std::vector<config::Peer>& peers)
    : hub_(hub),
      loop_(loop),
      metrics_(metrics),
      peers_(peers),
      ledger_(peers.size(), {}),
      timer_(loop, [this] {
        ledger_.tick(loop_.now());
        go_on();
      }) {}

void PeerCancels::pass_on(const wire::KeyData& key, std::function<void()> done) {
  const PeerLedger::Request request = ledger_.add(key, loop_.now());
  if (request == 0) {
    done();
    return;
  }
  done_.emplace(request, std::move(done));
  go_on();
}

void PeerCancels::reconfigure(const std::vector<config::Peer>& peers) {
  if (peers == peers_) return;
  stop();
  peers_ = peers;
  ledger_ = PeerLedger(peers_.size(), {});
}

void PeerCancels::stop() {
  timer_.disarm();
  journeys_.clear();
  const auto open = std::exchange(done_, {});
  for (const auto& [request, done] : open) done();
}

// Does what the ledger wants done.
void PeerCancels::go_on() {
  for (const Errand& errand : ledger_.take_given_up()) journeys_.erase(errand);
  for (const Errand& errand : ledger_.take_begun()) begin(errand);
  if (const std::size_t dropped = ledger_.take_dropped(); dropped > 0) {
    metrics_.peer_cancels_dropped.add(dropped);
    hub_.log.write_limited(LogLevel::warning, "cancel.peers_overloaded",
                           "more cancel requests are to be passed on than the peers take",
                           {{"dropped", static_cast<std::int64_t>(dropped)}});
  }
  timer_.arm(ledger_.next_deadline());
  for (const PeerLedger::Request request : ledger_.take_done()) {
    const auto found = done_.find(request);
    if (found == done_.end()) continue;  // stopped
    const std::function<void()> done = std::move(found->second);
    done_.erase(found);
    done();
  }
}

void PeerCancels::begin(Errand errand) {
  const config::Peer& peer = peers_[errand.peer];
  auto journey = std::make_unique<Journey>();
  // Asked anew each time: requests to cancel are rare, and instances come and go.
  journey->resolver = std::make_unique<net::Resolver>(
      loop_, peer.host, peer.port,
      [this, errand](const std::vector<net::Address>& addresses, const std::string& error) {
        on_resolved(errand, addresses, error);
      });
  journeys_[errand] = std::move(journey);
}

void PeerCancels::on_resolved(Errand errand, const std::vector<net::Address>& addresses,
                              const std::string& error) {
  if (addresses.empty()) {
    hub_.log.write_limited(
        LogLevel::warning, "cancel.peer_unknown", "a peer's name could not be resolved",
        {{"peer", peers_[errand.peer].label()}, {"reason", printable(error, 256)}});
    end(errand);
    return;
  }
  Journey& journey = *journeys_.at(errand);
  const wire::KeyData& key = ledger_.key(errand.request);
  const std::string packet = wire::write_passed_on_cancel(key.pid, key.secret);
  journey.missing = std::min(addresses.size(), most_addresses);
  for (std::size_t i = 0; i < std::min(addresses.size(), most_addresses); ++i) {
    journey.senders.push_back(std::make_unique<CancelSender>(
        loop_, addresses[i], nullptr, packet, [this, errand, &journey](bool sent, bool) {
          if (sent) metrics_.peer_cancels_sent.add();
          if (--journey.missing == 0) end(errand);
        }));
  }
}

// May be called from within what belongs to the journey.
void PeerCancels::end(Errand errand) {
  const auto found = journeys_.find(errand);
  const std::unique_ptr<Journey> journey = std::move(found->second);
  journeys_.erase(found);
  ledger_.on_finished(errand);
  go_on();
}

}  // namespace dwspool::proxy
