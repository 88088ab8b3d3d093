#include "app/serve.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>

#include <sys/prctl.h>
#include <sys/resource.h>

#include "dwspool/auth/digest.h"
#include "dwspool/metrics/exposition.h"

#include "dwspool/net/signal.h"
#include "dwspool/net/work.h"

#include "dwspool/admin/http_server.h"
#include "dwspool/proxy/database_facts.h"
#include "dwspool/proxy/server.h"
#include "dwspool/proxy/status_report.h"

#include "app/handover.h"
#include "app/inherited.h"
#include "app/notify.h"
#include "app/reload.h"
#include "app/version.h"
#include "app/watchdog.h"

namespace dwspool::app {
namespace {

constexpr std::size_t mock_secret_size = 32;
// A loop that has not turned for this long is not healthy.
constexpr std::int64_t heartbeat_limit_seconds = 30;

// Files beyond clients and backends: listeners, logs, event loops, probes.
constexpr std::uint64_t spare_files = 256;

TimePoint monotonic_now() {
  return TimePoint(std::chrono::steady_clock::now().time_since_epoch());
}

void raise_file_limit(const config::Config& config, Log& log) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  const std::uint64_t wanted = config.max_client_conn + spare_files;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) {
    log.write(LogLevel::warning, "process.file_limit",
              "the limit of open files is too low for max_client_conn",
              {{"limit", static_cast<std::int64_t>(limit.rlim_max)},
               {"wanted", static_cast<std::int64_t>(wanted)}});
  }
}

// Empty when every worker's loop turns.
std::string health_of(const metrics::Registry& registry) {
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(monotonic_now().time_since_epoch()).count();
  const auto workers = registry.workers();
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (workers[i] == nullptr) continue;
    const std::int64_t silent = now - workers[i]->heartbeat.value();
    if (silent > heartbeat_limit_seconds) {
      return "worker " + std::to_string(i) + " has not turned for " + std::to_string(silent) + " s";
    }
  }
  return {};
}

// Empty when clients can be served: not on the way out, and some coordinator answers (or none
// has been tried yet).
std::string readiness_of(const proxy::Hub& hub) {
  if (hub.draining.load(std::memory_order_relaxed)) return "shutting down";
  if (std::string sick = health_of(hub.metrics); !sick.empty()) return sick;
  bool tried = false;
  for (const auto& [key, blocks] : hub.metrics.coordinators()) {
    for (const auto& block : blocks) {
      if (block == nullptr) continue;
      if (block->up.value() == 1 || block->connections.value() > 0) return {};
      tried = tried || block->failed.value() + block->probe_failures.value() > 0;
    }
  }
  return tried ? "no coordinator answers" : "";
}

const char* stop_text(proxy::Stop how) {
  switch (how) {
    case proxy::Stop::after_clients:
      return "no new clients; the others end at their next transaction boundary";
    case proxy::Stop::after_servers:
      return "no new clients and no new transactions; the end comes with that of the last one";
    case proxy::Stop::at_once:
      break;
  }
  return "all connections are closed now";
}

void add_pgbouncer_facts(metrics::ProcessFacts& facts, const proxy::Hub& hub) {
  const std::shared_ptr<const config::Config> config = hub.config();
  facts.pgbouncer_names = config->http.pgbouncer_metrics;
  if (!facts.pgbouncer_names) return;
  std::set<std::string> named;
  for (const auto& [key, blocks] : hub.metrics.pools()) named.insert(key.database);
  for (const auto& row : proxy::database_facts(*config, *hub.gates.current(), named)) {
    facts.databases.push_back({row.name, row.hosts, row.port, row.database, row.force_user,
                               row.pool_mode, row.pool_size, row.reserve_pool_size, row.paused,
                               row.disabled});
  }
}

std::unique_ptr<admin::HttpServer> start_http(proxy::Hub& hub, proxy::StatusReport& status,
                                              double start_time) {
  const config::HttpEndpoint endpoint = hub.config()->http;
  if (endpoint.host.empty()) return nullptr;
  admin::HttpSources sources;
  sources.metrics = [&hub, start_time] {
    metrics::ProcessFacts facts;
    facts.version = version;
    facts.start_time_seconds = start_time;
    facts.max_clients = hub.config()->max_client_conn;
    facts.reloads_good = hub.reloads.good;
    facts.reloads_bad = hub.reloads.bad;
    facts.last_reload_was_good = hub.reloads.last_was_good;
    facts.last_good_reload_seconds = static_cast<double>(hub.reloads.last_good_at);
    facts.draining = hub.draining.load(std::memory_order_relaxed);
    for (const proxy::TlsStore::Expiry& each : hub.tls.expiries(*hub.config())) {
      facts.certificates.emplace_back(each.use, each.not_after);
    }
    add_pgbouncer_facts(facts, hub);
    return metrics::render(hub.metrics, facts, monotonic_now());
  };
  sources.health = [&hub] { return health_of(hub.metrics); };
  sources.readiness = [&hub] { return readiness_of(hub); };
  sources.status = [&status] { return status.json(); };
  return std::make_unique<admin::HttpServer>(admin::HttpOptions{endpoint.host, endpoint.port},
                                             std::move(sources));
}

