// `dwspool top`: what a dwspool is doing, refreshed on the terminal, or written line by line.
#pragma once

#include "dwspool/config/config.h"

#include "app/console_client.h"
#include "app/options.h"

namespace dwspool::app {

// Where the console of a dwspool of this configuration is, and the first user that may see it.
// False, with the reason, when nobody may.
bool console_of(const config::Config& config, ConnectionParameters& parameters,
                std::string& problem);

// The exit status: 0, 1 when there is no connection, 128 and a signal's number.
int top(const TopCommand& command, ConnectionParameters parameters);

}  // namespace dwspool::app
