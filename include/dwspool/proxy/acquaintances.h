// Users that stand in no configuration, by cluster and name: what auth_query has said of them, and
// whom a coordinator has let in. Known for a while, and no more than so many. Thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "dwspool/base/hash.h"
#include "dwspool/base/time.h"

#include "dwspool/auth/credential.h"
#include "dwspool/auth/user_secret.h"
#include "dwspool/config/config.h"

namespace dwspool::proxy {

class Acquaintances {
 public:
  static constexpr std::size_t most = 10000;

  struct Entry {
    auth::UserSecret secret;      // what a client must prove to know; kind none: nobody can
    auth::Credential credential;  // what a coordinator was satisfied with; empty of auth_query
    TimePoint since;
    TimePoint until;
  };

  std::optional<Entry> find(const std::string& name, TimePoint now) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name);
    if (found == entries_.end() || found->second.until <= now) return std::nullopt;
    return found->second;
  }
  void store(const std::string& name, Entry entry) {
    const std::lock_guard lock(mutex_);
    if (entries_.insert_or_assign(name, std::move(entry)).second) order_.push_back(name);
    while (order_.size() > most) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }
  // It may not be true any more.
  void forget(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(name); found != entries_.end()) found->second = Entry();
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    entries_.clear();
    order_.clear();
  }

 private:
  mutable std::mutex mutex_;
  StringMap<Entry> entries_;
  std::deque<std::string> order_;  // as they were entered
};

inline std::string acquaintance_name(const config::Cluster& cluster, const std::string& user) {
  return cluster.name + '\0' + user;
}

}  // namespace dwspool::proxy
