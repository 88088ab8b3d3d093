// What the console shows of a socket, and how it names connections.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dwspool/base/time.h"

#include "dwspool/net/address.h"

#include "dwspool/console/facts.h"

namespace dwspool::proxy {

void set_endpoints(console::ConnectionFacts& facts, int fd, const net::Address& peer);

// A monotonic time as microseconds since the epoch.
std::int64_t wall_microseconds(TimePoint time, TimePoint now);

// Not an address: those are nobody's business.
std::uint64_t pointer_of(std::size_t worker, bool client, std::uint32_t slot);

}  // namespace dwspool::proxy
