// What administrators have closed: databases that are paused or disabled. A value; workers get a
// new one when something changes.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace dwspool::proxy {

struct Gates {
  bool paused_all = false;
  bool suspended = false;                       // nothing is read from anybody
  std::set<std::string, std::less<>> paused;    // databases, as clients call them
  std::set<std::string, std::less<>> disabled;  // nobody new comes in

  bool is_paused(std::string_view database) const {
    return paused_all || suspended || paused.contains(database);
  }
};
using GatesPtr = std::shared_ptr<const Gates>;

// The one of the process. Thread-safe.
class GateKeeper {
 public:
  GatesPtr current() const {
    const std::lock_guard lock(mutex_);
    return gates_;
  }
  template <class Change>
  GatesPtr change(Change&& change) {
    const std::lock_guard lock(mutex_);
    Gates gates = *gates_;
    std::forward<Change>(change)(gates);
    gates_ = std::make_shared<const Gates>(std::move(gates));
    return gates_;
  }

 private:
  mutable std::mutex mutex_;
  GatesPtr gates_ = std::make_shared<const Gates>();
};

}  // namespace dwspool::proxy
