// A table per kind of block says which time series there are; the rest adds up and hands over.

#include "dwspool/metrics/exposition.h"

#include <algorithm>
#include <array>
#include <limits>

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>
#include <prometheus/text_serializer.h>

#include "metrics/label.h"

namespace dwspool::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<ClientMetric::Label>;
template <class Block>
using Blocks = std::vector<std::shared_ptr<Block>>;
// What is added up into one time series: the blocks of all workers, and of all names that come
// out as the same label values. Two series of equal labels would make the scrape fail.
template <class Block>
using Groups = std::map<Labels, Blocks<Block>>;

// The serializer writes help texts as they are: what would need an escape does not compile.
class HelpText {
 public:
  consteval HelpText(const char* text) : text_(text) {  // NOLINT(google-explicit-constructor)
    for (const char c : std::string_view(text)) {
      if (c == '\\' || c == '\n') throw "needs an escape";
    }
  }
  const char* get() const { return text_; }

 private:
  const char* text_;
};

// Always written in full: HelpText has no default.
template <class Block, class Number>
struct Series {  // NOLINT(cppcoreguidelines-pro-type-member-init)
  const char* name;
  HelpText help;
  Number Block::*member;
};

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
    {"dwspool_replay_duration_seconds",
     "Time from a failure to the answer, of what was run again or waited to be.",
     &PoolBlock::replay_seconds},
});

constexpr auto pool_gauges = std::to_array<Series<PoolBlock, Gauge>>({
    {"dwspool_replay_log_bytes", "Memory of what is kept to be run again.",
     &PoolBlock::replay_log_bytes},
});

