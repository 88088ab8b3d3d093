// The TLS contexts in use: one towards clients, one for each cluster. Thread-safe. What is read
// again holds for connections made from then on; those that live keep theirs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "dwspool/config/config.h"

#include "dwspool/tls/context.h"
#include "dwspool/tls/engine.h"

namespace dwspool::proxy {

class TlsStore {
 public:
  // Towards clients, and by the names of the clusters.
  struct Contexts {
    std::shared_ptr<const tls::Context> clients;
    std::map<std::string, std::shared_ptr<const tls::Context>, std::less<>> clusters;
  };
  // Reads the files that a configuration names. The contexts, or what is wrong. Blocking.
  static std::variant<Contexts, std::string> read(const config::Config& config);

  // Throws std::runtime_error when a file cannot be used, which has been complained about when the
  // configuration was read, unless it has changed.
  explicit TlsStore(const config::Config& config);

  // Precondition: the running configuration has, or had, TLS for clients. `direct`: the client has
  // begun with TLS at once.
  std::unique_ptr<tls::Engine> engine_to_client(bool direct) const;
  // Precondition: the mode of the cluster is not `disable`.
  std::unique_ptr<tls::Engine> engine_to(const config::Cluster& cluster,
                                         const config::Coordinator& host) const;
  // `disable` for a Unix socket, as in libpq.
  static TlsMode mode_of(const config::Cluster& cluster, const config::Coordinator& host) {
    return host.is_unix() ? TlsMode::disable : cluster.tls.mode;
  }

  // For connections made from now on; those that live keep theirs. What `contexts` lacks stays as
  // it is: who has not heard of the new configuration yet may ask for it.
  void install(Contexts contexts);

  // Until when our certificates hold, in seconds since the epoch.
  struct Expiry {
    std::string use;  // "clients", or "cluster" and the cluster's name
    std::int64_t not_after = 0;
  };
  // Of what `config` uses.
  std::vector<Expiry> expiries(const config::Config& config) const;

 private:
  mutable std::mutex mutex_;
  Contexts contexts_;
};

}  // namespace dwspool::proxy
