#include "dwspool/proxy/cluster_state.h"

#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/auth/digest.h"

#include "dwspool/net/resolver.h"

#include "dwspool/proxy/shared_moderator.h"

#include "proxy/cluster_update.h"

namespace dwspool::proxy {
namespace {

// As many new connections per second a coordinator of DWS takes without harm.
constexpr std::uint32_t dws_connect_rate = 10;
constexpr std::size_t most_offers = 8;

cluster::Options options_of(const config::Cluster& cluster, bool probed) {
  cluster::Options options;
  options.balance = cluster.balance;
  options.probing = probed;
  options.roles = probed && cluster.dialect != Dialect::dws;
  options.probe_interval = cluster.probing.interval;
  options.suspect_interval = cluster.probing.suspect_interval;
  options.down_interval = cluster.probing.down_interval;
  options.probe_timeout = cluster.probing.timeout;
  options.dead_after = cluster.probing.dead_after;
  options.max_standby_lag = cluster.max_standby_lag;
  options.warm_up = cluster.warm_up;
  options.max_connections = cluster.max_host_connections;
  options.reserve = cluster.host_connection_reserve;
  options.connect_rate =
      cluster.connect_rate.value_or(cluster.dialect == Dialect::dws ? dws_connect_rate : 0);
  return options;
}

retry::ModeratorOptions moderator_options(const config::Cluster& cluster) {
  const config::ReplayBounds& bounds = cluster.replay_bounds;
  retry::ModeratorOptions options;
  options.most_waiting = bounds.max_waiting;
  options.rate = bounds.attempt_rate;
  options.most_switchovers = bounds.max_switchovers;
  options.quarantine_after = bounds.quarantine_after;
  return options;
}

std::string_view name_of(cluster::Role role) {
  switch (role) {
    case cluster::Role::primary:
      return "primary";
    case cluster::Role::standby:
      return "standby";
    case cluster::Role::unknown:
      break;
  }
  return "unknown";
}

}  // namespace

std::string account_name(const config::Cluster& cluster, const std::string& user,
                         const auth::Credential& credential) {
  return cluster.name + '\0' + user + '\0' + hex_encode(auth::fingerprint(credential));
}

ClusterState::ClusterState(std::uint64_t number, std::shared_ptr<const config::Config> config,
                           const config::Cluster& cluster, Log& log, metrics::Registry& registry)
    : number_(number),
      whole_config_(std::move(config)),
      cluster_(cluster),
      configured_probed_(whole_config_->is_probed(cluster)),
      probed_(configured_probed_),
      log_(log),
      registry_(registry),
      dialect_(cluster.dialect),
      topology_(options_of(cluster, configured_probed_)),
      moderator_(std::make_shared<SharedModerator>(moderator_options(cluster))) {
  for (const config::Coordinator& coordinator : cluster.coordinators) {
    add_host(coordinator, TimePoint{});
    const bool is_name = net::Resolver::known(coordinator.host, coordinator.port).empty();
    const auto host = static_cast<cluster::HostId>(topology_.size() - 1);
    if (is_name && !coordinator.is_unix()) names_.push_back({{host}});
  }
  publish();
}

void ClusterState::add_host(const config::Coordinator& coordinator, TimePoint now) {
  const cluster::HostId id = topology_.add_host(coordinator.weight, coordinator.priority, now);
  slots_[id] = make_slot(coordinator);
}

std::unique_ptr<ClusterState::HostSlot> ClusterState::make_slot(
    const config::Coordinator& coordinator) const {
  auto slot = std::make_unique<HostSlot>();
  slot->coordinator = coordinator;
  slot->metrics = registry_.coordinator(0, cluster_.name, coordinator.label());
  return slot;
}

// --- The view ------------------------------------------------------------------------------------

// True when a worker may have to do something about it.
bool ClusterState::publish() {
  bool changed = false;
  const auto store = [&](auto& atomic, auto value) {
    if (atomic.load(std::memory_order_relaxed) == value) return;
    atomic.store(value, std::memory_order_release);
    changed = true;
  };
  for (cluster::HostId id = 0; id < topology_.size(); ++id) {
    HostSlot& slot = *slots_[id];
    store(slot.epoch, topology_.epoch(id));
    store(slot.serves, topology_.serves(id));
    store(slot.generation, slot.address_changes);
    for (std::size_t i = 0; i < target_count; ++i) {
      const auto to_shed =
          static_cast<std::uint32_t>(topology_.to_shed(id, static_cast<Target>(i)));
      slot.to_shed[i].store(to_shed, std::memory_order_relaxed);
      if (to_shed > 0) changed = true;  // workers have idle ones that may move
    }
    if (!probed_) continue;
    slot.metrics->role.set(static_cast<std::int64_t>(topology_.role(id)));
    if (const auto up = topology_.is_up(id)) slot.metrics->up.set(*up ? 1 : 0);
    slot.metrics->serving.set(topology_.serves(id) != 0 ? 1 : 0);
    slot.metrics->most_connections.set(topology_.most_connections(id));
  }
  store(held_, topology_.held());
  for (std::size_t i = 0; i < target_count; ++i) {
    const std::optional<std::uint32_t> room = topology_.room(static_cast<Target>(i));
    if (room) store(room_[i], *room);
  }
  return changed;
}

void ClusterState::log_events(const std::vector<cluster::Event>& events) {
  using Kind = cluster::Event::Kind;
  for (const cluster::Event& event : events) {
    const std::string label = host(event.host).label();
    switch (event.kind) {
      case Kind::up:
        log_.write(LogLevel::info, "cluster.host_up", "a host answers again",
                   {{"cluster", cluster_.name}, {"host", label}});
        break;
      case Kind::down:
        log_.write(LogLevel::warning, "cluster.host_down",
                   "a host does not answer; it gets no new work",
                   {{"cluster", cluster_.name}, {"host", label}});
        break;
      case Kind::dead:
        log_.write(LogLevel::warning, "cluster.host_dead",
                   "a host has been silent for dead_after; what waits for it is given up",
                   {{"cluster", cluster_.name}, {"host", label}});
        break;
      case Kind::leader:
        log_.write(LogLevel::info, "cluster.primary", "a host is the primary",
                   {{"cluster", cluster_.name},
                    {"host", label},
                    {"timeline", static_cast<std::int64_t>(event.timeline)}});
        break;
      case Kind::no_leader:
        log_.write(LogLevel::warning, "cluster.no_primary",
                   "there is no primary that answers; who wants to write waits",
                   {{"cluster", cluster_.name}, {"last", label}});
        break;
      case Kind::dropped:
        log_.write(LogLevel::warning, "cluster.former_primary",
                   "a host is not the primary any more; the connections to it are dropped",
                   {{"cluster", cluster_.name}, {"host", label}});
        break;
    }
  }
}

std::string ClusterState::trouble() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (cluster::HostId id = 0; id < topology_.size(); ++id) {
    if (topology_.is_removed(id)) continue;
    const HostSlot& slot = *slots_[id];
    if (!text.empty()) text += "; ";
    text += slot.coordinator.label() + ": ";
    text +=
        slot.last_trouble.empty() ? std::string(name_of(topology_.role(id))) : slot.last_trouble;
  }
  return text;
}

