// Telling the service manager (sd_notify's protocol: one datagram to $NOTIFY_SOCKET).
#pragma once

#include <string_view>

namespace dwspool::app {

// "READY=1", "STOPPING=1", "STATUS=...". Without a service manager nothing happens.
void notify_service_manager(std::string_view state);

// The configuration is being read; READY=1 ends that. Also what Type=notify-reload waits for.
void notify_reloading();

}  // namespace dwspool::app
