// A table per kind of block says which time series there are; the rest adds up and hands over.

#include "dwspool/metrics/exposition.h"

#include <algorithm>
#include <array>

#include "metrics/families.h"
#include "metrics/label.h"

namespace dwspool::metrics {
namespace {

constexpr auto pool_counters = std::to_array<Series<PoolBlock, Counter>>({
    {"dwspool_queries_total", "Queries that were answered.", &PoolBlock::queries},
    {"dwspool_transactions_total", "Transactions that came to their end.",
     &PoolBlock::transactions},
    {"dwspool_client_received_bytes_total", "Bytes read from clients.",
     &PoolBlock::bytes_from_clients},
    {"dwspool_client_sent_bytes_total", "Bytes written to clients.", &PoolBlock::bytes_to_clients},
    {"dwspool_backend_received_bytes_total", "Bytes read from backends.",
     &PoolBlock::bytes_from_servers},
    {"dwspool_backend_sent_bytes_total", "Bytes written to backends.",
     &PoolBlock::bytes_to_servers},
    {"dwspool_backend_assignments_total", "Times that a client was given a backend.",
     &PoolBlock::backends_assigned},
    {"dwspool_statements_parsed_total", "Prepared statements that had to be sent to a backend.",
     &PoolBlock::statements_parsed},
    {"dwspool_statements_reused_total", "Prepared statements that the backend knew already.",
     &PoolBlock::statements_reused},
    {"dwspool_binds_total", "Bind messages that were sent to a backend.", &PoolBlock::binds},
    {"dwspool_pool_logins_total", "Clients that logged in.", &PoolBlock::logins},
});

constexpr auto pool_histograms = std::to_array<Series<PoolBlock, DurationHistogram>>({
    {"dwspool_query_duration_seconds", "Time from a query to the end of its answer.",
     &PoolBlock::query_seconds},
    {"dwspool_transaction_duration_seconds",
     "Time from the first statement of a transaction to its end.", &PoolBlock::transaction_seconds},
    {"dwspool_client_wait_duration_seconds",
     "Time that clients waited for a backend; those who got one at once do not count.",
     &PoolBlock::wait_seconds},
});

constexpr auto worker_counters = std::to_array<Series<WorkerBlock, Counter>>({
    {"dwspool_client_connections_total", "Client connections that were accepted.",
     &WorkerBlock::connections_accepted},
    {"dwspool_client_logins_total", "Clients that logged in.", &WorkerBlock::logins_succeeded},
    {"dwspool_cancel_requests_total", "Cancel requests that clients sent.",
     &WorkerBlock::cancels_received},
    {"dwspool_cancel_requests_forwarded_total", "Cancel requests that were sent to a coordinator.",
     &WorkerBlock::cancels_forwarded},
    {"dwspool_peer_cancel_requests_sent_total",
     "Cancel requests for sessions that nobody has here, as they were passed on to peers.",
     &WorkerBlock::peer_cancels_sent},
    {"dwspool_peer_cancel_requests_received_total", "Cancel requests that peers passed on to here.",
     &WorkerBlock::peer_cancels_received},
    {"dwspool_peer_cancel_requests_dropped_total",
     "Cancel requests that were not passed on to a peer: too many, or too late.",
     &WorkerBlock::peer_cancels_dropped},
    {"dwspool_backends_opened_total", "Backend connections that were opened.",
     &WorkerBlock::backends_opened},
    {"dwspool_backends_closed_total", "Backend connections that came to their end.",
     &WorkerBlock::backends_closed},
    {"dwspool_backends_lost_total", "Backend connections that broke while a client used them.",
     &WorkerBlock::backends_lost},
});

constexpr auto worker_gauges = std::to_array<Series<WorkerBlock, Gauge>>({
    {"dwspool_clients", "Clients that are connected, those who are logging in included.",
     &WorkerBlock::clients},
});

constexpr auto worker_histograms = std::to_array<Series<WorkerBlock, DurationHistogram>>({
    {"dwspool_client_login_duration_seconds", "Time from a client's connection to its log-in.",
     &WorkerBlock::login_seconds},
    {"dwspool_backend_open_duration_seconds",
     "Time to connect and log in to a coordinator, successful attempts only.",
     &WorkerBlock::backend_open_seconds},
});

constexpr auto coordinator_counters = std::to_array<Series<CoordinatorBlock, Counter>>({
    {"dwspool_coordinator_connections_opened_total", "Connections that were opened.",
     &CoordinatorBlock::opened},
    {"dwspool_coordinator_open_failures_total", "Connections that could not be opened.",
     &CoordinatorBlock::failed},
});

constexpr auto probe_counters = std::to_array<Series<CoordinatorBlock, Counter>>({
    {"dwspool_coordinator_probes_total", "Probes that have ended.", &CoordinatorBlock::probes},
    {"dwspool_coordinator_probe_failures_total", "Probes that got no answer.",
     &CoordinatorBlock::probe_failures},
});

constexpr auto probe_gauges = std::to_array<Series<CoordinatorBlock, Gauge>>({
    {"dwspool_coordinator_serving", "1 while it is given work.", &CoordinatorBlock::serving},
    {"dwspool_coordinator_connections_max",
     "Connections that may be open; 0 while that is not known.",
     &CoordinatorBlock::most_connections},
});

constexpr auto coordinator_gauges = std::to_array<Series<CoordinatorBlock, Gauge>>({
    {"dwspool_coordinator_connections", "Connections that are open.",
     &CoordinatorBlock::connections},
});

struct State {
  const char* name;
  Gauge PoolBlock::*member;
};

constexpr std::array<State, 3> client_states = {{{"idle", &PoolBlock::clients_idle},
                                                 {"active", &PoolBlock::clients_active},
                                                 {"waiting", &PoolBlock::clients_waiting}}};

constexpr std::array<State, 4> backend_states = {{{"opening", &PoolBlock::backends_opening},
                                                  {"idle", &PoolBlock::backends_idle},
                                                  {"lent", &PoolBlock::backends_lent},
                                                  {"cleaning", &PoolBlock::backends_cleaning}}};

void add_certificates(Exposition& out, const ProcessFacts& facts) {
  MetricFamily& to =
      out.family("dwspool_certificate_not_after_timestamp_seconds",
                 "When a certificate of dwspool's own ends, since the epoch.", MetricType::Gauge);
  for (const auto& [use, not_after] : facts.certificates) {
    Exposition::add(to, {{"use", label_text(use)}}, static_cast<double>(not_after));
  }
}

void add_process(Exposition& out, const ProcessFacts& facts, const Blocks<WorkerBlock>& workers,
                 TimePoint now) {
  out.gauge("dwspool_build_info", "Always 1; the label tells the version.", 1,
            {{"version", label_text(facts.version)}});
  out.gauge("dwspool_start_time_seconds", "When the process was started, since the epoch.",
            facts.start_time_seconds);
  out.gauge("dwspool_max_clients", "Clients that may be connected at a time.",
            static_cast<double>(facts.max_clients));
  out.gauge("dwspool_draining", "1 while the process lets its clients finish in order to stop.",
            facts.draining ? 1 : 0);
  MetricFamily& reloads =
      out.family("dwspool_config_reloads_total", "Times that the configuration was read anew.",
                 MetricType::Counter);
  Exposition::add(reloads, {{"result", "good"}}, static_cast<double>(facts.reloads_good));
  Exposition::add(reloads, {{"result", "bad"}}, static_cast<double>(facts.reloads_bad));
  out.gauge("dwspool_config_last_reload_successful",
            "0 when the file was bad the last time that it was read, and is not in force.",
            facts.last_reload_was_good ? 1 : 0);
  out.gauge("dwspool_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read, since the epoch.",
            facts.last_good_reload_seconds);
  out.gauge("dwspool_workers", "Worker threads.", static_cast<double>(workers.size()));
  out.gauge("dwspool_worker_heartbeat_age_seconds",
            "Time since the loop of the slowest worker last turned.",
            oldest_age(workers, &WorkerBlock::heartbeat, std::chrono::seconds(1), now));
  add_certificates(out, facts);
}

// Only the classes that have occurred.
void add_errors(MetricFamily& to, const Blocks<WorkerBlock>& workers) {
  constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (std::size_t i = 0; i < std::tuple_size_v<decltype(WorkerBlock::errors)>; ++i) {
    const double count =
        sum(workers, [i](const WorkerBlock& block) -> const Counter& { return block.errors[i]; });
    if (count == 0) continue;
    const std::string name = {digits[i / digits.size()], digits[i % digits.size()]};
    Exposition::add(to, {{"class", i == 0 ? "invalid" : name}}, count);
  }
}

void add_workers(Exposition& out, const Groups<WorkerBlock>& group) {
  const Blocks<WorkerBlock>& workers = group.begin()->second;
  out.sums(group, worker_gauges, MetricType::Gauge);
  out.sums(group, worker_counters, MetricType::Counter);
  out.histograms(group, worker_histograms);
  add_reasons(
      out.family("dwspool_client_refusals_total",
                 "Client connections that were refused or ended early.", MetricType::Counter),
      workers, &WorkerBlock::refusals,
      [](std::size_t i) { return to_string(static_cast<Refusal>(i)); });
  add_reasons(out.family("dwspool_backend_open_failures_total",
                         "Backend connections that could not be opened.", MetricType::Counter),
              workers, &WorkerBlock::open_failures,
              [](std::size_t i) { return to_string(static_cast<OpenFailure>(i)); });
  add_reasons(out.family("dwspool_session_pins_total",
                         "Times that a session was bound to its backend beyond a transaction.",
                         MetricType::Counter),
              workers, &WorkerBlock::pins, pin_reason_name);
  add_errors(out.family("dwspool_errors_total", "Errors sent to clients, by SQLSTATE class.",
                        MetricType::Counter),
             workers);
}

template <class States>
void add_states(MetricFamily& to, const Groups<PoolBlock>& pools, const States& states) {
  for (const auto& [labels, blocks] : pools) {
    for (const State& state : states) {
      Exposition::add(to, with(labels, "state", state.name), sum(blocks, state.member));
    }
  }
}

void add_pools(Exposition& out, const Groups<PoolBlock>& pools, TimePoint now) {
  add_states(out.family("dwspool_pool_clients", "Clients that are logged in, by state.",
                        MetricType::Gauge),
             pools, client_states);
  add_states(
      out.family("dwspool_pool_backends", "Backend connections, by state.", MetricType::Gauge),
      pools, backend_states);
  MetricFamily& waits = out.family("dwspool_client_wait_oldest_seconds",
                                   "How long the longest waiting client has waited for a backend.",
                                   MetricType::Gauge);
  for (const auto& [labels, blocks] : pools) {
    Exposition::add(waits, labels,
                    oldest_age(blocks, &PoolBlock::oldest_wait_since, Duration(1), now));
  }
  out.sums(pools, pool_counters, MetricType::Counter);
  out.histograms(pools, pool_histograms);
}

// In the order of CoordinatorBlock::role.
constexpr std::array<std::string_view, 3> host_roles = {"unknown", "primary", "standby"};

bool is_probed(const Blocks<CoordinatorBlock>& blocks) {
  return std::any_of(blocks.begin(), blocks.end(),
                     [](const auto& block) { return block->probes.value() > 0; });
}

void add_coordinators(Exposition& out, const Groups<CoordinatorBlock>& coordinators) {
  out.sums(coordinators, coordinator_gauges, MetricType::Gauge);
  out.sums(coordinators, coordinator_counters, MetricType::Counter);
  Groups<CoordinatorBlock> probed = coordinators;
  std::erase_if(probed, [](const auto& group) { return !is_probed(group.second); });
  out.sums(probed, probe_counters, MetricType::Counter);
  out.sums(probed, probe_gauges, MetricType::Gauge);
  MetricFamily& roles =
      out.family("dwspool_coordinator_role", "1 for the role that it has.", MetricType::Gauge);
  for (const auto& [labels, blocks] : probed) {
    const double role = sum(blocks, &CoordinatorBlock::role);
    for (std::size_t i = 0; i < host_roles.size(); ++i) {
      Exposition::add(roles, with(labels, "role", host_roles[i]),
                      role == static_cast<double>(i) ? 1 : 0);
    }
  }
  MetricFamily& to =
      out.family("dwspool_coordinator_up",
                 "1 when it answers probes, or else when the last attempt to connect succeeded.",
                 MetricType::Gauge);
  for (const auto& [labels, blocks] : coordinators) {
    // What probes say is newer. Else one worker's success is enough: another's failure may be
    // older, and a worker without clients would not try again to take it back. Unknown before the
    // first attempt.
    bool tried = false;
    bool up = false;
    for (const auto& block : blocks) {
      tried = tried || block->opened.value() + block->failed.value() > 0;
      if (is_probed(blocks) && block->probes.value() == 0) continue;
      up = up || block->up.value() != 0;
    }
    if (tried) Exposition::add(to, labels, up ? 1 : 0);
  }
}

}  // namespace

std::string render(const Registry& registry, const ProcessFacts& facts, TimePoint now) {
  const Groups<WorkerBlock> workers = worker_group(registry);
  Exposition out;
  add_process(out, facts, workers.begin()->second, now);
  add_workers(out, workers);
  const Groups<PoolBlock> pools = pool_groups(registry);
  add_pools(out, pools, now);
  add_replay_families(out, workers, pools);
  add_coordinators(out, coordinator_groups(registry));
  if (facts.pgbouncer_names) add_pgbouncer_families(out, workers, pools, facts, now);
  return std::move(out).text();
}

}  // namespace dwspool::metrics
