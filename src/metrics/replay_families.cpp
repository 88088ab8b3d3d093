// What the exposition and SHOW REPLAY say of replay: the same numbers, by the same code.
#include <array>

#include "dwspool/metrics/replay_numbers.h"

#include "metrics/families.h"

namespace dwspool::metrics {
namespace {

constexpr auto replay_histograms = std::to_array<Series<PoolBlock, DurationHistogram>>({
    {"dwspool_replay_duration_seconds",
     "Time from a failure to the answer, of what was run again or waited to be.",
     &PoolBlock::replay_seconds},
});

constexpr auto replay_gauges = std::to_array<Series<PoolBlock, Gauge>>({
    {"dwspool_replay_log_bytes", "Memory of what is kept to be run again.",
     &PoolBlock::replay_log_bytes},
    {"dwspool_replay_waiting", "Clients that wait for something to be run again.",
     &PoolBlock::replay_waiting},
});

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

// A row for each value; those of an event that has not happened are left out.
void add_rows(std::vector<ReplayNumber>& rows, const MetricFamily& family) {
  static constexpr std::string_view prefix = "dwspool_replay_";
  for (const ClientMetric& metric : family.metric) {
    ReplayNumber row;
    row.name = family.name.substr(prefix.size());
    for (const ClientMetric::Label& label : metric.label) {
      if (label.name == "database") {
        row.database = label.value;
      } else if (label.name == "user") {
        row.user = label.value;
      } else if (label.name == "failure") {
        row.failure = label.value;
      } else {
        row.outcome = label.value;  // result, reason or outcome
      }
    }
    if (family.type == MetricType::Histogram) {
      ReplayNumber count = row;
      count.name += "_count";
      count.value = static_cast<double>(metric.histogram.sample_count);
      rows.push_back(std::move(count));
      row.name += "_sum";
      row.value = metric.histogram.sample_sum;
    } else if (family.type == MetricType::Counter) {
      row.value = metric.counter.value;
      if (row.value == 0) continue;
    } else {
      row.value = metric.gauge.value;
    }
    rows.push_back(std::move(row));
  }
}

}  // namespace

void add_replay_families(Exposition& out, const Groups<WorkerBlock>& workers,
                         const Groups<PoolBlock>& pools) {
  add_replays(out, workers.begin()->second);
  out.histograms(pools, replay_histograms);
  out.sums(pools, replay_gauges, MetricType::Gauge);
  add_coverage(out, pools);
}

std::vector<ReplayNumber> replay_numbers(const Registry& registry) {
  Exposition numbers;
  add_replay_families(numbers, worker_group(registry), pool_groups(registry));
  std::vector<ReplayNumber> rows;
  for (const MetricFamily& family : numbers.families()) add_rows(rows, family);
  return rows;
}

}  // namespace dwspool::metrics
