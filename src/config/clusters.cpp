// `clusters`: the servers behind.
#include <algorithm>
#include <array>

#include "config/conninfo.h"
#include "config/endpoint.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::array dialects = {
    Choice<Dialect>{"auto", Dialect::unknown},
    Choice<Dialect>{"dws", Dialect::dws},
    Choice<Dialect>{"postgres", Dialect::postgres},
};

constexpr std::array balances = {
    Choice<Balance>{"least_connections", Balance::least_connections},
    Choice<Balance>{"round_robin", Balance::round_robin},
    Choice<Balance>{"random_two", Balance::random_two},
    Choice<Balance>{"priority", Balance::priority},
};

// What is known of one cluster while its section is read.
class ClusterReader {
 public:
  ClusterReader(Reading& reading, Section section, std::string name)
      : reading_(reading), section_(std::move(section)) {
    cluster_.name = std::move(name);
  }

  Cluster run() {
    const bool has_list = section_.has("coordinators");
    read_coordinators();
    read_conninfo(has_list);
    section_.choice("dialect", dialects, cluster_.dialect);
    section_.duration("connect_timeout", {shortest_time, std::chrono::hours{1}},
                      cluster_.connect_timeout);
    section_.duration("resolve_interval", {std::chrono::seconds{1}, std::chrono::hours{24}, true},
                      cluster_.resolve_interval);
    read_keepalive(section_, cluster_.keepalive);
    section_.number("max_pbkdf2_iterations", {4096, 100000000}, cluster_.max_pbkdf2_iterations);
    read_tls();
    section_.choice("balance", balances, cluster_.balance);
    section_.duration("warm_up", {shortest_time, std::chrono::hours{1}, true}, cluster_.warm_up);
    section_.number("connect_rate", {0, 10000}, cluster_.connect_rate);
    section_.duration("max_standby_lag", {shortest_time, longest_time, true},
                      cluster_.max_standby_lag);
    read_limit(section_, "max_connections", cluster_.max_connections);
    read_limit(section_, "max_host_connections", cluster_.max_host_connections);
    read_limit(section_, "host_connection_reserve", cluster_.host_connection_reserve);
    read_probe();
    read_discovery();
    read_introductions(section_, cluster_);
    read_cluster_replay(section_, cluster_);
    read_log_in();
    section_.refuse_unknown();
    if (hosts_.empty() && section_.clean()) {
      section_.complain("has no coordinator; write for example: coordinators: [\"cn1:8000\"]");
    }
    if (section_.clean()) look_up_password();
    for (ConninfoHost& host : hosts_) cluster_.coordinators.push_back(std::move(host.coordinator));
    return std::move(cluster_);
  }

 private:
  void add_host(const Place& place, ConninfoHost host) {
    if (host.coordinator.priority == 0) {
      host.coordinator.priority = static_cast<std::uint32_t>(hosts_.size() + 1);
    }
    const bool known = std::any_of(hosts_.begin(), hosts_.end(), [&](const ConninfoHost& each) {
      return each.coordinator.label() == host.coordinator.label();
    });
    if (known) {
      reading_.report.add(place, host.coordinator.label() + " stands there twice");
      return;
    }
    hosts_.push_back(std::move(host));
  }

  void read_coordinators() {
    for (const Item& item : section_.list("coordinators")) {
      Coordinator coordinator;
      if (item.node->kind == TreeNode::Kind::map) {
        Section entry = section_.section_of(item, "coordinators");
        Item address = entry.item("address");
        entry.number("weight", {1, 1000}, coordinator.weight);
        entry.number("priority", {1, 1000}, coordinator.priority);
        entry.refuse_unknown();
        if (address.node == nullptr) entry.complain("needs an 'address'");
        if (entry.clean()) add_coordinator(address, std::move(coordinator));
      } else {
        add_coordinator(item, std::move(coordinator));
      }
    }
  }

  void add_coordinator(const Item& item, Coordinator coordinator) {
    std::optional<Coordinator> read = read_address(item, std::move(coordinator));
    if (!read) return;
    std::string name = read->host;
    add_host(item.place, {std::move(*read), std::move(name)});
  }

