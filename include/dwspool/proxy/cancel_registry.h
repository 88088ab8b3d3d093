// Whom a CancelRequest means: the keys that clients were given, over all workers. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "dwspool/base/ids.h"

#include "dwspool/wire/messages.h"

namespace dwspool::proxy {

class CancelRegistry {
 public:
  static constexpr std::size_t secret_size = 4;  // of every key that is given out
  struct Target {
    std::size_t worker = 0;
    ClientId client;
  };

  // A key that nobody has, for this client; it stays the client's until remove(). `pid`: which
  // one it shall show, of the backend that the client is going to have; several clients may show
  // the same one. 0: one of our own making.
  wire::KeyData add(Target target, std::uint32_t pid = 0);
  // A key that another process has given out. False when somebody has it.
  bool add_known(Target target, const wire::KeyData& key);
  void remove(const wire::KeyData& key);

  // Nothing unless pid and secret are both right; compares the secret in constant time.
  std::optional<Target> find(std::uint32_t pid, const std::string& secret) const;

 private:
  struct Entry {
    std::string secret;
    Target target;
  };
  bool is_taken(const wire::KeyData& key) const;

  mutable std::mutex mutex_;
  std::unordered_multimap<std::uint32_t, Entry> by_pid_;
};

}  // namespace dwspool::proxy
