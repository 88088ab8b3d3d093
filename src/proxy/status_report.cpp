#include "dwspool/proxy/status_report.h"

#include <chrono>
#include <utility>

#include "dwspool/console/facts.h"
#include "dwspool/console/status.h"
#include "dwspool/proxy/process_facts.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

TimePoint monotonic_now() {
  return TimePoint(std::chrono::steady_clock::now().time_since_epoch());
}

// Filled by the workers, one after the other; outlives who has asked for it.
struct Gathering {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t missing = 0;
  std::vector<bool> answered;
  console::Facts facts;
};

}  // namespace

std::string StatusReport::json() {
  {
    std::unique_lock lock(mutex_);
    made_.wait(lock, [this] { return !busy_ || !text_.empty(); });
    if (busy_ || (!text_.empty() && monotonic_now() - made_at_ < shelf_life)) return text_;
    busy_ = true;
  }
  std::string text;
  try {
    text = make();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    busy_ = false;
    made_.notify_all();
    throw;
  }
  const std::lock_guard lock(mutex_);
  busy_ = false;
  text_ = std::move(text);
  made_at_ = monotonic_now();
  made_.notify_all();
  return text_;
}

std::string StatusReport::make() {
  auto gathering = std::make_shared<Gathering>();
  gathering->answered.resize(workers_.size(), false);
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (asked_[i] && asked_[i]->load()) continue;
    asked_[i] = std::make_shared<std::atomic<bool>>(true);
    asked.push_back(i);
  }
  gathering->missing = asked.size();
  for (const std::size_t i : asked) {
    workers_[i]->post([gathering, i, waiting = asked_[i]](Worker& worker) {
      waiting->store(false);
      console::Facts piece;
      worker.add_facts(piece, false);
      const std::lock_guard lock(gathering->mutex);
      gathering->facts.merge(std::move(piece));
      gathering->answered[i] = true;
      if (--gathering->missing == 0) gathering->changed.notify_all();
    });
  }
  console::Situation situation;
  console::Facts facts;
  {
    std::unique_lock lock(gathering->mutex);
    gathering->changed.wait_for(lock, patience_, [&] { return gathering->missing == 0; });
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (!gathering->answered[i]) situation.silent.push_back(i);
    }
    facts = gathering->facts;
  }
  add_process_facts(facts, hub_, *hub_.config(), *hub_.gates.current());
  situation.workers = workers_.size();
  situation.draining = hub_.draining.load(std::memory_order_relaxed);
  situation.time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  return console::status_json(facts, situation);
}

}  // namespace dwspool::proxy
