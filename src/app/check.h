// `dwspool check`: does what the configuration says really work?
#pragma once

#include "dwspool/config/config.h"

namespace dwspool::app {

// Tries every coordinator with every user whose password is known, and, through libpq as an
// application would, the dwspool that runs with this configuration. Prints a table with what to
// change, or the same as JSON. Returns the exit status: 0 when everything that was tried works.
int check(const config::Config& config, bool json);

}  // namespace dwspool::app
