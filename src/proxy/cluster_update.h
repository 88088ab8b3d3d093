// How the state of a cluster is changed.
#pragma once

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "dwspool/proxy/cluster_state.h"

namespace dwspool::proxy {

// The lock, and what follows when it is let go: the view is published, events are logged, and
// those who should know are told.
class ClusterState::Update {
 public:
  explicit Update(ClusterState& state) : state_(state), lock_(state.mutex_) {}
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;
  ~Update() {
    const bool changed = state_.publish();
    const TimePoint next = state_.topology_.next_deadline();
    const bool wake = std::exchange(state_.wake_, false) || next < state_.prober_wakes_;
    state_.prober_wakes_ = std::min(next, state_.prober_wakes_);
    const std::vector<cluster::Event> events = state_.topology_.take_events();
    lock_.unlock();
    state_.log_events(events);
    if (changed && state_.listener_.changed) state_.listener_.changed();
    if (wake && state_.listener_.wake) state_.listener_.wake();
  }

 private:
  ClusterState& state_;
  std::unique_lock<std::mutex> lock_;
};

}  // namespace dwspool::proxy
