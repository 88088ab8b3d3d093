#include "dwspool/proxy/status_report.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

TEST_CASE("status: workers that do not answer are named, and the rest is there") {
  config::Config config;
  config.workers = 2;
  config.max_client_conn = 77;
  Log log({LogLevel::error, LogFormat::text, "/dev/null"});
  metrics::Registry registry;
  Hub hub(std::make_shared<const config::Config>(config), log, registry, "secret");
  hub.version = "1.2.3";
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t i = 0; i < config.workers; ++i) {
    workers.push_back(std::make_unique<Worker>(hub, i, workers));
  }
  // Their loops do not turn.
  StatusReport report(hub, workers, std::chrono::milliseconds{1});
  const std::string text = report.json();
  CHECK(text.find(R"("silent_workers":[0,1])") != std::string::npos);
  CHECK(text.find(R"("version":"dwspool 1.2.3")") != std::string::npos);
  CHECK(text.find(R"("max_clients":77)") != std::string::npos);
  CHECK(report.json() == text);  // it is not old yet
  // Those that turn at last find the question, and whoever has asked it is gone.
  for (const auto& worker : workers) {
    worker->post([](Worker& self) { self.stop(); });
    worker->run();
  }
}

}  // namespace dwspool::proxy
