#include "dwspool/proxy/process_facts.h"

#include <array>
#include <charconv>
#include <set>
#include <string>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/config/settings.h"
#include "dwspool/metrics/replay_numbers.h"

#include "dwspool/proxy/database_facts.h"
#include "dwspool/proxy/hub.h"

namespace dwspool::proxy {
namespace {

// In the order of CoordinatorBlock::role.
constexpr std::array<std::string_view, 3> roles = {"unknown", "primary", "standby"};

// What the probes say, if there are any.
void name_role(const std::vector<std::shared_ptr<metrics::CoordinatorBlock>>& blocks,
               console::CoordinatorFacts& row) {
  std::int64_t role = 0;
  std::int64_t serving = 0;
  std::uint64_t probes = 0;
  for (const auto& block : blocks) {
    if (!block) continue;
    role += block->role.value();
    serving += block->serving.value();
    probes += block->probes.value() + block->probe_failures.value();
  }
  const auto index = static_cast<std::size_t>(role);
  row.role = roles[index < roles.size() ? index : 0];
  row.serving = probes == 0 ? "" : serving > 0 ? "yes" : "no";
}

// PgBouncer's peers have numbers; one whose name is none gets that of its place.
void add_peers(console::Facts& facts, const config::Config& config) {
  for (const config::Peer& peer : config.peers) {
    std::uint32_t number = 0;
    const char* const end = peer.id.data() + peer.id.size();
    const auto [rest, failure] = std::from_chars(peer.id.data(), end, number);
    const bool numeric = failure == std::errc{} && rest == end;
    const auto place = static_cast<std::uint32_t>(facts.peers.size() + 1);
    facts.peers.push_back({numeric ? number : place, printable(peer.host), peer.port});
  }
}

}  // namespace

void add_process_facts(console::Facts& facts, const Hub& hub, const config::Config& config,
                       const Gates& gates) {
  facts.version = "dwspool " + hub.version;
  facts.paused = gates.paused_all;
  facts.suspended = gates.suspended;
  facts.max_clients = config.max_client_conn;
  facts.clients += facts.clients_logging_in;
  facts.stats = hub.statistics.report();
  add_peers(facts, config);
  std::set<std::string> named;
  for (const console::PoolFacts& pool : facts.pools) named.insert(pool.database);
  facts.databases = database_facts(config, gates, named);
  for (const config::User& user : config.users) {
    facts.users.push_back({printable(user.name), user.pool.size, user.pool.reserve_size,
                           user.pool.mode ? std::string(to_string(*user.pool.mode)) : ""});
  }
  for (const auto& [key, blocks] : hub.metrics.coordinators()) {
    console::CoordinatorFacts row;
    row.cluster = key.cluster;
    row.coordinator = key.label;
    row.state = "unknown";
    bool up = false;
    for (const auto& block : blocks) {
      if (!block) continue;
      up = up || block->up.value() != 0;
      row.connections += block->connections.value();
      row.opened += block->opened.value();
      row.failures += block->failed.value();
    }
    if (row.opened + row.failures > 0) row.state = up ? "up" : "down";
    name_role(blocks, row);
    facts.coordinators.push_back(std::move(row));
  }
  for (metrics::ReplayNumber& number : metrics::replay_numbers(hub.metrics)) {
    facts.replay.push_back({printable(number.name), printable(number.database),
                            printable(number.user), std::move(number.failure),
                            std::move(number.outcome), number.value});
  }
  for (config::Setting& setting : config::settings_of(config)) {
    facts.settings.push_back({std::move(setting.key), std::move(setting.value),
                              std::move(setting.standard), setting.changeable});
  }
}

}  // namespace dwspool::proxy
