#include "dwspool/proxy/peer_ledger.h"

#include <algorithm>

namespace dwspool::proxy {

PeerLedger::Request PeerLedger::add(const wire::KeyData& key, TimePoint now) {
  const bool known = std::any_of(open_.begin(), open_.end(), [&](const auto& each) {
    return each.second.key.pid == key.pid && each.second.key.secret == key.secret;
  });
  if (known) return 0;
  const Request request = ++last_;
  open_.emplace(request, Open{key, now + limits_.patience, peers_.size()});
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    if (peer.waiting.size() >= limits_.waiting) {
      ++dropped_;
      settle(request);
      continue;
    }
    peer.waiting.push_back(request);
    begin_next(i);
  }
  if (peers_.empty()) {
    open_.erase(request);
    done_.push_back(request);
  }
  return request;
}

void PeerLedger::begin_next(std::size_t peer) {
  Peer& place = peers_[peer];
  if (place.waiting.empty() || place.under_way.size() >= limits_.at_once) return;
  place.under_way.push_back(place.waiting.front());
  begun_.push_back({place.waiting.front(), peer});
  place.waiting.pop_front();
}

void PeerLedger::on_finished(Errand errand) {
  Peer& peer = peers_[errand.peer];
  if (std::erase(peer.under_way, errand.request) == 0) return;
  settle(errand.request);
  begin_next(errand.peer);
}

// One peer less has to deal with it.
void PeerLedger::settle(Request request) {
  const auto open = open_.find(request);
  if (--open->second.missing > 0) return;
  open_.erase(open);
  done_.push_back(request);
}

void PeerLedger::tick(TimePoint now) {
  std::vector<Request> late;
  for (const auto& [request, open] : open_) {
    if (open.deadline > now) break;
    late.push_back(request);
  }
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    // All of them out of the line first, lest one begin now.
    for (const Request request : late) dropped_ += std::erase(peer.waiting, request);
    for (const Request request : late) {
      if (std::erase(peer.under_way, request) == 0) continue;
      given_up_.push_back({request, i});
      begin_next(i);
    }
  }
  for (const Request request : late) {
    open_.erase(request);
    done_.push_back(request);
  }
}

TimePoint PeerLedger::next_deadline() const {
  return open_.empty() ? never : open_.begin()->second.deadline;
}

}  // namespace dwspool::proxy
