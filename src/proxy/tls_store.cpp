#include "dwspool/proxy/tls_store.h"

#include <stdexcept>
#include <utility>
#include <variant>

namespace dwspool::proxy {
namespace {

std::string take(tls::Context::Made made, const std::string& whose,
                 std::shared_ptr<const tls::Context>& into) {
  if (const auto* const error = std::get_if<tls::ContextError>(&made)) {
    return whose + std::string(error->option) + ": " + error->message;
  }
  into = std::get<std::shared_ptr<const tls::Context>>(std::move(made));
  return {};
}

}  // namespace

std::variant<TlsStore::Contexts, std::string> TlsStore::read(const config::Config& config) {
  Contexts contexts;
  if (config.client_tls.mode != TlsMode::disable) {
    std::string problem =
        take(tls::Context::server(config.client_tls.options), "tls.", contexts.clients);
    if (!problem.empty()) return problem;
  }
  for (const config::Cluster& cluster : config.clusters) {
    if (cluster.tls.mode == TlsMode::disable) continue;
    std::string problem =
        take(tls::Context::client(cluster.tls.options), "clusters." + cluster.name + ".tls.",
             contexts.clusters[cluster.name]);
    if (!problem.empty()) return problem;
  }
  return contexts;
}

TlsStore::TlsStore(const config::Config& config) {
  std::variant<Contexts, std::string> made = read(config);
  if (const auto* const problem = std::get_if<std::string>(&made)) {
    throw std::runtime_error(*problem);
  }
  contexts_ = std::get<Contexts>(std::move(made));
}

std::unique_ptr<tls::Engine> TlsStore::engine_to_client(bool direct) const {
  tls::EngineOptions options;
  options.require_alpn = direct;
  const std::lock_guard lock(mutex_);
  return std::make_unique<tls::Engine>(contexts_.clients, options);
}

std::unique_ptr<tls::Engine> TlsStore::engine_to(const config::Cluster& cluster,
                                                 const config::Coordinator& host) const {
  tls::EngineOptions options;
  options.host = host.tls_name.empty() ? host.host : host.tls_name;
  options.verify_host = cluster.tls.mode == TlsMode::verify_full;
  options.send_sni = cluster.tls.send_sni;
  const std::lock_guard lock(mutex_);
  const auto found = contexts_.clusters.find(cluster.name);
  if (found == contexts_.clusters.end()) {
    throw std::logic_error("TLS to a cluster that has no TLS");
  }
  return std::make_unique<tls::Engine>(found->second, options);
}

void TlsStore::install(Contexts contexts) {
  const std::lock_guard lock(mutex_);
  if (!contexts.clients) contexts.clients = contexts_.clients;
  contexts.clusters.merge(contexts_.clusters);
  std::swap(contexts_, contexts);
}

std::vector<TlsStore::Expiry> TlsStore::expiries(const config::Config& config) const {
  const std::lock_guard lock(mutex_);
  std::vector<Expiry> expiries;
  const auto add = [&](const std::string& use, const std::shared_ptr<const tls::Context>& context) {
    if (context && context->not_after()) expiries.push_back({use, *context->not_after()});
  };
  if (config.client_tls.mode != TlsMode::disable) add("clients", contexts_.clients);
  for (const config::Cluster& cluster : config.clusters) {
    const auto found = contexts_.clusters.find(cluster.name);
    if (cluster.tls.mode != TlsMode::disable && found != contexts_.clusters.end()) {
      add("cluster " + cluster.name, found->second);
    }
  }
  return expiries;
}

}  // namespace dwspool::proxy
