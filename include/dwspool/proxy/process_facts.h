// What the console and the status page show of the process as a whole: from the hub, and so from
// any thread.
#pragma once

#include "dwspool/config/config.h"

#include "dwspool/console/facts.h"
#include "dwspool/proxy/gates.h"

namespace dwspool::proxy {

struct Hub;

// `facts` has what the workers know; the rest is added.
void add_process_facts(console::Facts& facts, const Hub& hub, const config::Config& config,
                       const Gates& gates);

}  // namespace dwspool::proxy
