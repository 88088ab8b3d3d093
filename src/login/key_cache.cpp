#include "dwspool/login/key_cache.h"

#include "dwspool/auth/digest.h"

namespace dwspool::login {
namespace {

// Salted, so that the cache is no table of password hashes.
std::string digest_of(const Derivation& work) {
  return auth::hmac_sha256(work.salt, work.password.reveal());
}

}  // namespace

std::optional<DerivedKeys> KeyCache::find(const std::string& account,
                                          const Derivation& work) const {
  const auto found = entries_.find(account);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  if (entry.kind != work.kind || entry.salt != work.salt || entry.iterations != work.iterations ||
      entry.password_digest != digest_of(work)) {
    return std::nullopt;
  }
  return entry.keys;
}

void KeyCache::store(const std::string& account, const Derivation& work, DerivedKeys keys) {
  entries_.insert_or_assign(
      account, Entry{work.kind, work.salt, work.iterations, digest_of(work), std::move(keys)});
}

void KeyCache::forget(const std::string& account) {
  if (const auto found = entries_.find(account); found != entries_.end()) entries_.erase(found);
}

}  // namespace dwspool::login
