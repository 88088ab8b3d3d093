// What turns blocks of numbers into families of time series: adding up over the workers, naming,
// and prometheus-cpp's serializer.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include "dwspool/metrics/exposition.h"
#include "dwspool/metrics/registry.h"

namespace dwspool::metrics {

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

Groups<PoolBlock> pool_groups(const Registry& registry);
Groups<WorkerBlock> worker_group(const Registry& registry);  // one, without labels
Groups<CoordinatorBlock> coordinator_groups(const Registry& registry);

// `read` takes a block and returns a Counter or a Gauge in it.
template <class Block, class Read>
double sum(const Blocks<Block>& blocks, Read read) {
  decltype(std::invoke(read, *blocks.front()).value()) total = 0;
  for (const auto& block : blocks) total += std::invoke(read, *block).value();
  return static_cast<double>(total);
}

Labels with(Labels labels, const char* name, std::string_view value);

// Collects families and leaves out those that have no time series.
class Exposition {
 public:
  // Valid as long as this.
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

  std::string text() &&;
  const std::deque<MetricFamily>& families() const { return families_; }

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

  std::deque<MetricFamily> families_;  // what family() has answered stays where it is
};

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

// Everything of replay.
void add_replay_families(Exposition& out, const Groups<WorkerBlock>& workers,
                         const Groups<PoolBlock>& pools);
// The names of PgBouncer's exporter.
void add_pgbouncer_families(Exposition& out, const Groups<WorkerBlock>& workers,
                            const Groups<PoolBlock>& pools, const ProcessFacts& facts,
                            TimePoint now);

}  // namespace dwspool::metrics
