// Telling the service manager (sd_notify's protocol: one datagram to $NOTIFY_SOCKET).
#pragma once

#include <string_view>

namespace dwspool::app {

// "READY=1", "STOPPING=1", "STATUS=...". Without a service manager nothing happens.
void notify_service_manager(std::string_view state);

}  // namespace dwspool::app
