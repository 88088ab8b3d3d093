// Reading the configuration anew while clients are served.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dwspool/config/config.h"
#include "dwspool/config/load.h"

#include "dwspool/proxy/server.h"

namespace dwspool::app {

// SCRAM needs verifiers; making one takes milliseconds, which no client should wait for.
void prepare_secrets(config::Config& config);

// All on the first worker's thread, but for the reading itself.
class Reloader {
 public:
  using Done = std::function<void(const proxy::Hub::Complaints& complaints)>;

  Reloader(proxy::Hub& hub, proxy::Server& server) : hub_(hub), server_(server) {}

  // Reads the file that dwspool was started with, and puts it into force if nothing is wrong with
  // it; else nothing changes. Both is logged and counted. Requests that come meanwhile are
  // answered by one more reading.
  void reload(Done done);

 private:
  void start();
  void finish(config::LoadResult& result);
  proxy::Hub::Complaints apply(config::LoadResult& result);

  proxy::Hub& hub_;
  proxy::Server& server_;
  std::vector<Done> waiting_;  // for the next reading
  std::vector<Done> asked_;    // for the one under way
  bool running_ = false;
};

}  // namespace dwspool::app