void announce(const proxy::Hub& hub, const proxy::Server& server, const admin::HttpServer* http) {
  for (const net::Address& address : server.addresses()) {
    hub.log.write(LogLevel::info, "listener.open", "listening", {{"address", address.text()}});
  }
  if (http != nullptr) {
    hub.log.write(LogLevel::info, "http.open",
                  "serving /metrics, /healthz, /readyz and the status page",
                  {{"host", hub.config()->http.host}, {"port", std::int64_t{http->port()}}});
  }
  hub.log.write(LogLevel::info, "process.started", "dwspool is ready",
                {{"version", version},
                 {"workers", static_cast<std::int64_t>(hub.config()->workers)},
                 {"config", hub.config()->file}});
}

}  // namespace

int serve(config::Config config) {
  // Passwords are in memory: no core dump shows them, and no other process reads them.
  static_cast<void>(::prctl(PR_SET_DUMPABLE, 0));
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR2}) net::Signal::block(number);
  Inherited inherited = take_inherited();
  const double start_time =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::unique_ptr<Log> log;
  try {
    log = std::make_unique<Log>(config.log);
    prepare_secrets(config);
    metrics::Registry registry;
    proxy::Hub hub(std::make_shared<const config::Config>(std::move(config)), *log, registry,
                   auth::random_bytes(mock_secret_size));
    hub.version = version;
    raise_file_limit(*hub.config(), *log);
    proxy::Server server(hub, std::move(inherited.listeners));
    proxy::StatusReport status(hub, server.workers());
    std::unique_ptr<admin::HttpServer> http = start_http(hub, status, start_time);
    hub.reloads.last_good_at = static_cast<std::int64_t>(start_time);
    Reloader reloader(hub, server);
    hub.control.reload = [&reloader](Reloader::Done done) { reloader.reload(std::move(done)); };

    Handover handover(
        hub, server,
        {.release =
             [&](std::function<void()> done) {
               // Not here: it waits for whoever is reading an answer.
               auto last = std::make_shared<std::unique_ptr<admin::HttpServer>>(std::move(http));
               net::run_in_background(
                   server.loop(), [last] { last->reset(); }, std::move(done));
             },
         .restore =
             [&] {
               try {
                 http = start_http(hub, status, start_time);
               } catch (const std::exception& error) {
                 log->write(LogLevel::error, "http.failed", error.what());
               }
             }});

    const auto end = [&](const char* name, proxy::Stop how) {
      log->write(LogLevel::info, "process.stopping", stop_text(how), {{"cause", name}});
      if (!handover.done()) notify_service_manager("STOPPING=1");
      server.shut_down(how);
    };
    using proxy::Stop;
    hub.control.stop = [&](Stop how) { end("SHUTDOWN", how); };
    const net::Signal terminate(server.loop(), SIGTERM,
                                [&] { end("SIGTERM", Stop::after_clients); });
    const net::Signal interrupt(server.loop(), SIGINT, [&] { end("SIGINT", Stop::after_servers); });
    const net::Signal quit(server.loop(), SIGQUIT, [&] { end("SIGQUIT", Stop::at_once); });

    const net::Signal take_over(server.loop(), SIGUSR2, [&] { handover.start(); });
    const net::Signal hang_up(server.loop(), SIGHUP, [&] {
      if (handover.has_new_file()) return handover.start();
      reloader.reload([](const proxy::Hub::Complaints&) {});
    });

    announce(hub, server, http.get());
    notify_service_manager("READY=1");
    if (inherited.channel) server.take_over(std::move(inherited.channel));
    const Watchdog watchdog(server.loop(), [&] { return health_of(registry).empty(); });
    server.run();
    log->write(LogLevel::info, "process.stopped", "dwspool has ended");
    return 0;
  } catch (const std::exception& error) {
    if (log) log->write(LogLevel::error, "process.failed", error.what());
    std::fprintf(stderr, "dwspool: %s\n", error.what());
    return 1;
  }
}

}  // namespace dwspool::app
