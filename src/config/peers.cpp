// `instance_id` and `peers`: other instances of dwspool behind the same load balancer.
#include <algorithm>

#include "config/endpoint.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::size_t most_peers = 64;

std::optional<Peer> peer_at(Reading& reading, const Item& address) {
  const std::optional<std::string> text = read_text(reading, address, "host:port or a mapping");
  if (!text) return std::nullopt;
  Result<Endpoint> endpoint = parse_endpoint(*text);
  if (!endpoint) {
    reading.report.add(address.place, endpoint.error().message);
    return std::nullopt;
  }
  Peer peer;
  peer.host = endpoint->unix_dir.empty() ? endpoint->host : endpoint->unix_dir;
  peer.port = endpoint->port.value_or(peer.port);
  if (peer.host == "*" || peer.port == 0) {
    reading.report.add(address.place, "a peer has one host, and a port from 1 to 65535");
    return std::nullopt;
  }
  return peer;
}

std::optional<Peer> peer_of(Reading& reading, Section entry) {
  const Item address = entry.item("address");
  std::string id;
  entry.name_into("id", id);
  entry.refuse_unknown();
  if (address.node == nullptr) entry.complain("needs an 'address'");
  if (!entry.clean()) return std::nullopt;
  std::optional<Peer> peer = peer_at(reading, address);
  if (peer) peer->id = std::move(id);
  return peer;
}

}  // namespace

void read_peers(Reading& reading, Section& root, Config& config) {
  root.name_into("instance_id", config.instance_id);
  const std::vector<Item> items = root.list("peers");
  bool has_ids = false;
  for (const Item& item : items) {
    std::optional<Peer> peer = item.node->kind == TreeNode::Kind::map
                                   ? peer_of(reading, root.section_of(item, "peers"))
                                   : peer_at(reading, item);
    if (!peer) continue;
    const bool known = std::any_of(config.peers.begin(), config.peers.end(), [&](const Peer& each) {
      return each.label() == peer->label() || (!peer->id.empty() && each.id == peer->id);
    });
    if (known) {
      reading.report.add(item.place, "stands there twice, by its id or by its address");
      continue;
    }
    has_ids = has_ids || !peer->id.empty();
    config.peers.push_back(std::move(*peer));
  }
  if (items.size() > most_peers) {
    root.complain("peers", "more than " + std::to_string(most_peers) +
                               "; one name with many addresses does as well");
  }
  if (has_ids && config.instance_id.empty()) {
    root.complain("peers", "have an 'id', so write 'instance_id': which of them this one is");
  }
  std::erase_if(config.peers, [&](const Peer& each) {
    return !config.instance_id.empty() && each.id == config.instance_id;
  });
}

}  // namespace dwspool::config
