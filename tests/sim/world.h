// One schedule: a cluster, a pooler and its clients, and a scheduler that picks what happens next
// until all is done or a promise is broken.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/client.h"
#include "sim/context.h"
#include "sim/network.h"
#include "sim/server.h"
#include "sim/shell.h"

namespace dwspool::sim {

struct Outcome {
  bool violated = false;
  std::string what;
  std::uint64_t steps = 0;
  std::uint64_t broken_times = 0;
  std::vector<std::string> trace;
};

struct Schedule {
  std::uint64_t seed = 1;
  Broken broken = Broken::nothing;
  bool long_one = false;  // more clients, which say more
};
Outcome run_schedule(const Schedule& schedule, bool with_trace);

class World {
 public:
  explicit World(Context& context);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  void run();
  std::uint64_t steps() const { return steps_; }

 private:
  struct Weights {
    unsigned faults = 0;  // of ten thousand steps
    unsigned cancels = 0;
    unsigned clock = 0;
    unsigned reloads = 0;
  };
  void configure();
  bool step();
  bool ordinary_event();
  void fault();
  void cut_a_commit();
  void send_cancel();
  void reload();
  void vary_pool();
  void add_client();
  void advance(TimePoint to);
  void wind_up();
  void sweep();
  void watch_lend(const Back& back);
  void watch_cancel(const ServerProcess& process);
  void watch_row(std::uint64_t row);
  void begin_trouble();
  void check_order();
  void check_waits();
  void check_end();
  std::string name(const Stream& stream) const;

  Context& context_;
  Network network_;
  Cluster cluster_;
  Ledger ledger_;
  ShellOptions shell_options_;
  ClientOptions client_options_;
  std::unique_ptr<Shell> shell_;
  std::vector<std::unique_ptr<Client>> clients_;
  // One for each request to cancel that is on its way.
  struct Canceller;
  std::vector<std::unique_ptr<Canceller>> cancellers_;
  Weights weights_;
  std::map<std::uint64_t, std::vector<std::uint64_t>> durable_;  // rows, by client, in order
  std::size_t clients_left_ = 0;
  std::uint64_t last_client_ = 0;
  std::uint64_t steps_ = 0;
  bool winding_up_ = false;
  // Scratch, so that a step does not allocate.
  std::vector<Stream*> streams_;
  std::vector<ServerProcess*> processes_;
  std::vector<Client*> actors_;
  std::vector<std::function<void()>> connecting_;
};

}  // namespace dwspool::sim
