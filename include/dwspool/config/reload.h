// A running process gets another configuration: what of it can hold from now on.
#pragma once

#include <string>
#include <vector>

#include "dwspool/config/config.h"

namespace dwspool::config {

struct ReloadPlan {
  // What is to hold: as wanted, but for what only a restart changes, which is as running.
  Config config;
  // The keys that a restart would change: "workers", "listen[127.0.0.1:6432].backlog" ...
  std::vector<std::string> needs_restart;
};

// SCRAM verifiers that the running configuration has made of passwords go over to the users who
// still have these.
ReloadPlan plan_reload(const Config& running, Config wanted);

}  // namespace dwspool::config
