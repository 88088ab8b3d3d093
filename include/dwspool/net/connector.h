// Making one connection: resolves a name if it must, and tries its addresses in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dwspool/base/unique_fd.h"

#include "dwspool/net/address.h"
#include "dwspool/net/loop.h"

namespace dwspool::net {

class Connector {
 public:
  // Called once, on the loop: with a connected socket, or with the reason why there is none.
  using Done = std::function<void(UniqueFd, const std::string& error)>;

  // `host`: a name, an address, or the directory of a Unix socket. Destroying the connector
  // gives up; `done` is not called then. The time it may take is the caller's to bound.
  Connector(Loop& loop, const std::string& host, std::uint16_t port, Done done);
  // To one of these, without a look-up.
  Connector(Loop& loop, std::vector<Address> addresses, Done done);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dwspool::net
