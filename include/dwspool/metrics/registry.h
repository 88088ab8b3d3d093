// All numbers of the process, and who writes them. Workers get a block each, and one per pool;
// the collector reads them all when somebody asks.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/metrics/counters.h"

namespace dwspool::metrics {

// What failed, what became of it and why it was not run again: the indices and names are those of
// module retry, 0 of the first and the last of these is "none".
inline constexpr std::size_t replay_failures = 8;
inline constexpr std::size_t replay_results = 12;
inline constexpr std::size_t replay_reasons = 18;
inline constexpr std::size_t token_uses = 4;
inline constexpr std::size_t token_verdicts = 3;
std::string_view token_use_name(std::size_t index);
std::string_view token_verdict_name(std::size_t index);
std::string_view replay_failure_name(std::size_t index);
std::string_view replay_result_name(std::size_t index);
std::string_view replay_reason_name(std::size_t index);

// One pool (database and user) on one worker.
struct PoolBlock {
  Counter queries;
  Counter transactions;
  Counter bytes_from_clients;
  Counter bytes_to_clients;
  Counter bytes_from_servers;
  Counter bytes_to_servers;
  Counter backends_assigned;  // times that a client got a backend
  Counter statements_parsed;  // Parse messages sent to servers
  Counter statements_reused;  // Parse messages that a backend had seen before
  Counter binds;              // Bind messages sent to servers
  Counter logins;             // of clients
  DurationHistogram query_seconds;
  DurationHistogram transaction_seconds;  // from the first statement to the end
  DurationHistogram wait_seconds;         // for a backend; only waits, no immediate grants
  DurationHistogram replay_seconds;       // from the failure to the answer, whatever that was
  Gauge replay_log_bytes;
  Gauge replay_waiting;  // clients, for something to be run again
  // Transactions that were looked at before anything had failed; 0: it would have been masked.
  std::array<Counter, replay_reasons> replay_samples;
  Gauge clients_idle;
  Gauge clients_active;  // with a backend
  Gauge clients_waiting;
  Gauge backends_opening;
  Gauge backends_idle;
  Gauge backends_lent;
  Gauge backends_cleaning;
  Gauge oldest_wait_since;  // monotonic nanoseconds; 0 when nobody waits

  // From the owning thread only. One of the pools that share the block has another oldest wait.
  void change_wait(std::int64_t before, std::int64_t now);

 private:
  std::multiset<std::int64_t> waits_;  // of those pools in which somebody waits
};

// Why a client connection was refused or ended early. Order and names are those of the label.
enum class Refusal : std::uint8_t {
  password,
  unknown_database,
  too_many_clients,
  protocol_violation,
  login_timeout,
  shutdown,
  tls,
  access,
  count
};
std::string_view to_string(Refusal refusal);

// Why a backend connection could not be made.
enum class OpenFailure : std::uint8_t {
  connect,
  timeout,
  credentials,
  refused,
  unavailable,
  protocol,
  tls,
  count
};
std::string_view to_string(OpenFailure failure);

// Reasons that bind a session to its backend; the names are those of the label.
inline constexpr std::size_t pin_reasons = 11;
std::string_view pin_reason_name(std::size_t index);

// One worker.
struct WorkerBlock {
  Counter connections_accepted;
  Counter logins_succeeded;
  std::array<Counter, static_cast<std::size_t>(Refusal::count)> refusals;
  Gauge clients;  // connected now
  Counter cancels_received;
  Counter cancels_forwarded;
  Counter peer_cancels_sent;      // to each address of each peer
  Counter peer_cancels_received;  // from peers
  Counter peer_cancels_dropped;   // never sent: there were too many, or it took too long
  Counter backends_opened;
  Counter backends_closed;
  std::array<Counter, static_cast<std::size_t>(OpenFailure::count)> open_failures;
  Counter backends_lost;                   // while a client used them
  DurationHistogram login_seconds;         // of clients: from accept to ready
  DurationHistogram backend_open_seconds;  // connect and log-in to a coordinator
  std::array<Counter, pin_reasons> pins;
  std::array<std::array<Counter, replay_results>, replay_failures> replays;
  std::array<Counter, replay_reasons> replay_refusals;     // when something had failed
  std::array<Counter, replay_reasons> replay_unprotected;  // when the log was given up
  std::array<Counter, token_uses> tokens;
  std::array<Counter, token_verdicts> in_doubt;  // COMMITs with a token, by what became of them
  // ErrorResponses sent to clients, by SQLSTATE class ("08", "22", ...): 36 x 36 possible ones.
  std::array<Counter, 1296> errors;
  Gauge heartbeat;  // monotonic seconds: when the loop last turned

  static std::size_t error_index(const char (&error_class)[2]);  // NOLINT(modernize-avoid-c-arrays)
};

// One coordinator: written by the worker whose attempt it was, hence a block per worker.
struct CoordinatorBlock {
  Counter opened;
  Counter failed;
  Gauge connections;
  Gauge up;  // 1 when the last attempt succeeded, 0 when it failed
  // Of probes, in the first worker's block only:
  Counter probes;
  Counter probe_failures;
  Gauge role;              // 0 unknown, 1 primary, 2 standby
  Gauge serving;           // 1 while it is given work
  Gauge most_connections;  // 0: any number, or not known
};

// Thread-safe. Blocks live as long as the registry: numbers never go backwards because a pool
// has come to its end.
class Registry {
 public:
  // The block of pool (database, user) for one worker. Only so many pools have one of their own:
  // the others share "other", so that clients cannot grow the number of time series at will.
  std::shared_ptr<PoolBlock> pool(std::size_t worker, const std::string& database,
                                  const std::string& user);
  std::shared_ptr<WorkerBlock> worker(std::size_t worker);
  std::shared_ptr<CoordinatorBlock> coordinator(std::size_t worker, const std::string& cluster,
                                                const std::string& label);

  // The coordinator is not in the configuration any more. Who has its block may go on writing.
  void forget_coordinator(const std::string& cluster, const std::string& label);

  static constexpr std::size_t max_pools = 200;

  struct PoolKey {
    std::string database;
    std::string user;
    friend auto operator<=>(const PoolKey&,
                            const PoolKey&) = default;  // NOLINT(modernize-use-nullptr)
  };
  struct CoordinatorKey {
    std::string cluster;
    std::string label;
    friend auto operator<=>(const CoordinatorKey&,
                            const CoordinatorKey&) = default;  // NOLINT(modernize-use-nullptr)
  };
  // Copies of the maps, blocks shared; inner index: worker (null where it has none).
  std::map<PoolKey, std::vector<std::shared_ptr<PoolBlock>>> pools() const;
  std::vector<std::shared_ptr<WorkerBlock>> workers() const;
  std::map<CoordinatorKey, std::vector<std::shared_ptr<CoordinatorBlock>>> coordinators() const;

 private:
  mutable std::mutex mutex_;
  std::map<PoolKey, std::vector<std::shared_ptr<PoolBlock>>> pools_;
  std::vector<std::shared_ptr<WorkerBlock>> workers_;
  std::map<CoordinatorKey, std::vector<std::shared_ptr<CoordinatorBlock>>> coordinators_;
};

}  // namespace dwspool::metrics
