#include "dwspool/proxy/cancel_registry.h"

#include <algorithm>

#include "dwspool/wire/cursor.h"

#include "dwspool/auth/digest.h"

namespace dwspool::proxy {
namespace {

constexpr std::uint32_t pid_mask = 0x7fffffff;  // clients print it as a signed number

}  // namespace

wire::KeyData CancelRegistry::add(Target target, std::uint32_t pid) {
  const std::lock_guard lock(mutex_);
  while (true) {
    const std::string random = auth::random_bytes(4 + secret_size);
    wire::KeyData key{pid, random.substr(4)};
    if (pid == 0) {
      key.pid = wire::load_u32(random.data()) & pid_mask;
      if (key.pid == 0 || by_pid_.contains(key.pid)) continue;
    }
    if (is_taken(key)) continue;
    by_pid_.emplace(key.pid, Entry{key.secret, target});
    return key;
  }
}

bool CancelRegistry::add_known(Target target, const wire::KeyData& key) {
  const std::lock_guard lock(mutex_);
  if (is_taken(key)) return false;
  by_pid_.emplace(key.pid, Entry{key.secret, target});
  return true;
}

bool CancelRegistry::is_taken(const wire::KeyData& key) const {
  const auto [first, last] = by_pid_.equal_range(key.pid);
  return std::any_of(first, last,
                     [&](const auto& entry) { return entry.second.secret == key.secret; });
}

void CancelRegistry::remove(const wire::KeyData& key) {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = by_pid_.equal_range(key.pid);
  const auto found = std::find_if(
      first, last, [&](const auto& entry) { return entry.second.secret == key.secret; });
  if (found != last) by_pid_.erase(found);
}

std::optional<CancelRegistry::Target> CancelRegistry::find(std::uint32_t pid,
                                                           const std::string& secret) const {
  const std::lock_guard lock(mutex_);
  std::optional<Target> target;
  const auto [first, last] = by_pid_.equal_range(pid);
  for (auto entry = first; entry != last; ++entry) {
    if (auth::equal_in_constant_time(entry->second.secret, secret)) target = entry->second.target;
  }
  return target;
}

}  // namespace dwspool::proxy
