#include "dwspool/proxy/tls_store.h"

#include <stdexcept>
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

TlsStore::TlsStore(std::shared_ptr<const config::Config> config) : config_(std::move(config)) {
  if (const std::string problem = read(contexts_); !problem.empty()) {
    throw std::runtime_error(problem);
  }
}

std::string TlsStore::read(Contexts& contexts) const {
  if (config_->client_tls.mode != TlsMode::disable) {
    std::string problem =
        take(tls::Context::server(config_->client_tls.options), "tls.", contexts.clients);
    if (!problem.empty()) return problem;
  }
  for (const config::Cluster& cluster : config_->clusters) {
    std::shared_ptr<const tls::Context>& context = contexts.clusters.emplace_back();
    if (cluster.tls.mode == TlsMode::disable) continue;
    std::string problem = take(tls::Context::client(cluster.tls.options),
                               "clusters." + cluster.name + ".tls.", context);
    if (!problem.empty()) return problem;
  }
  return {};
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
  for (std::size_t i = 0; i < config_->clusters.size(); ++i) {
    if (config_->clusters[i].name != cluster.name) continue;
    return std::make_unique<tls::Engine>(contexts_.clusters[i], options);
  }
  throw std::logic_error("TLS to a cluster that is not configured");
}

std::string TlsStore::reload() {
  Contexts contexts;
  std::string problem = read(contexts);
  if (!problem.empty()) return problem;
  const std::lock_guard lock(mutex_);
  std::swap(contexts_, contexts);
  return {};
}

std::vector<TlsStore::Expiry> TlsStore::expiries() const {
  const std::lock_guard lock(mutex_);
  std::vector<Expiry> expiries;
  const auto add = [&](const std::string& use, const std::shared_ptr<const tls::Context>& context) {
    if (context && context->not_after()) expiries.push_back({use, *context->not_after()});
  };
  add("clients", contexts_.clients);
  for (std::size_t i = 0; i < contexts_.clusters.size(); ++i) {
    add("cluster " + config_->clusters[i].name, contexts_.clusters[i]);
  }
  return expiries;
}

}  // namespace dwspool::proxy