  std::optional<Coordinator> read_address(const Item& item, Coordinator coordinator) {
    const std::optional<std::string> text = read_text(reading_, item, "host:port");
    if (!text) return std::nullopt;
    Result<Endpoint> endpoint = parse_endpoint(*text);
    if (!endpoint) {
      reading_.report.add(item.place, endpoint.error().message);
      return std::nullopt;
    }
    coordinator.host = endpoint->unix_dir.empty() ? endpoint->host : endpoint->unix_dir;
    coordinator.port = endpoint->port.value_or(coordinator.port);
    if (coordinator.host == "*" || coordinator.port == 0) {
      reading_.report.add(item.place, "a coordinator has one host, and a port from 1 to 65535");
      return std::nullopt;
    }
    return coordinator;
  }

  void read_discovery() {
    Discovery& discovery = cluster_.discovery;
    const TreeNode* const node = section_.ask("discovery");
    discovery.enabled = node != nullptr && node->kind != TreeNode::Kind::null;
    Section part = section_.section("discovery");
    part.duration("interval", {std::chrono::milliseconds{100}, std::chrono::hours{24}},
                  discovery.interval);
    for (const Item& item : part.list("address_map")) {
      Section entry = part.section_of(item, "address_map");
      const Item from = entry.item("from");
      const Item to = entry.item("to");
      entry.refuse_unknown();
      if (from.node == nullptr || to.node == nullptr) {
        entry.complain("needs 'from', the address in pgxc_node, and 'to', where it is reached");
      }
      if (!entry.clean()) continue;
      std::optional<Coordinator> inside = read_address(from, Coordinator());
      std::optional<Coordinator> outside = read_address(to, Coordinator());
      if (inside && outside) {
        discovery.address_map.emplace_back(std::move(*inside), std::move(*outside));
      }
    }
    part.refuse_unknown();
    if (!discovery.enabled || !part.clean()) return;
    if (cluster_.probing.user.empty() || cluster_.probing.interval <= Duration::zero()) {
      part.complain(
          "needs 'probe' with a user: it asks for pgxc_node, and what is found is probed");
    }
  }

  void read_probe() {
    Probing& probing = cluster_.probing;
    const TreeNode* const node = section_.ask("probe");
    probing.configured = node != nullptr && node->kind != TreeNode::Kind::null;
    Section part = section_.section("probe");
    part.name_into("user", probing.user);
    probing.password = part.secret("password");
    part.name_into("database", probing.database);
    const DurationRange often{std::chrono::milliseconds{10}, std::chrono::hours{1}, true};
    part.duration("interval", often, probing.interval);
    part.duration("suspect_interval", {std::chrono::milliseconds{10}, std::chrono::minutes{1}},
                  probing.suspect_interval);
    part.duration("down_interval", {std::chrono::milliseconds{10}, std::chrono::hours{1}},
                  probing.down_interval);
    part.duration("timeout", {std::chrono::milliseconds{10}, std::chrono::minutes{10}},
                  probing.timeout);
    part.duration("dead_after", {std::chrono::milliseconds{100}, std::chrono::hours{24}, true},
                  probing.dead_after);
    part.refuse_unknown();
    if (!part.clean()) return;
    if (probing.user.empty() && probing.password) {
      part.complain("has a password, but no 'user' that it belongs to");
    }
    if (!probing.user.empty() && probing.database.empty()) {
      part.complain("has a 'user', but no 'database' that it connects to");
    }
    if (probing.interval <= Duration::zero()) return;
    if (probing.suspect_interval > probing.interval) {
      part.complain("suspect_interval", "is longer than 'interval'; it is meant to be shorter");
    }
    if (probing.dead_after > Duration::zero() && probing.dead_after < probing.timeout) {
      part.complain("dead_after", "is shorter than 'timeout', the time that one answer may take");
    }
  }

