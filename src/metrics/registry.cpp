#include "dwspool/metrics/registry.h"

#include <algorithm>

namespace dwspool::metrics {
namespace {

constexpr std::size_t class_letters = 36;

// -1 for what no SQLSTATE contains.
int class_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return -1;
}

// The block of one worker in a row of blocks, made when it is missing.
template <class Block>
const std::shared_ptr<Block>& block_of(std::vector<std::shared_ptr<Block>>& row,
                                       std::size_t worker) {
  if (row.size() <= worker) row.resize(worker + 1);
  if (!row[worker]) row[worker] = std::make_shared<Block>();
  return row[worker];
}

}  // namespace

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::password:
      return "password";
    case Refusal::unknown_database:
      return "unknown_database";
    case Refusal::too_many_clients:
      return "too_many_clients";
    case Refusal::protocol_violation:
      return "protocol_violation";
    case Refusal::login_timeout:
      return "login_timeout";
    case Refusal::shutdown:
      return "shutdown";
    case Refusal::tls:
      return "tls";
    case Refusal::access:
      return "access";
    case Refusal::count:
      break;
  }
  return "?";
}

std::string_view to_string(OpenFailure failure) {
  switch (failure) {
    case OpenFailure::connect:
      return "connect";
    case OpenFailure::timeout:
      return "timeout";
    case OpenFailure::credentials:
      return "credentials";
    case OpenFailure::refused:
      return "refused";
    case OpenFailure::unavailable:
      return "unavailable";
    case OpenFailure::protocol:
      return "protocol";
    case OpenFailure::tls:
      return "tls";
    case OpenFailure::count:
      break;
  }
  return "?";
}

std::string_view replay_failure_name(std::size_t index) {
  static constexpr std::array<std::string_view, replay_failures> names = {
      "none",      "not_sent",         "refused",  "doubtful",
      "read_only", "transaction_lost", "in_doubt", "outdated"};
  return index < names.size() ? names[index] : "?";
}

std::string_view token_use_name(std::size_t index) {
  static constexpr std::array<std::string_view, token_uses> names = {"none", "sent", "unavailable",
                                                                     "refused"};
  return index < names.size() ? names[index] : "?";
}

std::string_view token_verdict_name(std::size_t index) {
  static constexpr std::array<std::string_view, token_verdicts> names = {"unknown", "committed",
                                                                         "aborted"};
  return index < names.size() ? names[index] : "?";
}

std::string_view replay_result_name(std::size_t index) {
  static constexpr std::array<std::string_view, replay_results> names = {
      "masked",   "refused",    "mismatch",   "deadline",      "attempts", "canceled",
      "not_read", "no_backend", "lost_again", "refused_again", "in_doubt", "quarantined"};
  return index < names.size() ? names[index] : "?";
}

std::string_view replay_reason_name(std::size_t index) {
  static constexpr std::array<std::string_view, replay_reasons> names = {
      "none",      "level",   "asked",      "told",        "external",  "commit",
      "multi",     "utility", "unreadable", "too_big",     "pipelined", "copy",
      "forwarded", "pinned",  "unproven",   "quarantined", "crowded",   "flapping"};
  return index < names.size() ? names[index] : "?";
}

std::string_view pin_reason_name(std::size_t index) {
  // The order of the bits in sql::binding_effects.
  static constexpr std::array<std::string_view, pin_reasons> names = {
      "changes_setting", "changes_identity", "temporary_object", "advisory_lock",
      "held_cursor",     "listens",          "loads_module",     "prepares",
      "sequence_state",  "unclear",          "configured"};
  return index < names.size() ? names[index] : "?";
}

void PoolBlock::change_wait(std::int64_t before, std::int64_t now) {
  auto node = before == 0 ? std::multiset<std::int64_t>::node_type{} : waits_.extract(before);
  if (now != 0 && node) {
    node.value() = now;
    waits_.insert(std::move(node));
  } else if (now != 0) {
    waits_.insert(now);
  }
  oldest_wait_since.set(waits_.empty() ? 0 : *waits_.begin());
}

// NOLINTNEXTLINE(modernize-avoid-c-arrays)
std::size_t WorkerBlock::error_index(const char (&error_class)[2]) {
  const int high = class_digit(error_class[0]);
  const int low = class_digit(error_class[1]);
  // A server may send anything. Class 00 is success and never comes with an error: its place
  // counts what is no class at all.
  if (high < 0 || low < 0) return 0;
  return static_cast<std::size_t>(high) * class_letters + static_cast<std::size_t>(low);
}

std::shared_ptr<PoolBlock> Registry::pool(std::size_t worker, const std::string& database,
                                          const std::string& user) {
  const PoolKey overflow{"other", "other"};
  const std::lock_guard lock(mutex_);
  auto found = pools_.find(PoolKey{database, user});
  if (found == pools_.end()) {
    // A pool that once counted under "other" stays there, because entries never go away: no
    // number moves from one time series to another.
    const bool full = pools_.size() - pools_.count(overflow) >= max_pools;
    found = pools_.try_emplace(full ? overflow : PoolKey{database, user}).first;
  }
  return block_of(found->second, worker);
}

std::shared_ptr<WorkerBlock> Registry::worker(std::size_t worker) {
  const std::lock_guard lock(mutex_);
  return block_of(workers_, worker);
}

std::shared_ptr<CoordinatorBlock> Registry::coordinator(std::size_t worker,
                                                        const std::string& cluster,
                                                        const std::string& label) {
  const std::lock_guard lock(mutex_);
  return block_of(coordinators_[CoordinatorKey{cluster, label}], worker);
}

void Registry::forget_coordinator(const std::string& cluster, const std::string& label) {
  const std::lock_guard lock(mutex_);
  coordinators_.erase(CoordinatorKey{cluster, label});
}

std::map<Registry::PoolKey, std::vector<std::shared_ptr<PoolBlock>>> Registry::pools() const {
  const std::lock_guard lock(mutex_);
  return pools_;
}

std::vector<std::shared_ptr<WorkerBlock>> Registry::workers() const {
  const std::lock_guard lock(mutex_);
  return workers_;
}

std::map<Registry::CoordinatorKey, std::vector<std::shared_ptr<CoordinatorBlock>>>
Registry::coordinators() const {
  const std::lock_guard lock(mutex_);
  return coordinators_;
}

}  // namespace dwspool::metrics
