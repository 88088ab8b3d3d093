// What all workers share: the configuration, and the few things that must be known once for the
// whole process. Everything here is thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/base/log.h"
#include "dwspool/base/time.h"

#include "dwspool/auth/failure_log.h"
#include "dwspool/config/config.h"
#include "dwspool/login/guard.h"
#include "dwspool/login/key_cache.h"
#include "dwspool/metrics/registry.h"

#include "dwspool/proxy/cancel_registry.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/quotas.h"
#include "dwspool/proxy/slot_ledger.h"
#include "dwspool/proxy/tls_store.h"

namespace dwspool::proxy {

// The lock-out guard and the derived keys, shared by all workers.
class Credentials {
 public:
  struct Answer {
    login::LoginGuard::Answer answer = login::LoginGuard::Answer::go;
    login::LoginGuard::Attempt attempt = 0;  // when it may go
    wire::ErrorReport report;                // when held
  };
  Answer ask(const std::string& account, TimePoint now);
  void on_success(const std::string& account);
  void on_refused(const std::string& account, const wire::ErrorReport& report, TimePoint now);
  void on_no_verdict(const std::string& account, login::LoginGuard::Attempt attempt);
  std::optional<login::DerivedKeys> find_keys(const std::string& account,
                                              const login::Derivation& work) const;
  void store_keys(const std::string& account, const login::Derivation& work,
                  const login::DerivedKeys& keys);

 private:
  // An account locks after ten failures, for a day: two attempts an hour leave room for people.
  static constexpr Duration hold_time = std::chrono::minutes{30};
  mutable std::mutex mutex_;
  login::LoginGuard guard_{hold_time};
  login::KeyCache keys_;
};

// auth::FailureLog for all workers.
class Failures {
 public:
  explicit Failures(std::uint32_t limit) : log_(limit) {}
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

struct Hub {
  Hub(std::shared_ptr<const config::Config> configuration, Log& logger, metrics::Registry& registry,
      std::string process_secret)
      : config(std::move(configuration)),
        log(logger),
        metrics(registry),
        mock_secret(std::move(process_secret)),
        tls(config),
        failures(config->auth_failure_limit),
        slots(config->workers) {
    for (const config::Cluster& cluster : config->clusters) {
      clusters.push_back(std::make_unique<ClusterState>(*config, cluster, log, metrics));
    }
  }

  std::shared_ptr<const config::Config> config;
  Log& log;
  metrics::Registry& metrics;
  std::string mock_secret;  // random; makes the challenges of unknown users
  TlsStore tls;
  Failures failures;  // of clients' log-ins
  SlotLedger slots;
  Quotas quotas;
  ClientCounts client_counts;                           // by database and user
  std::vector<std::unique_ptr<ClusterState>> clusters;  // in the order of the configuration
  CancelRegistry cancels;
  Credentials credentials;
  std::atomic<std::uint32_t> clients{0};  // logged in or on the way
  std::atomic<bool> draining{false};
};

}  // namespace dwspool::proxy
