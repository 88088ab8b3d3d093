// The TLS contexts in use: one towards clients, one for each cluster. Thread-safe. What is read
// again holds for connections made from then on; those that live keep theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/config/config.h"

#include "dwspool/tls/context.h"
#include "dwspool/tls/engine.h"

namespace dwspool::proxy {

class TlsStore {
 public:
  // Reads the files that the configuration names. Throws std::runtime_error when one cannot be
  // used, which has been complained about when the configuration was read, unless it has changed.
  explicit TlsStore(std::shared_ptr<const config::Config> config);

  // Whether clients are offered TLS; does not change.
  bool offers() const { return config_->client_tls.mode != TlsMode::disable; }
  // Precondition: offers(). `direct`: the client has begun with TLS at once.
  std::unique_ptr<tls::Engine> engine_to_client(bool direct) const;
  // Precondition: the mode of the cluster is not `disable`.
  std::unique_ptr<tls::Engine> engine_to(const config::Cluster& cluster,
                                         const config::Coordinator& host) const;
  // `disable` for a Unix socket, as in libpq.
  static TlsMode mode_of(const config::Cluster& cluster, const config::Coordinator& host) {
    return host.is_unix() ? TlsMode::disable : cluster.tls.mode;
  }

  // Reads the files again: all of them are good, or nothing changes. Empty, or what is wrong.
  // Blocking.
  std::string reload();

  // Until when our certificates hold, in seconds since the epoch.
  struct Expiry {
    std::string use;  // "clients", or "cluster" and the cluster's name
    std::int64_t not_after = 0;
  };
  std::vector<Expiry> expiries() const;

 private:
  struct Contexts {
    std::shared_ptr<const tls::Context> clients;
    std::vector<std::shared_ptr<const tls::Context>> clusters;
  };
  std::string read(Contexts& contexts) const;

  std::shared_ptr<const config::Config> config_;
  mutable std::mutex mutex_;
  Contexts contexts_;
};

}  // namespace dwspool::proxy
