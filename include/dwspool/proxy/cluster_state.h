// One cluster's topology as all workers share it: the core behind a lock, which is taken when a
// connection is opened or closed and when a probe has ended; and what is asked for every
// transaction, as atomics.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/base/log.h"
#include "dwspool/base/secret.h"
#include "dwspool/base/time.h"

#include "dwspool/auth/credential.h"
#include "dwspool/config/config.h"
#include "dwspool/metrics/registry.h"
#include "dwspool/retry/moderator.h"

#include "dwspool/net/address.h"
#include "dwspool/net/connector.h"
#include "dwspool/net/loop.h"

#include "dwspool/cluster/names.h"
#include "dwspool/cluster/topology.h"

namespace dwspool::proxy {

// Whom somebody logs in as on a cluster.
struct Account {
  std::string user;
  auth::Credential credential;
  std::string database;
  std::string name;       // the lock-out guard's, see account_name()
  bool supplied = false;  // by a client just now, and by no configuration
};

// The lock-out guard's name for this user on this cluster, the credential included.
std::string account_name(const config::Cluster& cluster, const std::string& user,
                         const auth::Credential& credential);

class ClusterState {
 public:
  static constexpr std::size_t max_hosts = 64;

  // `changed`: the view is another one, all workers should look at it. `wake`: there is something
  // for the prober to do before what it has been told. Both may be called from any thread.
  struct Listener {
    std::function<void()> changed;
    std::function<void()> wake;
  };

  // `number` tells it from all others that the process has had.
  ClusterState(std::uint64_t number, std::shared_ptr<const config::Config> config,
               const config::Cluster& cluster, Log& log, metrics::Registry& registry);
  ClusterState(const ClusterState&) = delete;
  ClusterState& operator=(const ClusterState&) = delete;

  // Before the first worker runs, and after the last one has ended.
  void listen(Listener listener) { listener_ = std::move(listener); }

  // --- Without the lock ---
  std::uint64_t number() const { return number_; }
  const config::Cluster& config() const { return cluster_; }
  const config::Coordinator& host(cluster::HostId host) const { return slots_[host]->coordinator; }
  std::uint32_t epoch(cluster::HostId host) const {
    return slots_[host]->epoch.load(std::memory_order_acquire);
  }
  bool serves(cluster::HostId host, Target target) const {
    return (slots_[host]->serves.load(std::memory_order_acquire) & mask_of(target)) != 0;
  }
  // Connections that all pools together may have for it; 0: any number.
  std::uint32_t room(Target target) const {
    return room_[static_cast<std::size_t>(target)].load(std::memory_order_acquire);
  }
  bool holds(Target target) const {
    return (held_.load(std::memory_order_acquire) & mask_of(target)) != 0;
  }
  // One that asks for protocol 3.51 in vain is asked by 3.0 from then on.
  std::atomic<bool>& wants_protocol_3_0(cluster::HostId host) {
    return slots_[host]->wants_protocol_3_0;
  }
  // Unknown until it has been found out, unless it is configured.
  Dialect dialect() const { return dialect_.load(std::memory_order_relaxed); }
  bool is_probed() const { return probed_.load(std::memory_order_relaxed); }
  // The same, but for what its names turned out to be.
  bool is_configured_probed() const { return configured_probed_; }
  // Changes with the addresses that a host has, where it is known by a name.
  std::uint32_t generation(cluster::HostId host) const {
    return slots_[host]->generation.load(std::memory_order_acquire);
  }
  const std::shared_ptr<retry::Moderator>& moderator() const { return moderator_; }
  // How many passwords of a user may be refused in an hour; 0: any number.
  std::uint32_t failure_budget() const {
    return cluster_.auth_failure_budget.value_or(dialect() == Dialect::postgres ? 0 : 3);
  }

