// What all workers share: the configuration, and the few things that must be known once for the
// whole process. Everything here is thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dwspool/base/log.h"
#include "dwspool/base/result.h"
#include "dwspool/base/time.h"

#include "dwspool/auth/failure_log.h"
#include "dwspool/config/config.h"
#include "dwspool/login/guard.h"
#include "dwspool/login/key_cache.h"
#include "dwspool/metrics/registry.h"

#include "dwspool/proxy/acquaintances.h"
#include "dwspool/proxy/cancel_registry.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/gates.h"
#include "dwspool/proxy/quotas.h"
#include "dwspool/proxy/slot_ledger.h"
#include "dwspool/proxy/statistics.h"
#include "dwspool/proxy/tls_store.h"

namespace dwspool::proxy {

// The lock-out guard and the derived keys, shared by all workers.
class Credentials {
 public:
  // Somebody's turn to prove a password, until it goes.
  class Turn {
   public:
    Turn(Credentials& credentials, std::string account)
        : credentials_(credentials), account_(std::move(account)) {}
    ~Turn() { credentials_.end_proof(account_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Credentials& credentials_;
    std::string account_;
  };
  struct Answer {
    login::LoginGuard::Answer answer = login::LoginGuard::Answer::go;
    login::LoginGuard::Attempt attempt = 0;  // when it may go
    wire::ErrorReport report;                // when held
    std::unique_ptr<Turn> turn;              // of ask_proof, when it may go
  };
  Answer ask(const std::string& account, TimePoint now, std::uint32_t budget);
  // See LoginGuard::ask_proof.
  Answer ask_proof(const std::string& account, TimePoint now, std::uint32_t budget);
  void on_success(const std::string& account);
  void on_refused(const std::string& account, const wire::ErrorReport& report, TimePoint now,
                  bool counts);
  void on_no_verdict(const std::string& account, login::LoginGuard::Attempt attempt);
  std::optional<login::DerivedKeys> find_keys(const std::string& account,
                                              const login::Derivation& work) const;
  void store_keys(const std::string& account, const login::Derivation& work,
                  const login::DerivedKeys& keys);

 private:
  void end_proof(const std::string& account);

  // An account locks after ten failures, for a day: two attempts an hour leave room for people.
  static constexpr Duration hold_time = std::chrono::minutes{30};
  mutable std::mutex mutex_;
  login::LoginGuard guard_{hold_time};
  login::KeyCache keys_;
};

// What became of reloads.
struct Reloads {
  std::atomic<std::uint64_t> good{0};
  std::atomic<std::uint64_t> bad{0};
  std::atomic<bool> last_was_good{true};
  std::atomic<std::int64_t> last_good_at{0};  // seconds since the epoch; the start counts
};

// auth::FailureLog for all workers.
class Failures {
 public:
  explicit Failures(std::uint32_t limit) : log_(limit) {}
  void set_limit(std::uint32_t limit) {
    const std::lock_guard lock(mutex_);
    log_.set_limit(limit);
  }
  bool is_blocked(const std::string& address, TimePoint now) {
    const std::lock_guard lock(mutex_);
    return log_.is_blocked(address, now);
  }
  Duration on_failure(const std::string& address, TimePoint now) {
    const std::lock_guard lock(mutex_);
    return log_.on_failure(address, now);
  }

 private:
  std::mutex mutex_;
  auth::FailureLog log_;
};

enum class Stop : std::uint8_t {
  at_once,
  after_servers,  // when no backend is in use any more; clients wait meanwhile
  after_clients,  // when every client has come to the end of its transaction
};

struct Hub {
  // What was wrong; nothing if all is well.
  using Complaints = std::vector<std::string>;
  Hub(std::shared_ptr<const config::Config> configuration, Log& logger, metrics::Registry& registry,
      std::string process_secret)
      : log(logger),
        metrics(registry),
        mock_secret(std::move(process_secret)),
        tls(*configuration),
        failures(configuration->auth_failure_limit),
        slots(configuration->workers),
        statistics(registry),
        config_(std::move(configuration)) {
    for (const config::Cluster& cluster : config_->clusters) {
      clusters.push_back(make_cluster(config_, cluster));
    }
  }

  // The configuration that new things are made by. Workers follow at their own pace: see
  // Worker::config().
  std::shared_ptr<const config::Config> config() const {
    const std::lock_guard lock(config_mutex_);
    return config_;
  }
  void set_config(std::shared_ptr<const config::Config> config) {
    const std::lock_guard lock(config_mutex_);
    config_ = std::move(config);
  }
  // On the first worker's thread.
  std::shared_ptr<ClusterState> make_cluster(const std::shared_ptr<const config::Config>& config,
                                             const config::Cluster& cluster) {
    return std::make_shared<ClusterState>(++last_cluster_, config, cluster, log, metrics);
  }

  Log& log;
  metrics::Registry& metrics;
  std::string mock_secret;  // random; makes the challenges of unknown users
  TlsStore tls;
  Failures failures;  // of clients' log-ins
  SlotLedger slots;
  Clusters clusters;  // in the order of the configuration; the first worker's, once it runs
  Quotas quotas;
  ClientCounts client_counts;  // by database and user
  CancelRegistry cancels;
  Credentials credentials;
  Acquaintances acquaintances;
  std::atomic<std::uint32_t> clients{0};  // logged in or on the way
  std::atomic<bool> draining{false};
  std::atomic<bool> has_predecessor{false};  // which still has clients
  Reloads reloads;
  GateKeeper gates;
  Statistics statistics;

  // What the process can be told to do, all on the first worker's thread.
  struct Control {
    // Reads the configuration anew.
    std::function<void(std::function<void(const Complaints&)> done)> reload;
    // Puts another configuration into force until the next reload.
    std::function<Status(std::shared_ptr<const config::Config>)> apply;
    std::function<void(Stop)> stop;
    // A key that this process does not know: the one that it has taken over from may.
    std::function<void(const wire::KeyData&)> cancel_at_predecessor;
  };
  Control control;
  std::string version;

 private:
  mutable std::mutex config_mutex_;
  std::shared_ptr<const config::Config> config_;
  std::uint64_t last_cluster_ = 0;
};

}  // namespace dwspool::proxy
