// The numbers of the registry by the names of PgBouncer's exporter (prometheus-community's
// pgbouncer_exporter), for dashboards and alerts that ask for them.
#include <array>

#include "metrics/families.h"
#include "metrics/label.h"

namespace dwspool::metrics {
namespace {

constexpr auto totals = std::to_array<Series<PoolBlock, Counter>>({
    {"pgbouncer_stats_totals_queries_pooled_total", "Total number of SQL queries pooled",
     &PoolBlock::queries},
    {"pgbouncer_stats_totals_sql_transactions_pooled_total",
     "Total number of SQL transactions pooled", &PoolBlock::transactions},
    {"pgbouncer_stats_totals_received_bytes_total",
     "Total volume in bytes of network traffic "
     "received from clients",
     &PoolBlock::bytes_from_clients},
    {"pgbouncer_stats_totals_sent_bytes_total",
     "Total volume in bytes of network traffic sent to "
     "clients",
     &PoolBlock::bytes_to_clients},
    {"pgbouncer_stats_totals_server_assignments_total", "Total number of server assignments",
     &PoolBlock::backends_assigned},
    {"pgbouncer_stats_totals_server_parses_total", "Total number of parses sent to servers",
     &PoolBlock::statements_parsed},
    {"pgbouncer_stats_totals_binds_total", "Total number of binds", &PoolBlock::binds},
});

struct Time {
  const char* name;
  HelpText help;
  DurationHistogram PoolBlock::*member;
};
constexpr auto times = std::to_array<Time>({
    {"pgbouncer_stats_totals_queries_duration_seconds_total", "Total time spent in queries",
     &PoolBlock::query_seconds},
    {"pgbouncer_stats_totals_server_in_transaction_seconds_total",
     "Total time spent in transactions", &PoolBlock::transaction_seconds},
    {"pgbouncer_stats_totals_client_wait_seconds_total", "Time that clients waited for a server",
     &PoolBlock::wait_seconds},
});

constexpr auto states = std::to_array<Series<PoolBlock, Gauge>>({
    {"pgbouncer_pools_client_waiting_connections", "Clients that wait for a server",
     &PoolBlock::clients_waiting},
    {"pgbouncer_pools_server_active_connections", "Servers that a client has",
     &PoolBlock::backends_lent},
    {"pgbouncer_pools_server_idle_connections", "Servers that are free", &PoolBlock::backends_idle},
    {"pgbouncer_pools_server_testing_connections", "Servers that are being cleaned",
     &PoolBlock::backends_cleaning},
    {"pgbouncer_pools_server_login_connections", "Servers that are being opened",
     &PoolBlock::backends_opening},
});

// By database, since SHOW STATS has no users.
Groups<PoolBlock> by_database(const Groups<PoolBlock>& pools) {
  Groups<PoolBlock> databases;
  for (const auto& [labels, blocks] : pools) {
    Blocks<PoolBlock>& all = databases[{labels.front()}];
    all.insert(all.end(), blocks.begin(), blocks.end());
  }
  return databases;
}

double whole(const Blocks<PoolBlock>& blocks, std::initializer_list<Gauge PoolBlock::*> members) {
  double total = 0;
  for (Gauge PoolBlock::*member : members) total += sum(blocks, member);
  return total;
}

void add_totals(Exposition& out, const Groups<PoolBlock>& databases) {
  out.sums(databases, totals, MetricType::Counter);
  for (const Time& time : times) {
    MetricFamily& to = out.family(time.name, time.help, MetricType::Counter);
    for (const auto& [labels, blocks] : databases) {
      double seconds = 0;
      for (const auto& block : blocks) seconds += (block.get()->*time.member).sum_seconds();
      Exposition::add(to, labels, seconds);
    }
  }
  MetricFamily& parses = out.family("pgbouncer_stats_totals_client_parses_total",
                                    "Total number of parses by clients", MetricType::Counter);
  for (const auto& [labels, blocks] : databases) {
    Exposition::add(
        parses, labels,
        sum(blocks, &PoolBlock::statements_parsed) + sum(blocks, &PoolBlock::statements_reused));
  }
}

void add_pool_states(Exposition& out, const Groups<PoolBlock>& pools, TimePoint now) {
  out.sums(pools, states, MetricType::Gauge);
  // PgBouncer counts those without a server as active, too, as long as they do not wait.
  MetricFamily& active = out.family("pgbouncer_pools_client_active_connections",
                                    "Clients that do not wait", MetricType::Gauge);
  for (const auto& [labels, blocks] : pools) {
    Exposition::add(active, labels,
                    whole(blocks, {&PoolBlock::clients_idle, &PoolBlock::clients_active}));
  }
  MetricFamily& waits =
      out.family("pgbouncer_pools_client_maxwait_seconds",
                 "How long the client that waits longest has waited", MetricType::Gauge);
  for (const auto& [labels, blocks] : pools) {
    Exposition::add(waits, labels,
                    oldest_age(blocks, &PoolBlock::oldest_wait_since, Duration(1), now));
  }
}

void add_lists(Exposition& out, const Groups<PoolBlock>& pools, const ProcessFacts& facts,
               double clients) {
  Blocks<PoolBlock> all;
  for (const auto& [labels, blocks] : pools) all.insert(all.end(), blocks.begin(), blocks.end());
  const auto of_all = [&](std::initializer_list<Gauge PoolBlock::*> members) {
    return all.empty() ? 0 : whole(all, members);
  };
  const double logged_in =
      of_all({&PoolBlock::clients_idle, &PoolBlock::clients_active, &PoolBlock::clients_waiting});
  const auto most = static_cast<double>(facts.max_clients);
  out.gauge("pgbouncer_up", "Always 1", 1);
  out.gauge("pgbouncer_version_info", "Always 1; the label tells the version", 1,
            {{"version", label_text("dwspool " + facts.version)}});
  out.gauge("pgbouncer_config_max_client_connections", "Setting max_client_conn", most);
  out.gauge("pgbouncer_databases", "Count of databases",
            static_cast<double>(facts.databases.size()));
  out.gauge("pgbouncer_pools", "Count of pools", static_cast<double>(pools.size()));
  out.gauge("pgbouncer_free_clients", "Count of free clients", std::max(0.0, most - clients));
  out.gauge("pgbouncer_used_clients", "Count of used clients", logged_in);
  out.gauge("pgbouncer_login_clients", "Count of clients in login state",
            std::max(0.0, clients - logged_in));
  out.gauge("pgbouncer_free_servers", "Count of free servers", of_all({&PoolBlock::backends_idle}));
  out.gauge("pgbouncer_used_servers", "Count of used servers",
            of_all({&PoolBlock::backends_lent, &PoolBlock::backends_cleaning,
                    &PoolBlock::backends_opening}));
}

void add_databases(Exposition& out, const Groups<PoolBlock>& databases, const ProcessFacts& facts) {
  struct Value {
    const char* name;
    HelpText help;
    double (*of)(const DatabaseLimits&);
  };
  static constexpr auto values = std::to_array<Value>({
      {"pgbouncer_databases_pool_size", "Maximum number of pool backend connections",
       [](const DatabaseLimits& limits) { return static_cast<double>(limits.pool_size); }},
      {"pgbouncer_databases_reserve_pool", "Additional connections of the pool",
       [](const DatabaseLimits& limits) { return static_cast<double>(limits.reserve_pool_size); }},
      {"pgbouncer_databases_paused", "1 while it is paused",
       [](const DatabaseLimits& limits) { return limits.paused ? 1.0 : 0.0; }},
      {"pgbouncer_databases_disabled", "1 while it is disabled",
       [](const DatabaseLimits& limits) { return limits.disabled ? 1.0 : 0.0; }},
  });
  const auto labels_of = [](const DatabaseLimits& limits) {
    return Labels{{"name", label_text(limits.name)},
                  {"host", label_text(limits.hosts)},
                  {"port", std::to_string(limits.port)},
                  {"database", label_text(limits.database)},
                  {"force_user", label_text(limits.force_user)},
                  {"pool_mode", limits.pool_mode}};
  };
  for (const Value& value : values) {
    MetricFamily& to = out.family(value.name, value.help, MetricType::Gauge);
    for (const DatabaseLimits& limits : facts.databases) {
      Exposition::add(to, labels_of(limits), value.of(limits));
    }
  }
  MetricFamily& current = out.family("pgbouncer_databases_current_connections",
                                     "Current number of connections", MetricType::Gauge);
  for (const DatabaseLimits& limits : facts.databases) {
    const auto found = databases.find({{"database", label_text(limits.name)}});
    Exposition::add(
        current, labels_of(limits),
        found == databases.end()
            ? 0
            : whole(found->second, {&PoolBlock::backends_lent, &PoolBlock::backends_idle,
                                    &PoolBlock::backends_cleaning, &PoolBlock::backends_opening}));
  }
}

}  // namespace

void add_pgbouncer_families(Exposition& out, const Groups<WorkerBlock>& workers,
                            const Groups<PoolBlock>& pools, const ProcessFacts& facts,
                            TimePoint now) {
  const Groups<PoolBlock> databases = by_database(pools);
  add_totals(out, databases);
  add_pool_states(out, pools, now);
  add_lists(out, pools, facts, sum(workers.begin()->second, &WorkerBlock::clients));
  add_databases(out, databases, facts);
}

}  // namespace dwspool::metrics