// --- Connections ---------------------------------------------------------------------------------

std::optional<cluster::HostId> ClusterState::begin_connection(
    Target target, const std::vector<cluster::HostId>& tried, TimePoint now, double random,
    TimePoint& retry_at) {
  const std::lock_guard lock(mutex_);
  const cluster::Choice choice = topology_.choose(target, tried, now, random);
  retry_at = choice.retry_at;
  if (choice.hosts.empty()) return std::nullopt;
  topology_.on_connecting(choice.hosts.front(), target, now);
  return choice.hosts.front();
}

std::optional<cluster::HostId> ClusterState::begin_inquiry(
    const std::vector<cluster::HostId>& tried, TimePoint now, TimePoint& retry_at) {
  const std::lock_guard lock(mutex_);
  const cluster::Choice choice = topology_.choose(Target::any, tried, now, 0, true);
  retry_at = choice.retry_at;
  if (choice.hosts.empty()) return std::nullopt;
  topology_.on_connecting(choice.hosts.front(), Target::any, now);
  return choice.hosts.front();
}

void ClusterState::on_opened(cluster::HostId host, TimePoint /*now*/) {
  const std::lock_guard lock(mutex_);
  topology_.on_opened(host);
}

void ClusterState::on_open_failed(cluster::HostId host, Target target, cluster::Trouble trouble,
                                  TimePoint now, double jitter) {
  const Update update(*this);
  topology_.on_open_failed(host, target, trouble, now, jitter);
  if (trouble == cluster::Trouble::unreachable) note_unreachable();
}

void ClusterState::on_open_abandoned(cluster::HostId host, Target target, TimePoint /*now*/) {
  const std::lock_guard lock(mutex_);
  topology_.on_open_abandoned(host, target);
}

void ClusterState::on_closed(cluster::HostId host, Target target, TimePoint /*now*/) {
  const std::lock_guard lock(mutex_);
  topology_.on_closed(host, target);
}

void ClusterState::on_lost(cluster::HostId host, TimePoint now) {
  const Update update(*this);
  topology_.on_lost(host, now);
}

bool ClusterState::take_shed(cluster::HostId host, Target target) {
  const auto& to_shed = slots_[host]->to_shed[static_cast<std::size_t>(target)];
  if (to_shed.load(std::memory_order_relaxed) == 0) return false;
  const Update update(*this);
  if (topology_.to_shed(host, target) == 0) return false;
  topology_.on_shed(host, target);
  return true;
}

