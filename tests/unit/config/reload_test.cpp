// What of another configuration can hold while the process runs.
#include "dwspool/config/reload.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

using Keys = std::vector<std::string>;

Config some_config() {
  return loaded(Parts{}.text());
}

TEST_CASE("what a restart alone changes keeps its value, and is named") {
  const Config running = some_config();
  Config wanted = running;
  wanted.workers = 4;
  wanted.http = {"127.0.0.1", 9187};
  wanted.log.format = LogFormat::json;
  wanted.log.file = "/var/log/dwspool";
  wanted.log.level = LogLevel::debug;
  wanted.max_client_conn = 7;
  const ReloadPlan plan = plan_reload(running, wanted);
  CHECK(plan.needs_restart == Keys{"workers", "http", "log.format", "log.file"});
  CHECK(plan.config.workers == running.workers);
  CHECK(plan.config.http == running.http);
  CHECK(plan.config.log.format == running.log.format);
  CHECK(plan.config.log.file.empty());
  CHECK(plan.config.log.level == LogLevel::debug);
  CHECK(plan.config.max_client_conn == 7);
}

TEST_CASE("the same file needs no restart") {
  const Config running = some_config();
  CHECK(plan_reload(running, running).needs_restart.empty());
}

TEST_CASE("addresses come and go; one that stays keeps its options") {
  Config running = some_config();
  running.listeners[0].backlog = 10;
  Config wanted = running;
  wanted.listeners[0].backlog = 20;
  Listener local;
  local.unix_dir = "/run/dwspool";
  wanted.listeners.push_back(local);
  const ReloadPlan plan = plan_reload(running, wanted);
  CHECK(plan.needs_restart == Keys{"listen[127.0.0.1:6432].backlog"});
  REQUIRE(plan.config.listeners.size() == 2);
  CHECK(plan.config.listeners[0] == running.listeners[0]);
  CHECK(plan.config.listeners[1] == local);
  const ReloadPlan back = plan_reload(plan.config, running);
  CHECK(back.needs_restart.empty());
  CHECK(back.config.listeners.size() == 1);
}

TEST_CASE("a verifier that was made of a password stays with this password") {
  Config running = some_config();
  auth::add_verifier(running.users[0].secret, "salt");
  REQUIRE(running.users[0].secret.scram);
  Config wanted = some_config();
  ReloadPlan plan = plan_reload(running, wanted);
  REQUIRE(plan.config.users[0].secret.scram);
  CHECK(plan.config.users[0].secret.scram->salt == running.users[0].secret.scram->salt);
  wanted.users[0].secret.plain = Secret(std::string("another one"));
  plan = plan_reload(running, wanted);
  CHECK_FALSE(plan.config.users[0].secret.scram);
}

TEST_CASE("a verifier is not taken from the entry that stands for every name") {
  Config running = some_config();
  running.users[0].name = "*";
  auth::add_verifier(running.users[0].secret, "salt");
  CHECK_FALSE(plan_reload(running, some_config()).config.users[0].secret.scram);
}

}  // namespace
}  // namespace dwspool::config::testing
