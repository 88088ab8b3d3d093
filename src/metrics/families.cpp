#include "metrics/families.h"

#include <prometheus/text_serializer.h>

#include "metrics/label.h"

namespace dwspool::metrics {
namespace {

template <class Block>
void append(Blocks<Block>& to, const Blocks<Block>& row) {
  std::copy_if(row.begin(), row.end(), std::back_inserter(to),
               [](const std::shared_ptr<Block>& block) { return block != nullptr; });
}

}  // namespace

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

Labels with(Labels labels, const char* name, std::string_view value) {
  labels.push_back({name, std::string(value)});
  return labels;
}

std::string Exposition::text() && {
  std::vector<MetricFamily> filled;
  std::copy_if(std::make_move_iterator(families_.begin()), std::make_move_iterator(families_.end()),
               std::back_inserter(filled),
               [](const MetricFamily& family) { return !family.metric.empty(); });
  return prometheus::TextSerializer().Serialize(filled);
}

}  // namespace dwspool::metrics
