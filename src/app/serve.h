// The daemon's life: from a good configuration to the end of the process.
#pragma once

#include "dwspool/config/config.h"

namespace dwspool::app {

// Returns the exit status.
int serve(config::Config config);

}  // namespace dwspool::app
