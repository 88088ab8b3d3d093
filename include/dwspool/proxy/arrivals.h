// The clients that come from the process that this one takes over from: the new one's end of the
// channel. Lives on the first worker's loop, which serves no earlier than the object is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "dwspool/base/ids.h"
#include "dwspool/base/log.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/wire/messages.h"

#include "dwspool/net/fd_channel.h"
#include "dwspool/net/loop.h"

namespace dwspool::proxy {

class Worker;

class Arrivals {
 public:
  // Says that this process serves. `on_end`: the other one has ended, or does not know of clients
  // that go over; the object may be destroyed from within.
  Arrivals(Log& log, net::Loop& loop, UniqueFd channel,
           const std::vector<std::unique_ptr<Worker>>& workers, std::function<void()> on_end);
  ~Arrivals();
  Arrivals(const Arrivals&) = delete;
  Arrivals& operator=(const Arrivals&) = delete;

  // For a client that this process does not know.
  void pass_on(const wire::KeyData& cancel);

 private:
  void on_message(std::string_view bytes, UniqueFd fd);
  void take(std::uint64_t number, std::string_view bytes, UniqueFd socket);
  void on_adopted(std::uint64_t number, std::size_t worker, ClientId client);

  Log& log_;
  const std::vector<std::unique_ptr<Worker>>& workers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::size_t next_worker_ = 0;
  std::int64_t taken_ = 0;
  net::FdChannel channel_;
};

}  // namespace dwspool::proxy
