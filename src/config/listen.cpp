// `listen` and `http`: where clients and scrapers come in.
#include <charconv>

#include "config/endpoint.h"
#include "config/networks.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::uint16_t default_port = 6432;

std::optional<std::uint32_t> parse_mode(std::string_view text) {
  if (!text.starts_with('0')) return std::nullopt;
  if (text.starts_with("0o")) text.remove_prefix(2);
  std::uint32_t mode = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, mode, 8);
  if (failure != std::errc{} || rest != end || mode > 0777) return std::nullopt;
  return mode;
}

// In the short form: "127.0.0.1:6432", "/run/dwspool:6432".
std::optional<Listener> listener_of(Reading& reading, const Item& item) {
  const std::optional<std::string> text = read_text(reading, item, "host:port or a mapping");
  if (!text) return std::nullopt;
  Result<Endpoint> endpoint = parse_endpoint(*text);
  if (!endpoint) {
    reading.report.add(item.place, endpoint.error().message);
    return std::nullopt;
  }
  Listener listener;
  listener.host = std::move(endpoint->host);
  listener.unix_dir = std::move(endpoint->unix_dir);
  listener.port = endpoint->port.value_or(default_port);
  return listener;
}

void read_host(Section& section, std::string& host) {
  section.text_into("host", host);
  if (!section.has("host") || !section.clean()) return;
  if (const auto problem = host_problem(host); !problem.empty()) {
    section.complain("host", std::string(problem));
  }
}

void read_unix_part(Section& section, Listener& listener) {
  section.text_into("unix_dir", listener.unix_dir);
  if (section.has("unix_dir") && section.clean()) {
    if (const auto problem = unix_dir_problem(listener.unix_dir); !problem.empty()) {
      section.complain("unix_dir", std::string(problem));
    }
  }
  if (const auto text = section.text("mode", "a file mode in octal")) {
    const std::optional<std::uint32_t> mode = parse_mode(*text);
    if (!mode) section.complain("mode", "expected a file mode in octal from 0000 to 0777");
    listener.unix_mode = mode.value_or(listener.unix_mode);
  }
}

void read_proxies(Section& section, Listener& listener) {
  for (const Item& item : section.list("proxy_protocol")) {
    const auto text = section.text_of(item, "a network, as 10.0.0.0/8");
    if (!text) continue;
    Result<Network> network = parse_network(*text);
    if (network) {
      listener.proxies.push_back(std::move(*network));
    } else {
      section.complain(item, network.error().message);
    }
  }
}

std::optional<Listener> listener_of(Section section) {
  Listener listener;
  const bool has_host = section.has("host");
  const bool has_dir = section.has("unix_dir");
  read_host(section, listener.host);
  read_unix_part(section, listener);
  section.number("port", {0, 65535}, listener.port);
  section.number("backlog", {1, 65535}, listener.backlog);
  read_proxies(section, listener);
  section.refuse_unknown();
  if (has_host == has_dir) {
    section.complain(has_host ? "has both 'host' and 'unix_dir'; write an entry for each"
                              : "needs 'host' (TCP) or 'unix_dir' (Unix socket)");
  } else if (has_host && section.has("mode")) {
    section.complain("mode", "belongs to 'unix_dir'; a TCP port has no file mode");
  } else if (has_dir && section.has("proxy_protocol")) {
    section.complain("proxy_protocol",
                     "belongs to 'host'; a Unix socket's clients have no address");
  }
  if (!section.clean()) return std::nullopt;
  return listener;
}

// Empty unless `one` stands in the way of `other`.
std::string conflict(const Listener& one, const Listener& other) {
  const bool any = one.host == "*" || other.host == "*";
  const bool same_place = one.is_unix() == other.is_unix() && one.unix_dir == other.unix_dir &&
                          (one.host == other.host || any);
  // Port 0 is another one each time.
  if (!same_place || one.port != other.port || one.port == 0) return {};
  const std::string name = join_host_port(one.is_unix() ? one.unix_dir : one.host, one.port);
  return "an earlier entry listens at '" + name + "' already";
}