void ClusterState::offer(const Account& account) {
  {
    const std::lock_guard lock(mutex_);
    const bool known = std::any_of(offers_.begin(), offers_.end(), [&](const Account& each) {
      return each.name == account.name && each.database == account.database;
    });
    if (known || offers_.size() >= most_offers) return;
    offers_.push_back(account);
  }
  if (probed_ && listener_.wake) listener_.wake();
}

std::vector<Account> ClusterState::offers() const {
  const std::lock_guard lock(mutex_);
  return offers_;
}

void ClusterState::learn_dialect(Dialect dialect) {
  if (dialect_.exchange(dialect, std::memory_order_relaxed) == dialect) return;
  log_.write(LogLevel::info, "cluster.dialect", "the kind of the cluster was found out",
             {{"cluster", cluster_.name}, {"dialect", to_string(dialect)}});
  const Update update(*this);
  topology_.set_roles(probed_ && dialect != Dialect::dws);
  if (dialect == Dialect::dws && !cluster_.connect_rate) {
    topology_.set_connect_rate(dws_connect_rate);
  }
}

// --- Probes --------------------------------------------------------------------------------------

ClusterState::Work ClusterState::tick(TimePoint now) {
  Work work;
  const Update update(*this);
  topology_.tick(now);
  work.probes = topology_.take_probes();
  for (const cluster::ProbeAction& probe : work.probes) {
    if (probe.begin) continue;
    HostSlot& slot = *slots_[probe.host];
    slot.last_trouble = "no answer to a probe";
    slot.metrics->probes.add();
    slot.metrics->probe_failures.add();
  }
  work.next = prober_wakes_ = topology_.next_deadline();
  return work;
}

void ClusterState::on_probe_answer(cluster::HostId host, const cluster::ProbeAnswer& answer,
                                   bool fresh, TimePoint now) {
  slots_[host]->metrics->probes.add();
  const Update update(*this);
  slots_[host]->last_trouble.clear();
  topology_.on_probe_answer(host, answer, fresh, now);
}

void ClusterState::on_capacity(cluster::HostId host, std::uint32_t connections) {
  const Update update(*this);
  topology_.set_capacity(host, connections);
}

void ClusterState::on_probe_failed(cluster::HostId host, cluster::Trouble trouble,
                                   const std::string& why, TimePoint now) {
  slots_[host]->metrics->probes.add();
  slots_[host]->metrics->probe_failures.add();
  const Update update(*this);
  slots_[host]->last_trouble = printable(why, 200);
  topology_.on_probe_failed(host, trouble, now);
  if (trouble == cluster::Trouble::unreachable) note_unreachable();
}

void ClusterState::on_listed(const std::vector<config::Coordinator>& listed, TimePoint now) {
  const auto tell = [&](std::string_view event, std::string_view text, const HostSlot& slot) {
    log_.write(LogLevel::info, event, text,
               {{"cluster", cluster_.name}, {"host", slot.coordinator.label()}});
  };
  const Update update(*this);
  for (cluster::HostId id = 0; id < topology_.size(); ++id) {
    HostSlot& slot = *slots_[id];
    const bool still = std::any_of(listed.begin(), listed.end(), [&](const auto& each) {
      return each.label() == slot.coordinator.label();
    });
    if (!still && std::exchange(slot.listed, false)) {
      topology_.remove_host(id);
      tell("cluster.host_left", "a coordinator is not listed any more; it gets nothing new", slot);
    }
  }
  for (const config::Coordinator& each : listed) {
    cluster::HostId id = 0;
    while (id < topology_.size() && slots_[id]->coordinator.label() != each.label()) ++id;
    if (id == max_hosts) continue;
    if (id == topology_.size()) {
      static_cast<void>(topology_.add_host_on_trial(now));
      slots_[id] = make_slot(each);
      tell("cluster.host_found", "a coordinator was found; it is used when it answers",
           *slots_[id]);
    } else if (topology_.is_removed(id)) {
      topology_.restore_host(id, now);
      tell("cluster.host_found", "a coordinator was found; it is used when it answers",
           *slots_[id]);
    }
    slots_[id]->listed = true;
  }
}

bool ClusterState::is_out(cluster::HostId host) const {
  const std::lock_guard lock(mutex_);
  return topology_.is_removed(host);
}

std::optional<cluster::HostId> ClusterState::any_up() const {
  const std::lock_guard lock(mutex_);
  for (cluster::HostId id = 0; id < topology_.size(); ++id) {
    if (!topology_.is_removed(id) && topology_.is_up(id) == true) return id;
  }
  return std::nullopt;
}

void ClusterState::set_blind(bool blind) {
  const Update update(*this);
  topology_.set_blind(blind);
}

}  // namespace dwspool::proxy
