#include "dwspool/config/reload.h"

#include <algorithm>
#include <utility>

#include "config/endpoint.h"

namespace dwspool::config {
namespace {

template <class Value>
void keep(const Value& running, Value& wanted, std::string key, ReloadPlan& plan) {
  if (running == wanted) return;
  wanted = running;
  plan.needs_restart.push_back(std::move(key));
}

// A socket that is listened on cannot be opened a second time with other options.
void keep_listeners(const Config& running, ReloadPlan& plan) {
  for (Listener& listener : plan.config.listeners) {
    const auto same = std::find_if(
        running.listeners.begin(), running.listeners.end(), [&](const Listener& other) {
          return other.host == listener.host && other.unix_dir == listener.unix_dir &&
                 other.port == listener.port;
        });
    if (same == running.listeners.end()) continue;
    const std::string place =
        "listen[" +
        join_host_port(listener.is_unix() ? listener.unix_dir : listener.host, listener.port) + "]";
    keep(same->unix_mode, listener.unix_mode, place + ".mode", plan);
    keep(same->backlog, listener.backlog, place + ".backlog", plan);
    keep(same->proxies, listener.proxies, place + ".proxy_protocol", plan);
  }
}

// Making one takes milliseconds.
void keep_verifiers(const Config& running, Config& wanted) {
  for (User& user : wanted.users) {
    const User* before = running.find_user(user.name);
    if (before == nullptr || before->name != user.name) continue;
    const auth::UserSecret& known = before->secret;
    const bool same = known.kind == auth::UserSecret::Kind::plain &&
                      user.secret.kind == known.kind && known.plain == user.secret.plain;
    if (same && !user.secret.scram) user.secret.scram = known.scram;
  }
}

}  // namespace

ReloadPlan plan_reload(const Config& running, Config wanted) {
  ReloadPlan plan{std::move(wanted), {}};
  keep(running.workers, plan.config.workers, "workers", plan);
  keep(running.http, plan.config.http, "http", plan);
  keep(running.log.format, plan.config.log.format, "log.format", plan);
  keep(running.log.file, plan.config.log.file, "log.file", plan);
  keep_listeners(running, plan);
  keep_verifiers(running, plan.config);
  return plan;
}

}  // namespace dwspool::config