constexpr auto worker_counters = std::to_array<Series<WorkerBlock, Counter>>({
    {"dwspool_client_connections_total", "Client connections that were accepted.",
     &WorkerBlock::connections_accepted},
    {"dwspool_client_logins_total", "Clients that logged in.", &WorkerBlock::logins_succeeded},
    {"dwspool_cancel_requests_total", "Cancel requests that clients sent.",
     &WorkerBlock::cancels_received},
    {"dwspool_cancel_requests_forwarded_total", "Cancel requests that were sent to a coordinator.",
     &WorkerBlock::cancels_forwarded},
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

template <class Block>
void append(Blocks<Block>& to, const Blocks<Block>& row) {
  std::copy_if(row.begin(), row.end(), std::back_inserter(to),
               [](const std::shared_ptr<Block>& block) { return block != nullptr; });
}

Groups<PoolBlock> pool_groups(const Registry& registry) {
  Groups<PoolBlock> groups;
  for (const auto& [key, row] : registry.pools()) {
    append(groups[{{"database", label_text(key.database)}, {"user", label_text(key.user)}}], row);
  }
  return groups;
}

Groups<WorkerBlock> worker_group(const Registry& registry) {
  Groups<WorkerBlock> groups;
  append(groups[{}], registry.workers());
  return groups;
}

Groups<CoordinatorBlock> coordinator_groups(const Registry& registry) {
  Groups<CoordinatorBlock> groups;
  for (const auto& [key, row] : registry.coordinators()) {
    append(groups[{{"cluster", label_text(key.cluster)}, {"coordinator", label_text(key.label)}}],
           row);
  }
  return groups;
}

// `read` takes a block and returns a Counter or a Gauge in it.
template <class Block, class Read>
double sum(const Blocks<Block>& blocks, Read read) {
  decltype(std::invoke(read, *blocks.front()).value()) total = 0;
  for (const auto& block : blocks) total += std::invoke(read, *block).value();
  return static_cast<double>(total);
}

Labels with(Labels labels, const char* name, std::string_view value) {
  labels.push_back({name, std::string(value)});
  return labels;
}

// Collects families and leaves out those that have no time series.
class Exposition {
 public:
  MetricFamily& family(const char* name, HelpText help, MetricType type) {
    return families_.emplace_back(MetricFamily{name, help.get(), type, {}});
  }

  void gauge(const char* name, HelpText help, double value, Labels labels = {}) {
    add(family(name, help, MetricType::Gauge), std::move(labels), value);
  }

  template <class Block, class Table>
  void sums(const Groups<Block>& groups, const Table& table, MetricType type) {
    for (const auto& series : table) {
      MetricFamily& to = family(series.name, series.help, type);
      for (const auto& [labels, blocks] : groups) add(to, labels, sum(blocks, series.member));
    }
  }

  template <class Block, class Table>
  void histograms(const Groups<Block>& groups, const Table& table) {
    for (const auto& series : table) {
      MetricFamily& to = family(series.name, series.help, MetricType::Histogram);
      for (const auto& [labels, blocks] : groups) add_histogram(to, labels, blocks, series.member);
    }
  }

  static void add(MetricFamily& to, Labels labels, double value) {
    ClientMetric& metric = to.metric.emplace_back();
    metric.label = std::move(labels);
    (to.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }

  std::string text() && {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  // The count is the sum of the buckets as they were read, so that they agree whatever a worker
  // writes meanwhile. The sum is read first: it does not run ahead of the count.
  template <class Block>
  static void add_histogram(MetricFamily& to, const Labels& labels, const Blocks<Block>& blocks,
                            DurationHistogram Block::*member) {
    ClientMetric& metric = to.metric.emplace_back();
    metric.label = labels;
    auto& histogram = metric.histogram;
    for (const auto& block : blocks) histogram.sample_sum += (block.get()->*member).sum_seconds();
    for (std::size_t i = 0; i < DurationHistogram::size; ++i) {
      for (const auto& block : blocks) {
        histogram.sample_count += (block.get()->*member).bucket(i);
      }
      const double bound =
          i < duration_bounds.size() ? duration_bounds[i] : std::numeric_limits<double>::infinity();
      histogram.bucket.push_back({histogram.sample_count, bound});
    }
  }

  std::vector<MetricFamily> families_;
};

// Age of the oldest moment that `member` of a block names, which is monotonic time in units of
// `unit`; 0 when none does. A moment that lies ahead is one that passed while `now` was taken.
template <class Block>
double oldest_age(const Blocks<Block>& blocks, Gauge Block::*member, Duration unit, TimePoint now) {
  Duration oldest = Duration::zero();
  for (const auto& block : blocks) {
    const std::int64_t since = (block.get()->*member).value();
    if (since > 0) oldest = std::max(oldest, now.time_since_epoch() - since * unit);
  }
  return to_seconds(oldest);
}

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

// One time series per entry of an array of counters, named by `name_of(index)`.
template <class Array, class Name>
void add_reasons(MetricFamily& to, const Blocks<WorkerBlock>& workers, Array WorkerBlock::*array,
                 Name name_of, std::size_t first = 0) {
  for (std::size_t i = first; i < std::tuple_size_v<Array>; ++i) {
    Exposition::add(to, {{"reason", std::string(name_of(i))}},
                    sum(workers, [=](const WorkerBlock& block) -> const Counter& {
                      return (block.*array)[i];
                    }));
  }
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

void add_replays(Exposition& out, const Blocks<WorkerBlock>& workers) {
  MetricFamily& replays =
      out.family("dwspool_replay_total", "Failures by what became of them.", MetricType::Counter);
  for (std::size_t failure = 1; failure < replay_failures; ++failure) {
    for (std::size_t result = 0; result < replay_results; ++result) {
      Exposition::add(replays,
                      {{"failure", std::string(replay_failure_name(failure))},
                       {"result", std::string(replay_result_name(result))}},
                      sum(workers, [=](const WorkerBlock& block) -> const Counter& {
                        return block.replays[failure][result];
                      }));
    }
  }
  add_reasons(
      out.family("dwspool_replay_refused_total",
                 "Failures of which nothing was run again, by reason.", MetricType::Counter),
      workers, &WorkerBlock::replay_refusals, replay_reason_name, 1);
  add_reasons(
      out.family("dwspool_replay_unprotected_total",
                 "Transactions that were not kept to their end, by reason.", MetricType::Counter),
      workers, &WorkerBlock::replay_unprotected, replay_reason_name, 1);
  add_reasons(
      out.family("dwspool_replay_tokens_total",
                 "COMMITs that wanted a token, by what became of that.", MetricType::Counter),
      workers, &WorkerBlock::tokens, token_use_name, 1);
  add_reasons(out.family("dwspool_replay_in_doubt_total",
                         "COMMITs with a token whose answer was lost, by what became of them.",
                         MetricType::Counter),
              workers, &WorkerBlock::in_doubt, token_verdict_name);
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
  add_replays(out, workers);
}

// How much of the traffic a failure would not be noticed by, as sampled: only what has occurred.
void add_coverage(Exposition& out, const Groups<PoolBlock>& pools) {
  MetricFamily& samples =
      out.family("dwspool_replay_sampled_total",
                 "Transactions that were looked at as if they were lost, by what it would come to.",
                 MetricType::Counter);
  MetricFamily& ratios = out.family("dwspool_replay_protected_ratio",
                                    "Share of the sampled transactions whose loss would be masked.",
                                    MetricType::Gauge);
  for (const auto& [labels, blocks] : pools) {
    double all = 0;
    double covered = 0;
    for (std::size_t i = 0; i < replay_reasons; ++i) {
      const double count = sum(blocks, [i](const PoolBlock& block) -> const Counter& {
        return block.replay_samples[i];
      });
      if (i == 0) covered = count;
      all += count;
      if (i > 0 && count == 0) continue;
      Exposition::add(samples,
                      with(labels, "outcome", i == 0 ? "protected" : replay_reason_name(i)), count);
    }
    if (all > 0) Exposition::add(ratios, labels, covered / all);
  }
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
  out.sums(pools, pool_gauges, MetricType::Gauge);
  out.sums(pools, pool_counters, MetricType::Counter);
  out.histograms(pools, pool_histograms);
  add_coverage(out, pools);
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
  add_pools(out, pool_groups(registry), now);
  add_coordinators(out, coordinator_groups(registry));
  return std::move(out).text();
}

}  // namespace dwspool::metrics
