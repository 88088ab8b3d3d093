// The clients that go to the process that takes over: the old one's end of the channel. Lives on
// the first worker's loop; workers post to it.
//
// A client is this process's until the other one has said that it has taken it: if that does not
// happen, it goes on here as if nothing had been.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dwspool/base/ids.h"
#include "dwspool/base/log.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/wire/messages.h"

#include "dwspool/net/fd_channel.h"
#include "dwspool/net/loop.h"

namespace dwspool::proxy {

class Worker;

class Departures {
 public:
  // `on_cancel`: the other process was asked to cancel what a client of this one runs.
  Departures(Log& log, net::Loop& loop, UniqueFd channel,
             const std::vector<std::unique_ptr<Worker>>& workers,
             std::function<void(const wire::KeyData&)> on_cancel);
  Departures(const Departures&) = delete;
  Departures& operator=(const Departures&) = delete;

  // The process ends: says how many have gone.
  void finish();
  // The workers look again who can go.
  void sweep();
  // One goes: `record` is what encode() has made of it, `socket` its connection.
  void send(std::size_t worker, ClientId client, std::string record, UniqueFd socket);

 private:
  struct Leaving {
    std::size_t worker = 0;
    ClientId client;
  };
  void on_message(std::string_view bytes);
  void on_closed();
  void settle(std::uint64_t number, bool taken);

  Log& log_;
  const std::vector<std::unique_ptr<Worker>>& workers_;
  std::function<void(const wire::KeyData&)> on_cancel_;
  std::unordered_map<std::uint64_t, Leaving> leaving_;
  std::uint64_t last_ = 0;
  std::int64_t taken_ = 0;
  std::int64_t refused_ = 0;
  bool closed_ = false;
  net::FdChannel channel_;
};

}  // namespace dwspool::proxy
