// What addresses a name has.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dwspool/net/address.h"
#include "dwspool/net/loop.h"

namespace dwspool::net {

class Resolver {
 public:
  // Called once, on the loop, never from within the constructor: with addresses, each once and in
  // the order in which to try them, or with the reason why there are none.
  using Done = std::function<void(std::vector<Address>, const std::string& error)>;

  // `host`: a name, an address, or the directory of a Unix socket. The system's resolver is asked
  // in a thread of its own, and may take for ever: that holds up nothing else, neither other names
  // nor the end of the process, and how long to wait is the caller's to decide.
  // Destroying the resolver gives up; `done` is not called then. It may be destroyed within `done`.
  Resolver(Loop& loop, const std::string& host, std::uint16_t port, Done done);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // The address of what needs no look-up: a numeric one, or a Unix socket's. Nothing for a name.
  static std::vector<Address> known(const std::string& host, std::uint16_t port);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dwspool::net
