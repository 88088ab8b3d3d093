// What the configuration and the console's commands say of the databases that clients may name.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "dwspool/config/config.h"

#include "dwspool/console/facts.h"
#include "dwspool/proxy/gates.h"

namespace dwspool::proxy {

// Those of the configuration, and `others`, which clients have named for its "*".
std::vector<console::DatabaseFacts> database_facts(const config::Config& config, const Gates& gates,
                                                   const std::set<std::string>& others);

}  // namespace dwspool::proxy
