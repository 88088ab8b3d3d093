// Which server of a PostgreSQL cluster is the primary: decided from what all of them say, never
// from one alone, since a former primary that was cut off or frozen does not know that it is one.
//
// Epoch: the highest timeline on which a primary was seen. A server that calls itself primary on
// an older one is fenced: it serves nobody again until it has become a standby, and what was
// connected to it before is to be dropped.
//
// Doubt: the primary has not answered, or nothing is known yet. Whoever claims to be the primary
// then must have been looked at together with all others, after the claim:
//
//             claim on a newer timeline than any before
//          ┌──────────────────────────────────────────────┐
//          │                                              ▼
//   no leader ── claim ──► claimed ── all others seen ─► leader ── no answer ──► in doubt ─┐
//          ▲                  ▲                           │                                │
//          └──────────────────┼──── says it is standby ───┘                                │
//                             └───────────────────── claim ────────────────────────────────┘
//
// Servers of different system identifiers do not replicate each other: each such group has a
// leader of its own. Two addresses of one server lead together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "dwspool/base/time.h"

namespace dwspool::cluster {

using HostId = std::uint32_t;

class Leadership {
 public:
  struct Sighting {
    bool in_recovery = false;
    bool writable = true;      // new transactions may write
    std::uint64_t system = 0;  // the system identifier; 0 when it is not known
    std::uint32_t timeline = 0;
    std::uint64_t instance = 0;  // equal for two addresses of one running server; 0: not known
  };

  // Hosts are numbered in the order in which they are added.
  void add_host() { hosts_.emplace_back(); }
  // Nothing is to be expected of it any more, and nobody waits for its word.
  void remove_host(HostId host);
  void restore_host(HostId host) { hosts_[host].removed = false; }

  // What a probe that was begun at `begun` has found out.
  void on_answer(HostId host, const Sighting& sighting, TimePoint begun, TimePoint now);
  void on_silence(HostId host, TimePoint now);

  // It is the primary, as far as can be known: it may be given work that reads and writes.
  bool is_leader(HostId host) const;
  // It was the leader when it last answered, and may be it still.
  bool is_doubted(HostId host) const;
  bool is_fenced(HostId host) const { return hosts_[host].fenced; }
  bool has_leader() const;
  // Somebody else claims to be the primary, and this one is to be asked once more: at once.
  bool is_awaited(HostId host) const;

  // Servers whose connections are of a former epoch, since the last call.
  std::vector<HostId> take_dropped();

 private:
  struct Host {
    bool removed = false;
    bool answered = false;  // the last probe
    bool fenced = false;
    Sighting sighting;
    TimePoint answer_begun;
    TimePoint silent_at;  // when a probe last came to nothing
  };
  struct Group {
    std::uint32_t epoch = 0;
    std::optional<HostId> leader;
    bool confirmed = false;
    struct Claim {
      HostId host = 0;
      TimePoint at;
    };
    std::optional<Claim> claim;
  };

  void review(TimePoint now);
  void review(std::uint64_t system, Group& group, TimePoint now);
  std::optional<HostId> best_of(std::uint64_t system, const Group& group) const;
  bool is_seen(HostId host, TimePoint since) const;
  bool all_others_seen(HostId claimant, TimePoint since) const;
  void install(Group& group, HostId host);
  void depose(Group& group, bool drop);
  bool is_same_server(HostId one, HostId other) const;

  std::vector<Host> hosts_;
  std::map<std::uint64_t, Group> groups_;
  std::vector<HostId> dropped_;
};

}  // namespace dwspool::cluster
