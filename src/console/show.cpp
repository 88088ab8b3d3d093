#include "dwspool/console/show.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <tuple>

namespace dwspool::console {
namespace {

// The rows of TOTALS, as they are called there.
constexpr std::array<std::string_view, 12> totals_names = {"server_assignment_count",
                                                           "xact_count",
                                                           "query_count",
                                                           "received",
                                                           "sent",
                                                           "xact_time",
                                                           "query_time",
                                                           "wait_time",
                                                           "client_parse_count",
                                                           "server_parse_count",
                                                           "bind_count",
                                                           "client_login_count"};
static_assert(totals_names.size() == std::tuple_size_v<Stats>);

template <class Number>
std::string number(Number value) {
  return std::to_string(value);
}

std::string timestamp(std::int64_t microseconds) {
  if (microseconds == 0) return {};
  const std::chrono::sys_seconds time{std::chrono::seconds{microseconds / 1000000}};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  const auto two = [](std::int64_t value) {
    return std::string(value < 10 ? "0" : "") + std::to_string(value);
  };
  return std::to_string(static_cast<int>(date.year())) + '-' +
         two(static_cast<unsigned>(date.month())) + '-' + two(static_cast<unsigned>(date.day())) +
         ' ' + two(clock.hours().count()) + ':' + two(clock.minutes().count()) + ':' +
         two(clock.seconds().count()) + " UTC";
}

std::string pointer(std::uint64_t value) {
  if (value == 0) return {};
  constexpr std::string_view digits = "0123456789abcdef";
  std::string reversed;
  for (; value > 0; value /= digits.size()) reversed += digits[value % digits.size()];
  return "0x" + std::string(reversed.rbegin(), reversed.rend());
}

std::int64_t whole_seconds(std::int64_t microseconds) {
  return microseconds / 1000000;
}

Row connection_row(const ConnectionFacts& facts, std::string state) {
  return {facts.is_client ? "C" : "S",
          facts.user,
          facts.database,
          "none",
          std::move(state),
          facts.address,
          number(facts.port),
          facts.local_address,
          number(facts.local_port),
          timestamp(facts.connected_at),
          timestamp(facts.request_at),
          number(whole_seconds(facts.waits_us)),
          number(facts.waits_us % 1000000),
          number(facts.close_needed ? 1 : 0),
          pointer(facts.pointer),
          pointer(facts.link),
          number(facts.remote_pid),
          facts.tls,
          facts.application_name,
          number(facts.prepared_statements),
          number(facts.id)};
}

void add_connections(Table& table, const Facts& facts, bool clients) {
  for (const ConnectionFacts& connection : facts.connections) {
    if (connection.is_client != clients) continue;
    table.rows.push_back(connection_row(connection, std::string(connection.state)));
  }
}

void add_sockets(Table& table, const Facts& facts, bool active_only) {
  for (const ConnectionFacts& connection : facts.connections) {
    if (active_only && connection.state == "idle") continue;
    Row row = connection_row(
        connection, (connection.is_client ? "cl_" : "sv_") + std::string(connection.state));
    const std::string in = number(connection.input_waiting);
    const std::string out = number(connection.output_waiting);
    for (const std::string& value :
         {in, std::string("0"), std::string("0"), std::string("0"), out, in, out}) {
      row.emplace_back(value);
    }
    table.rows.push_back(std::move(row));
  }
}

// The rows keep their places, whatever comes and goes.
std::vector<const PoolFacts*> pools_by_name(const Facts& facts) {
  std::vector<const PoolFacts*> pools;
  for (const PoolFacts& pool : facts.pools) pools.push_back(&pool);
  std::sort(pools.begin(), pools.end(), [](const PoolFacts* a, const PoolFacts* b) {
    return std::tie(a->database, a->user) < std::tie(b->database, b->user);
  });
  return pools;
}

void add_pools(Table& table, const Facts& facts) {
  for (const PoolFacts* each : pools_by_name(facts)) {
    const PoolFacts& pool = *each;
    const std::size_t active = pool.clients - std::min(pool.clients, pool.clients_waiting);
    table.rows.push_back({pool.database, pool.user, number(active), number(pool.clients_waiting),
                          number(pool.cancels), "0", number(pool.backends_active),
                          number(pool.cancels), number(pool.backends_cancelled),
                          number(pool.backends_idle), "0", number(pool.backends_cleaning),
                          number(pool.backends_opening),
                          number(whole_seconds(pool.longest_wait_us)),
                          number(pool.longest_wait_us % 1000000), pool.pool_mode, "round-robin"});
  }
  table.rows.push_back({"pgbouncer", "pgbouncer", number(facts.console_clients), "0", "0", "0", "0",
                        "0", "0", "0", "0", "0", "0", "0", "0", "statement", std::nullopt});
}

void add_stats(Table& table, const Facts& facts, bool totals, bool averages) {
  for (const DatabaseStats& stats : facts.stats) {
    Row row{stats.database};
    if (totals) {
      for (const std::uint64_t value : stats.totals) row.emplace_back(number(value));
    }
    if (averages) {
      for (const std::uint64_t value : stats.averages) row.emplace_back(number(value));
    }
    table.rows.push_back(std::move(row));
  }
}

void add_totals(Table& table, const Facts& facts) {
  for (const bool average : {false, true}) {
    for (std::size_t i = 0; i < totals_names.size(); ++i) {
      std::uint64_t sum = 0;
      for (const DatabaseStats& stats : facts.stats) {
        sum += average ? stats.averages[i] : stats.totals[i];
      }
      std::string name(totals_names[i]);
      if (average && name == "received") name = "recv";
      table.rows.push_back({(average ? "avg_" : "total_") + name, number(sum)});
    }
  }
}

struct Connections {
  std::size_t backends = 0;
  std::size_t clients = 0;
};

template <class Key>
std::map<std::string, Connections> connections_by(const Facts& facts, Key key) {
  std::map<std::string, Connections> counts;
  for (const PoolFacts& pool : facts.pools) {
    Connections& count = counts[pool.*key];
    count.backends +=
        pool.backends_active + pool.backends_idle + pool.backends_cleaning + pool.backends_opening;
    count.clients += pool.clients;
  }
  return counts;
}

void add_databases(Table& table, const Facts& facts) {
  std::map<std::string, Connections> counts = connections_by(facts, &PoolFacts::database);
  for (const DatabaseFacts& database : facts.databases) {
    table.rows.push_back(
        {database.name, database.hosts, number(database.port), database.database,
         database.force_user.empty() ? std::nullopt : std::optional(database.force_user),
         number(database.pool_size), number(database.min_pool_size),
         number(database.reserve_pool_size), number(database.server_lifetime_seconds),
         database.pool_mode, "round-robin", "0", number(counts[database.name].backends), "0",
         number(counts[database.name].clients), number(database.paused ? 1 : 0),
         number(database.disabled ? 1 : 0)});
  }
  table.rows.push_back({"pgbouncer", std::nullopt, "0", "pgbouncer", "pgbouncer", "2", "0", "0",
                        "0", "statement", std::nullopt, "0", "0", "0",
                        number(facts.console_clients), "0", "0"});
}

void add_users(Table& table, const Facts& facts) {
  std::map<std::string, Connections> counts = connections_by(facts, &PoolFacts::user);
  const auto optional = [](const std::optional<std::uint32_t>& value) {
    return value ? std::optional(number(*value)) : std::nullopt;
  };
  for (const UserFacts& user : facts.users) {
    table.rows.push_back({user.name, optional(user.pool_size), optional(user.reserve_pool_size),
                          user.pool_mode.empty() ? std::nullopt : std::optional(user.pool_mode),
                          "0", number(counts[user.name].backends), "0",
                          number(counts[user.name].clients)});
  }
}

void add_lists(Table& table, const Facts& facts) {
  std::size_t idle = 0;
  std::size_t used = 0;
  for (const PoolFacts& pool : facts.pools) {
    idle += pool.backends_idle;
    used += pool.backends_active + pool.backends_cleaning + pool.backends_opening;
  }
  const std::size_t free =
      facts.max_clients > facts.clients ? facts.max_clients - facts.clients : 0;
  const std::initializer_list<std::pair<const char*, std::size_t>> lists = {
      {"databases", facts.databases.size() + 1},
      {"users", facts.users.size()},
      {"peers", facts.peers.size()},
      {"pools", facts.pools.size() + 1},
      {"peer_pools", 0},
      {"free_clients", free},
      {"used_clients", facts.clients - std::min(facts.clients, facts.clients_logging_in)},
      {"login_clients", facts.clients_logging_in},
      {"free_servers", idle},
      {"used_servers", used},
      {"dns_names", 0},
      {"dns_zones", 0},
      {"dns_queries", 0},
      {"dns_pending", 0}};
  for (const auto& [name, items] : lists) table.rows.push_back({name, number(items)});
}

void add_pins(Table& table, const Facts& facts) {
  for (const ConnectionFacts& connection : facts.connections) {
    if (connection.pins.empty()) continue;
    std::string reasons;
    for (const std::string_view reason : connection.pins) {
      reasons += (reasons.empty() ? "" : ",") + std::string(reason);
    }
    table.rows.push_back({number(connection.id), connection.database, connection.user,
                          connection.address, number(connection.port), connection.application_name,
                          std::move(reasons), number(connection.backend_pid)});
  }
}

std::string decimal(double value) {
  std::array<char, 32> digits{};
  const auto [end, failure] =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed,
                    value == std::floor(value) ? 0 : 6);
  return failure == std::errc{} ? std::string(digits.data(), end) : "0";
}

void add_replay(Table& table, const Facts& facts) {
  for (const ReplayFacts& row : facts.replay) {
    table.rows.push_back(
        {row.name, row.database, row.user, row.failure, row.outcome, decimal(row.value)});
  }
}

// What the column `name` has is there a second time, at the end.
void repeat_column(Table& table, std::string_view name) {
  const auto found = std::find_if(table.columns.begin(), table.columns.end(),
                                  [&](const Column& column) { return column.name == name; });
  const auto index = static_cast<std::size_t>(found - table.columns.begin());
  for (Row& row : table.rows) row.push_back(row[index]);
}

}  // namespace