void add_listener(Reading& reading, const Item& item, Listener listener, Config& config) {
  if (listener.is_unix() && listener.port == 0) {
    reading.report.add(item.place, "a Unix socket needs a port other than 0 for its name");
    return;
  }
  for (const Listener& earlier : config.listeners) {
    if (std::string why = conflict(earlier, listener); !why.empty()) {
      reading.report.add(item.place, std::move(why));
      return;
    }
  }
  config.listeners.push_back(std::move(listener));
}

std::optional<HttpEndpoint> http_of(Reading& reading, const Item& item) {
  const std::optional<std::string> text = read_text(reading, item, "host:port or a mapping");
  if (!text) return std::nullopt;
  Result<Endpoint> endpoint = parse_endpoint(*text);
  if (!endpoint) {
    reading.report.add(item.place, endpoint.error().message);
  } else if (!endpoint->unix_dir.empty()) {
    reading.report.add(item.place, "expected host:port; it cannot be a Unix socket");
  } else if (endpoint->port.value_or(0) == 0) {
    reading.report.add(item.place,
                       "the port is missing; 9187 is what exporters for PostgreSQL use");
  } else {
    return HttpEndpoint{std::move(endpoint->host), *endpoint->port};
  }
  return std::nullopt;
}

std::optional<HttpEndpoint> http_of(Section section) {
  HttpEndpoint endpoint{"127.0.0.1", 0};
  read_host(section, endpoint.host);
  section.number("port", {1, 65535}, endpoint.port);
  endpoint.pgbouncer_metrics = section.boolean("pgbouncer_metrics").value_or(false);
  section.refuse_unknown();
  if (!section.has("port")) section.complain("needs a 'port'");
  if (!section.clean()) return std::nullopt;
  return endpoint;
}

}  // namespace

void read_listeners(Reading& reading, Section& root, Config& config) {
  const std::vector<Item> items = root.list("listen");
  for (const Item& item : items) {
    std::optional<Listener> listener = item.node->kind == TreeNode::Kind::map
                                           ? listener_of(root.section_of(item, "listen"))
                                           : listener_of(reading, item);
    if (listener) add_listener(reading, item, std::move(*listener), config);
  }
  if (!items.empty()) return;
  const TreeNode* const node = root.ask("listen");
  if (node != nullptr && node->kind == TreeNode::Kind::list && node->items.empty()) {
    root.complain("listen", "the list is empty; leave the key out for 127.0.0.1:6432");
    return;
  }
  Listener local;
  local.host = "127.0.0.1";
  config.listeners.push_back(std::move(local));
}

void read_http(Reading& reading, Section& root, Config& config) {
  const Item item = root.item("http");
  if (item.node == nullptr || item.node->kind == TreeNode::Kind::null) return;
  std::optional<HttpEndpoint> endpoint = item.node->kind == TreeNode::Kind::map
                                             ? http_of(root.section("http"))
                                             : http_of(reading, item);
  if (!endpoint) return;
  Listener as_listener;
  as_listener.host = endpoint->host;
  as_listener.port = endpoint->port;
  for (const Listener& listener : config.listeners) {
    if (!conflict(listener, as_listener).empty()) {
      root.complain("http", "clients are let in at the same address and port; take another port");
      return;
    }
  }
  config.http = std::move(*endpoint);
}

void read_keepalive(Section& section, KeepAlive& keepalive) {
  Section part = section.section("tcp_keepalive");
  // The system counts in whole seconds, and up to here.
  const DurationRange range{std::chrono::seconds{1}, std::chrono::seconds{32767}, false};
  for (const auto& [key, target] :
       {std::pair{"idle", &keepalive.idle}, std::pair{"interval", &keepalive.interval}}) {
    part.duration(key, range, *target);
    if (*target % std::chrono::seconds{1} != Duration::zero()) {
      part.complain(key, "the system counts this in whole seconds");
    }
  }
  part.number("count", {1, 127}, keepalive.count);
  part.refuse_unknown();
}

}  // namespace dwspool::config
