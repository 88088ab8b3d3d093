// What is known about the hosts of one cluster, and what follows from it: where the next
// connection goes, whom to probe when, whose connections may be lent, must end, or should move.
//
// Pure: events and the time come in. What is to be done is asked for afterwards: take_probes(),
// take_events(), and the view (serves(), epoch(), held(), to_shed()), which the shell compares
// with what it has told the workers.
//
//                 answers                       twice no answer, or refused
//    unknown ─────────────────► up ─────────────────────────────────────────► down
//       │  no answer             ▲                answers                      │
//       └──────────► down        └────────────────────────────────────────────┘
//
// A host that is down gets no new work and its idle connections end, unless no other is left. One
// that has been silent for dead_after is given up: whatever waits for it is told.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "dwspool/base/routing.h"
#include "dwspool/base/time.h"

#include "dwspool/retry/backoff.h"

#include "dwspool/cluster/balancer.h"
#include "dwspool/cluster/leadership.h"

namespace dwspool::cluster {

struct Options {
  Balance balance = Balance::least_connections;
  bool probing = false;  // there are probes
  bool roles = false;    // and they tell a primary from standbys
  Duration probe_interval = std::chrono::seconds{1};
  Duration suspect_interval = std::chrono::milliseconds{100};  // while something is wrong
  Duration down_interval = std::chrono::milliseconds{500};     // of a host that is away, at most
  Duration probe_timeout = std::chrono::seconds{1};
  Duration dead_after = std::chrono::seconds{8};  // 0: never
  Duration max_standby_lag{};                     // 0: any
  Duration warm_up{};                             // 0: none
  std::uint32_t connect_rate = 0;                 // new connections per second and host; 0: any
  std::uint32_t max_connections = 0;              // per host, over all targets; 0: any number
  std::uint32_t reserve = 0;                      // left to others of a host's capacity
};

enum class Role : std::uint8_t { unknown, primary, standby };

struct ProbeAnswer {
  Leadership::Sighting sighting;
  std::uint64_t position = 0;            // in the write-ahead log: written, or applied
  std::uint32_t receiving_timeline = 0;  // of a standby that receives; 0 when it is not known
};

enum class Trouble : std::uint8_t {
  unreachable,  // no connection, or no answer
  unavailable,  // it answers, and takes nobody in: starting up, shutting down
  full,         // it answers, and has no connection left: no sign of ill health
};

// For one connection.
struct Choice {
  std::vector<HostId> hosts;   // in the order in which to try them
  TimePoint retry_at = never;  // when there may be one, if there is none
};

struct ProbeAction {
  HostId host = 0;
  bool begin = true;  // else: give the one under way up
};

struct Event {
  enum class Kind : std::uint8_t { up, down, dead, leader, no_leader, dropped };
  Kind kind = Kind::up;
  HostId host = 0;
  std::uint32_t timeline = 0;  // leader
};

class Topology {
 public:
  explicit Topology(const Options& options);

  // --- Hosts; an id is never used again ---
  HostId add_host(double weight, std::uint32_t priority, TimePoint now);
  // One that was not configured but heard of: it serves nobody until it has answered a probe.
  HostId add_host_on_trial(TimePoint now);
  // Nothing new goes there; what is there finishes.
  void remove_host(HostId host);
  std::size_t size() const { return hosts_.size(); }
  // It is there again; on trial, too.
  void restore_host(HostId host, TimePoint now);
  // It may be another server from now on: what was known of it is forgotten. Not on trial.
  void renew_host(HostId host, TimePoint now);
  bool is_removed(HostId host) const { return hosts_[host].removed; }

  // --- Connections ---
  // `tried`: hosts that this connection has tried already. `random` in [0, 1). `spare`: one that
  // uses the reserve, and is not to be counted for long.
  Choice choose(Target target, const std::vector<HostId>& tried, TimePoint now, double random,
                bool spare = false);
  // Each on_connecting() is followed by on_opened() or on_open_failed(), each on_opened() by
  // on_closed().
  void on_connecting(HostId host, Target target, TimePoint now);
  void on_opened(HostId host);
  void on_open_failed(HostId host, Target target, Trouble trouble, TimePoint now, double jitter);
  // Given up by ourselves: nothing is known about the host.
  void on_open_abandoned(HostId host, Target target) { on_closed(host, target); }
  void on_closed(HostId host, Target target) { --hosts_[host].connections[index(target)]; }
  // One ended that should not have: worth a look at the host, no more.
  void on_lost(HostId host, TimePoint now);

