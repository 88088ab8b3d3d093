// What the whole process is doing, for those who ask from outside of its loops (HTTP).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dwspool/base/time.h"

namespace dwspool::proxy {

struct Hub;
class Worker;

class StatusReport {
 public:
  StatusReport(const Hub& hub, const std::vector<std::unique_ptr<Worker>>& workers,
               Duration patience = std::chrono::seconds{1})
      : hub_(hub), workers_(workers), patience_(patience), asked_(workers.size()) {}

  // See console/status.h. From any thread but a worker's; the workers live as long. However many
  // ask, the workers are bothered every `shelf_life` at most, and one asker at most waits for them:
  // `patience` at most, then the silent ones are named and left out. The others get what was known
  // before.
  std::string json();

 private:
  static constexpr Duration shelf_life = std::chrono::milliseconds{500};

  std::string make();

  const Hub& hub_;
  const std::vector<std::unique_ptr<Worker>>& workers_;
  const Duration patience_;
  std::mutex mutex_;
  std::condition_variable made_;
  bool busy_ = false;
  std::string text_;
  TimePoint made_at_;
  // By worker: set until it has seen the question. Who is silent is not asked once more.
  std::vector<std::shared_ptr<std::atomic<bool>>> asked_;
};

}  // namespace dwspool::proxy
