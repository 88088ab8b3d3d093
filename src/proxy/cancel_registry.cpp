#include "dwspool/proxy/cancel_registry.h"

#include "dwspool/wire/cursor.h"

#include "dwspool/auth/digest.h"

namespace dwspool::proxy {
namespace {

constexpr std::size_t secret_size = 4;
constexpr std::uint32_t pid_mask = 0x7fffffff;  // clients print it as a signed number

}  // namespace

wire::KeyData CancelRegistry::add(Target target) {
  const std::lock_guard lock(mutex_);
  while (true) {
    const std::string random = auth::random_bytes(4 + secret_size);
    const std::uint32_t pid = wire::load_u32(random.data()) & pid_mask;
    if (pid == 0 || by_pid_.contains(pid)) continue;
    wire::KeyData key{pid, random.substr(4)};
    by_pid_.emplace(pid, Entry{key.secret, target});
    return key;
  }
}

void CancelRegistry::remove(const wire::KeyData& key) {
  const std::lock_guard lock(mutex_);
  by_pid_.erase(key.pid);
}

std::optional<CancelRegistry::Target> CancelRegistry::find(std::uint32_t pid,
                                                           const std::string& secret) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_pid_.find(pid);
  if (found == by_pid_.end() || !auth::equal_in_constant_time(found->second.secret, secret)) {
    return std::nullopt;
  }
  return found->second.target;
}

}  // namespace dwspool::proxy