  // --- Connections, from any worker ---
  // The host for one connection, which is counted as being made from then on; if there is none,
  // `retry_at` says when there may be.
  std::optional<cluster::HostId> begin_connection(Target target,
                                                  const std::vector<cluster::HostId>& tried,
                                                  TimePoint now, double random,
                                                  TimePoint& retry_at);
  // The same for a question of dwspool's own, on whichever host: it has a connection of those that
  // are left to others, and is not counted any more once it is open. Followed by on_opened() and
  // on_closed(), on_open_failed() or on_open_abandoned(), with Target::any.
  std::optional<cluster::HostId> begin_inquiry(const std::vector<cluster::HostId>& tried,
                                               TimePoint now, TimePoint& retry_at);
  void on_opened(cluster::HostId host, TimePoint now);
  void on_open_failed(cluster::HostId host, Target target, cluster::Trouble trouble, TimePoint now,
                      double jitter);
  void on_open_abandoned(cluster::HostId host, Target target, TimePoint now);
  // Connects to the host: to the addresses that its name is known to have, so that nobody waits for
  // a name server; only while none is known, by the name.
  std::unique_ptr<net::Connector> connect(cluster::HostId host, net::Loop& loop,
                                          net::Connector::Done done) const;
  // Whether a connection to `peer` leads to the host still. `seen`: the generation for which that
  // is known, and from now on.
  bool still_leads(cluster::HostId host, const net::Address& peer, std::uint32_t& seen) const;
  void on_closed(cluster::HostId host, Target target, TimePoint now);
  void on_lost(cluster::HostId host, TimePoint now);
  // Whether a connection that comes back, or is idle, should be closed for the hosts to become
  // even; if so, it is counted as moved.
  bool take_shed(cluster::HostId host, Target target);
  // Somebody has a name and a password on this cluster: probes may use it.
  void offer(const Account& account);
  void learn_dialect(Dialect dialect);
  // The labels of hosts that are not in the configuration: found in pgxc_node, or behind a name.
  std::vector<std::string> found_hosts() const;
  // Why a target is held, host by host.
  std::string trouble() const;

  // --- The prober's ---
  struct Work {
    std::vector<cluster::ProbeAction> probes;
    TimePoint next = never;
  };
  Work tick(TimePoint now);
  void on_probe_answer(cluster::HostId host, const cluster::ProbeAnswer& answer, bool fresh,
                       TimePoint now);
  void on_probe_failed(cluster::HostId host, cluster::Trouble trouble, const std::string& why,
                       TimePoint now);
  // The host takes so many connections; see cluster::Topology.
  void on_capacity(cluster::HostId host, std::uint32_t connections);
  void set_blind(bool blind);
  // The coordinators as pgxc_node lists them, translated. New ones are added, those that were
  // listed before and are not any more are taken out.
  void on_listed(const std::vector<config::Coordinator>& listed, TimePoint now);
  // The configured hosts that are names.
  std::vector<config::Coordinator> names() const;
  // What addresses one of them has, by its place in names(): not empty.
  void on_resolved(std::size_t name, const std::vector<net::Address>& addresses, TimePoint now);
  // Whether a host was out of reach since the last time.
  bool take_unreachable() { return unreachable_.exchange(false, std::memory_order_relaxed); }
  // It was taken out.
  bool is_out(cluster::HostId host) const;
  // One that answers probes.
  std::optional<cluster::HostId> any_up() const;
  // The accounts that were offered, the first one first.
  std::vector<Account> offers() const;

 private:
  struct HostSlot {
    config::Coordinator coordinator;
    std::atomic<std::uint32_t> epoch{0};
    std::atomic<TargetMask> serves{0};
    std::array<std::atomic<std::uint32_t>, target_count> to_shed{};
    std::atomic<bool> wants_protocol_3_0{false};
    std::shared_ptr<metrics::CoordinatorBlock> metrics;
    std::atomic<std::uint32_t> generation{0};
    std::string last_trouble;  // under the lock, like the next ones
    bool listed = false;
    cluster::AddressList addresses;  // empty unless it is a name that has been resolved
    std::uint32_t address_changes = 0;
  };
  // A configured host that is a name, and the hosts that it turned out to be.
  struct Name {
    std::vector<cluster::HostId> hosts;
  };
  class Update;

  void add_host(const config::Coordinator& coordinator, TimePoint now);
  std::unique_ptr<HostSlot> make_slot(const config::Coordinator& coordinator) const;
  bool publish();
  void set_addresses(cluster::HostId host, const cluster::AddressList& addresses, TimePoint now);
  void expect_choice();
  void note_unreachable();
  void log_events(const std::vector<cluster::Event>& events);

  std::uint64_t number_;
  std::shared_ptr<const config::Config> whole_config_;  // keeps the cluster's alive
  const config::Cluster& cluster_;
  bool configured_probed_;
  std::atomic<bool> probed_;
  Log& log_;
  metrics::Registry& registry_;
  Listener listener_;
  std::atomic<TargetMask> held_{0};
  std::array<std::atomic<std::uint32_t>, target_count> room_{};
  std::atomic<Dialect> dialect_;
  std::array<std::unique_ptr<HostSlot>, max_hosts> slots_;

  mutable std::mutex mutex_;
  cluster::Topology topology_;
  const std::shared_ptr<retry::Moderator> moderator_;
  TimePoint prober_wakes_ = never;  // by itself
  std::vector<Account> offers_;
  std::vector<Name> names_;
  std::atomic<bool> unreachable_{false};
  bool wake_ = false;  // under the lock: the prober is to be woken in any case
};

using Clusters = std::vector<std::shared_ptr<ClusterState>>;

}  // namespace dwspool::proxy
