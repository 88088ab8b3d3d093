// Addresses of networks as they are written.
#pragma once

#include <string>
#include <string_view>

#include "dwspool/base/result.h"

#include "dwspool/auth/access.h"

namespace dwspool::config {

using auth::Network;

// "192.0.2.0/24", "2001:db8::/32"; a single address when there is no length.
Result<Network> parse_network(std::string_view text);
// An address and its mask: "192.0.2.0", "255.255.255.0".
Result<Network> parse_network(std::string_view address, std::string_view mask);

}  // namespace dwspool::config
