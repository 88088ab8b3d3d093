// Which requests to cancel are passed on to which other instances, and how many at a time. Pure:
// events and the time come in, what follows is asked for afterwards.
//
// An instance that does not answer holds up nobody but itself; one that is flooded with requests
// for sessions that nobody has passes on a bounded number of them, and forgets the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "dwspool/base/time.h"

#include "dwspool/wire/messages.h"

namespace dwspool::proxy {

class PeerLedger {
 public:
  struct Limits {
    std::size_t at_once = 16;   // for each peer
    std::size_t waiting = 256;  // the same: behind those
    // A request that is older must not arrive any more: what it meant may have ended, and another
    // statement of the same session have begun.
    Duration patience = std::chrono::seconds{3};
  };
  using Request = std::uint64_t;
  // One request on its way to one peer.
  struct Errand {
    Request request = 0;
    std::size_t peer = 0;
    friend bool operator==(const Errand&, const Errand&) = default;
    friend bool operator<(const Errand& one, const Errand& other) {
      return std::tie(one.request, one.peer) < std::tie(other.request, other.peer);
    }
  };

  PeerLedger(std::size_t peers, Limits limits) : limits_(limits), peers_(peers) {}

  // 0: it is under way already, and that is enough.
  Request add(const wire::KeyData& key, TimePoint now);
  // The peer has dealt with it, or cannot be reached.
  void on_finished(Errand errand);
  void tick(TimePoint now);

  // --- What follows ---
  std::vector<Errand> take_begun() { return std::exchange(begun_, {}); }
  // Under way for too long: to be abandoned; on_finished is not called for them.
  std::vector<Errand> take_given_up() { return std::exchange(given_up_, {}); }
  // All peers have dealt with these, or will not.
  std::vector<Request> take_done() { return std::exchange(done_, {}); }
  // Errands that were never begun, since the last time.
  std::size_t take_dropped() { return std::exchange(dropped_, 0); }
  // Of a request that is not done.
  const wire::KeyData& key(Request request) const { return open_.at(request).key; }
  TimePoint next_deadline() const;
  std::size_t size() const { return open_.size(); }

 private:
  struct Open {
    wire::KeyData key;
    TimePoint deadline;
    std::size_t missing = 0;  // peers that have not dealt with it
  };
  struct Peer {
    std::vector<Request> under_way;
    std::deque<Request> waiting;
  };

  void settle(Request request);
  void begin_next(std::size_t peer);

  Limits limits_;
  std::vector<Peer> peers_;
  std::map<Request, Open> open_;  // in the order of their deadlines
  Request last_ = 0;
  std::vector<Errand> begun_;
  std::vector<Errand> given_up_;
  std::vector<Request> done_;
  std::size_t dropped_ = 0;
};

}  // namespace dwspool::proxy
