// Derived keys by role, salt and iteration count: a role's salt is fixed, so that PBKDF2 runs
// once for a role and not once for a connection. Holds keys, never passwords.
//
// Not thread-safe; whoever shares it locks it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "dwspool/base/hash.h"

#include "dwspool/login/backend_login.h"

namespace dwspool::login {

class KeyCache {
 public:
  // `account` names the cluster and the user.
  std::optional<DerivedKeys> find(const std::string& account, const Derivation& work) const;
  void store(const std::string& account, const Derivation& work, DerivedKeys keys);
  // The password was refused: what was derived from it is worth nothing.
  void forget(const std::string& account);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Derivation::Kind kind;
    std::string salt;
    std::uint32_t iterations;
    std::string password_digest;  // so that a changed password misses
    DerivedKeys keys;
  };
  // One entry per account: when a role's password changes its salt does, too.
  StringMap<Entry> entries_;
};

}  // namespace dwspool::login