  void read_conninfo(bool has_list) {
    const std::optional<std::string> text = section_.text("conninfo", "a connection string");
    if (!text) return;
    Result<Conninfo> parsed = parse_conninfo(*text);
    if (!parsed) {
      section_.complain("conninfo", parsed.error().message);
      return;
    }
    conninfo_ = std::move(*parsed);
    for (std::string& problem : conninfo_->problems) {
      section_.complain("conninfo", std::move(problem));
    }
    if (has_list && !conninfo_->hosts.empty()) {
      section_.complain("conninfo",
                        "it names hosts, and so does 'coordinators'; write one of them");
      return;
    }
    for (ConninfoHost& host : conninfo_->hosts) {
      add_host(section_.place_of("conninfo"), std::move(host));
    }
    cluster_.database = conninfo_->database;
    cluster_.user = conninfo_->user;
    cluster_.password = conninfo_->password.value_or(Secret());
    KeepAlive& keepalive = cluster_.keepalive;
    cluster_.connect_timeout = conninfo_->connect_timeout.value_or(cluster_.connect_timeout);
    keepalive.idle = conninfo_->keepalive_idle.value_or(keepalive.idle);
    keepalive.interval = conninfo_->keepalive_interval.value_or(keepalive.interval);
    keepalive.count = conninfo_->keepalive_count.value_or(keepalive.count);
  }

  void read_tls() {
    const bool said = conninfo_ && conninfo_->tls;
    refuse_if_said("tls", said);
    read_cluster_tls(reading_, section_, cluster_.tls);
    if (!said) return;
    cluster_.tls = *conninfo_->tls;
    if (section_.clean()) check_cluster_tls(section_, "conninfo", cluster_.tls);
  }

  // The keys beside `conninfo`, which must not contradict it.
  void read_log_in() {
    const bool keepalive = conninfo_ && (conninfo_->keepalive_idle || conninfo_->keepalive_count ||
                                         conninfo_->keepalive_interval);
    refuse_if_said("tcp_keepalive", keepalive);
    refuse_if_said("connect_timeout", conninfo_ && conninfo_->connect_timeout);
    refuse_if_said("database", !cluster_.database.empty());
    refuse_if_said("user", !cluster_.user.empty());
    refuse_if_said("password", !cluster_.password.empty());
    refuse_if_said("password_file", !cluster_.password.empty());
    section_.name_into("database", cluster_.database);
    section_.name_into("user", cluster_.user);
    if (auto password = section_.secret("password")) cluster_.password = std::move(*password);
    if (conninfo_ && !section_.has("database")) check("conninfo", cluster_.database);
    if (conninfo_ && !section_.has("user")) check("conninfo", cluster_.user);
    if (section_.clean() && cluster_.user.empty() && !cluster_.password.empty()) {
      section_.complain("has a password, but no user that it belongs to");
    }
  }

  void check(std::string_view key, const std::string& name) {
    if (!name.empty()) check_name(reading_, section_.place_of(key), name);
  }

  void refuse_if_said(std::string_view key, bool said) {
    if (said && section_.has(key)) {
      section_.complain(key, "conninfo, or its service, says this already; write it once");
    }
  }

  // As libpq would, for a conninfo without a password.
  void look_up_password() {
    if (!conninfo_ || !cluster_.password.empty()) return;
    const bool expected = !conninfo_->passfile.empty();
    if (cluster_.user.empty()) {
      if (expected) section_.complain("conninfo", "it names a passfile, but no user to look for");
      return;
    }
    std::optional<Secret> password;
    for (const ConninfoHost& host : hosts_) {
      std::optional<Secret> found = find_password(
          host.name, host.coordinator.port, cluster_.database, cluster_.user, conninfo_->passfile);
      if (found && password && *found != *password) {
        section_.complain("conninfo",
                          "the password file has several passwords for the hosts of this cluster; "
                          "a cluster has one");
        return;
      }
      if (found) password = std::move(found);
    }
    if (password) {
      cluster_.password = std::move(*password);
    } else if (expected) {
      section_.complain("conninfo",
                        "its passfile gives no password for this user: the file must be there, "
                        "readable for nobody else (chmod 600), and have a line that fits");
    }
  }

  Reading& reading_;
  Section section_;
  Cluster cluster_;
  std::vector<ConninfoHost> hosts_;
  std::optional<Conninfo> conninfo_;
};

}  // namespace

void read_clusters(Reading& reading, Section& root, Config& config) {
  const std::size_t before = reading.report.count();
  for (Named& entry : root.named("clusters")) {
    Section section = root.section_of(entry, "clusters");
    config.clusters.push_back(ClusterReader(reading, std::move(section), entry.name).run());
  }
  if (config.clusters.empty() && reading.report.count() == before) {
    root.complain("clusters",
                  "no cluster is named; write for example: "
                  "clusters: {main: {coordinators: [\"cn1.example:8000\"]}}");
  }
}

}  // namespace dwspool::config