  // --- Probes ---
  // `fresh`: the probe has logged in anew.
  void on_probe_answer(HostId id, const ProbeAnswer& answer, bool fresh, TimePoint now);
  void on_probe_failed(HostId id, Trouble trouble, TimePoint now);
  // It takes so many connections, as it says itself; 0: nobody knows.
  void set_capacity(HostId host, std::uint32_t connections) { hosts_[host].capacity = connections; }
  // No probe can log in, and it is not the hosts' fault: roles cannot be known.
  void set_blind(bool blind);
  // There is a choice between hosts, which was not expected.
  void begin_probing(bool roles);
  // Once it is known what kind of cluster it is.
  void set_roles(bool roles);
  void set_connect_rate(std::uint32_t rate) { options_.connect_rate = rate; }

  void tick(TimePoint now);
  TimePoint next_deadline() const;
  std::vector<ProbeAction> take_probes() { return std::exchange(probes_, {}); }
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

  // --- The view ---
  // The targets that the host's connections may be lent for, and opened for.
  TargetMask serves(HostId host) const;
  // A connection that was opened in an earlier epoch of its host is to be dropped at once.
  std::uint32_t epoch(HostId host) const { return hosts_[host].epoch; }
  // The targets that no host serves: who waits goes on waiting, and nothing is lent.
  TargetMask held() const;
  // So many connections should move to other hosts: when they are given back, or while they are
  // idle if their pool would open others at once.
  std::size_t to_shed(HostId host, Target target) const {
    return hosts_[host].to_shed[index(target)];
  }
  void on_shed(HostId host, Target target) {
    std::size_t& left = hosts_[host].to_shed[index(target)];
    if (left > 0) --left;
  }
  Role role(HostId host) const;
  // Nothing until a probe has told.
  std::optional<bool> is_up(HostId host) const {
    if (hosts_[host].health == Health::unknown) return std::nullopt;
    return hosts_[host].health == Health::up;
  }
  bool is_held_back(HostId host, TimePoint now) const { return now < hosts_[host].held_until; }
  std::size_t connections(HostId host) const;
  // So many may be open; 0: any number. A host is never left without any.
  std::uint32_t most_connections(HostId host) const;
  // The same of all hosts that serve the target together; nothing when none does.
  std::optional<std::uint32_t> room(Target target) const;
  bool suspects() const { return suspicious_; }

 private:
  enum class Health : std::uint8_t { unknown, up, down };
  struct Host {
    bool removed = false;
    bool on_trial = false;
    double weight = 1;
    std::uint32_t priority = 0;
    Health health = Health::unknown;
    Role role = Role::unknown;
    TargetMask served = 0;  // the targets that it served at the last answer to a probe
    ProbeAnswer answer;
    std::array<std::size_t, target_count> connections{};
    std::array<std::size_t, target_count> to_shed{};
    std::uint32_t epoch = 0;
    std::uint32_t capacity = 0;  // 0: not known
    // Failed attempts of others than probes:
    TimePoint held_until;
    bool held_for_connecting = false;
    retry::Backoff backoff = retry::Backoff();
    // Probes:
    TimePoint next_probe;
    TimePoint probe_begun = never;  // never: none is under way
    TimePoint probed_at;
    std::uint32_t failures = 0;  // in a row
    TimePoint silent_since = never;
    bool given_up = false;
    // Coming back:
    TimePoint warm_since = never;  // never: it is warm
    double tokens = 0;             // for connections that may be made at once
    TimePoint tokens_at;
  };
  static std::size_t index(Target target) { return static_cast<std::size_t>(target); }

  bool knows_roles() const { return options_.probing && options_.roles && !blind_; }
  bool fits(const Host& host, HostId id, Target target) const;
  bool is_fresh_standby(const Host& host) const;
  bool serves_one(HostId id, Target target) const;
  double weight_of(const Host& host, TimePoint now) const;
  void refill(Host& host, TimePoint now) const;
  void begin_probe(HostId id, TimePoint now);
  void probe_soon(TimePoint now);
  bool is_leader_overdue(TimePoint now) const;
  void come_up(HostId id, TimePoint now);
  void go_down(HostId id);
  void after_sighting(TimePoint now);
  void end_probe(Host& host, TimePoint now, bool answered);
  void note_leader_position(TimePoint now);
  void note_served(TimePoint now);
  void rebalance(TimePoint now);

  Options options_;
  std::vector<Host> hosts_;
  Leadership leadership_;
  Balancer balancer_;
  bool blind_ = false;
  bool suspicious_ = false;
  bool had_leader_ = false;
  std::optional<HostId> last_leader_;
  TimePoint next_rebalance_ = never;
  // Where the primary was, when: what a standby's lag is measured against.
  std::deque<std::pair<TimePoint, std::uint64_t>> positions_;
  TimePoint now_;  // of the last event
  std::vector<ProbeAction> probes_;
  std::vector<Event> events_;
};

}  // namespace dwspool::cluster