Table show(Show what, const Facts& facts) {
  Table table{columns_of(what), {}};
  switch (what) {
    case Show::help:
    case Show::fds:
    // Peers have no pools, and names are looked up by the system.
    case Show::peer_pools:
    case Show::dns_hosts:
    case Show::dns_zones:
      break;
    case Show::peers:
      for (const PeerFacts& peer : facts.peers) {
        table.rows.push_back({number(peer.number), peer.host, number(peer.port), "0"});
      }
      break;
    case Show::config:
      for (const SettingFacts& setting : facts.settings) {
        table.rows.push_back(
            {setting.key, setting.value, setting.standard, setting.changeable ? "yes" : "no"});
      }
      break;
    case Show::databases:
      add_databases(table, facts);
      break;
    case Show::databases_with_old:
      add_databases(table, facts);
      repeat_column(table, "reserve_pool_size");
      break;
    case Show::pools:
      add_pools(table, facts);
      break;
    case Show::clients:
      add_connections(table, facts, true);
      break;
    case Show::servers:
      add_connections(table, facts, false);
      break;
    case Show::users:
      add_users(table, facts);
      break;
    case Show::version:
      table.rows.push_back({facts.version});
      break;
    case Show::sockets:
      add_sockets(table, facts, false);
      break;
    case Show::active_sockets:
      add_sockets(table, facts, true);
      break;
    case Show::lists:
      add_lists(table, facts);
      break;
    case Show::mem:
      for (const MemoryFacts& memory : facts.memory) {
        table.rows.push_back({memory.name, number(memory.size), number(memory.used),
                              number(memory.free),
                              number(memory.size * (memory.used + memory.free))});
      }
      break;
    case Show::state: {
      const bool active = !facts.paused && !facts.suspended;
      for (const auto& [key, value] : {std::pair{"active", active},
                                       {"paused", facts.paused},
                                       {"suspended", facts.suspended}}) {
        table.rows.push_back({key, value ? "yes" : "no"});
      }
      break;
    }
    case Show::stats:
      add_stats(table, facts, true, true);
      break;
    case Show::stats_with_old:
      add_stats(table, facts, true, true);
      repeat_column(table, "total_query_count");
      break;
    case Show::stats_totals:
      add_stats(table, facts, true, false);
      break;
    case Show::stats_averages:
      add_stats(table, facts, false, true);
      break;
    case Show::totals:
      add_totals(table, facts);
      break;
    case Show::coordinators:
      for (const CoordinatorFacts& facts_of : facts.coordinators) {
        table.rows.push_back({facts_of.cluster, facts_of.coordinator, std::string(facts_of.state),
                              number(facts_of.connections), number(facts_of.opened),
                              number(facts_of.failures), std::string(facts_of.role),
                              std::string(facts_of.serving)});
      }
      break;
    case Show::pins:
      add_pins(table, facts);
      break;
    case Show::replay:
      add_replay(table, facts);
      break;
  }
  return table;
}

Column client_setting_column(std::string_view name) {
  return {name, Type::text};
}

std::string client_setting(std::string_view name) {
  if (name == "client_encoding") return "UTF8";
  if (name == "datestyle") return "ISO";
  if (name == "timezone") return "GMT";
  if (name == "standard_conforming_strings") return "on";
  if (name == "default_transaction_isolation") return "read committed";
  return {};
}

}  // namespace dwspool::console
