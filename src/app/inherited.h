// Sockets that were open when the process began: from the service manager (socket activation), or
// from the process that hands over.
#pragma once

#include <string>
#include <vector>

#include "dwspool/base/unique_fd.h"

namespace dwspool::app {

// The environment variable that says how many listening sockets a process gets from the one that
// it takes over from; they begin at descriptor 3, and behind them is one end of a net::FdChannel,
// by which it says that it serves, and gets the clients.
inline constexpr const char* handover_variable = "DWSPOOL_HANDOVER";
// Of those that are inherited (sd_listen_fds(3) begins there, too).
inline constexpr int first_descriptor = 3;

struct Inherited {
  std::vector<UniqueFd> listeners;
  UniqueFd channel;  // to the process that hands over, if one does
};

// Takes them, and takes the variables out of the environment that told of them. To be called once,
// before there are threads.
Inherited take_inherited();

}  // namespace dwspool::app
