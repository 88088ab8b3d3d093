// The part of a cluster's state that has to do with the names of its hosts.
#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/proxy/cluster_state.h"

#include "proxy/cluster_update.h"

namespace dwspool::proxy {
namespace {

std::string text_of(const cluster::AddressList& addresses) {
  std::string text;
  for (const std::string& bytes : addresses) {
    text += (text.empty() ? "" : " ") + net::Address::of_bytes(bytes, 0).host();
  }
  return text;
}

}  // namespace

std::unique_ptr<net::Connector> ClusterState::connect(cluster::HostId host, net::Loop& loop,
                                                      net::Connector::Done done) const {
  const config::Coordinator& coordinator = slots_[host]->coordinator;
  std::vector<net::Address> addresses;
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& bytes : slots_[host]->addresses) {
      addresses.push_back(net::Address::of_bytes(bytes, coordinator.port));
    }
  }
  if (!addresses.empty()) {
    return std::make_unique<net::Connector>(loop, std::move(addresses), std::move(done));
  }
  return std::make_unique<net::Connector>(loop, coordinator.host, coordinator.port,
                                          std::move(done));
}

bool ClusterState::still_leads(cluster::HostId host, const net::Address& peer,
                               std::uint32_t& seen) const {
  if (seen == generation(host)) return true;
  const std::lock_guard lock(mutex_);
  const HostSlot& slot = *slots_[host];
  const cluster::AddressList& known = slot.addresses;
  // A host without addresses is out, which says enough.
  if (!known.empty() && std::find(known.begin(), known.end(), peer.bytes()) == known.end()) {
    return false;
  }
  seen = slot.address_changes;
  return true;
}

std::vector<std::string> ClusterState::found_hosts() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> labels;
  for (std::size_t id = cluster_.coordinators.size(); id < topology_.size(); ++id) {
    labels.push_back(slots_[id]->coordinator.label());
  }
  return labels;
}

std::vector<config::Coordinator> ClusterState::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<config::Coordinator> names;
  for (const Name& name : names_) names.push_back(slots_[name.hosts.front()]->coordinator);
  return names;
}

void ClusterState::on_resolved(std::size_t name, const std::vector<net::Address>& addresses,
                               TimePoint now) {
  const Update update(*this);
  std::vector<cluster::HostId>& hosts = names_[name].hosts;
  std::vector<cluster::AddressList> before;
  before.reserve(hosts.size());
  for (const cluster::HostId host : hosts) before.push_back(slots_[host]->addresses);
  cluster::AddressList answer;
  for (const net::Address& address : addresses) answer.push_back(address.bytes());
  const std::size_t most = hosts.size() + max_hosts - topology_.size();
  const std::vector<cluster::AddressList> after = cluster::distribute(before, answer, most);
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (i == hosts.size()) {
      config::Coordinator another = slots_[hosts.front()]->coordinator;
      another.ordinal = static_cast<std::uint32_t>(i);
      hosts.push_back(static_cast<cluster::HostId>(topology_.size()));
      add_host(another, now);
      expect_choice();
    }
    set_addresses(hosts[i], after[i], now);
  }
}

void ClusterState::set_addresses(cluster::HostId host, const cluster::AddressList& addresses,
                                 TimePoint now) {
  HostSlot& slot = *slots_[host];
  if (slot.addresses == addresses) return;
  const cluster::AddressList before = std::exchange(slot.addresses, addresses);
  ++slot.address_changes;
  log_.write(LogLevel::info, "cluster.name_resolved", "the addresses of a host are other ones",
             {{"cluster", cluster_.name},
              {"host", slot.coordinator.label()},
              {"addresses", text_of(addresses)},
              {"before", text_of(before)}});
  if (addresses.empty()) {
    topology_.remove_host(host);
    return;
  }
  const bool same_server =
      std::any_of(before.begin(), before.end(), [&](const std::string& address) {
        return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
      });
  // The first time that the name of a host is resolved says nothing new about it.
  const bool is_first = before.empty() && !topology_.is_removed(host);
  if (!same_server && !is_first) topology_.renew_host(host, now);
}

// A name is several hosts: from now on they are looked after, as those of a list are.
void ClusterState::expect_choice() {
  if (probed_ || cluster_.probing.interval <= Duration::zero()) return;
  probed_ = true;
  topology_.begin_probing(dialect() != Dialect::dws);
}

void ClusterState::note_unreachable() {
  if (names_.empty() || unreachable_.exchange(true, std::memory_order_relaxed)) return;
  wake_ = true;
}

}  // namespace dwspool::proxy
