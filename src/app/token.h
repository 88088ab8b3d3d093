// `dwspool token`: the table that level `token` of replay wants (doc/replay.md).
#pragma once

#include "app/options.h"

namespace dwspool::app {

// The exit code; what is done, and what is wrong, is printed.
int token(const TokenCommand& command);

}  // namespace dwspool::app
