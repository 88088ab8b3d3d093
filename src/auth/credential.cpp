#include "dwspool/auth/credential.h"

#include "dwspool/auth/digest.h"

namespace dwspool::auth {

std::string fingerprint(const Credential& credential) {
  if (credential.password) return sha256(credential.password->reveal());
  if (!credential.keys) return {};
  const LoginKeys& keys = *credential.keys;
  // Longer than that of a password, so that none of the one kind is one of the other.
  return sha256(keys.salt + '\0' + keys.secret.reveal()) + static_cast<char>(keys.kind);
}

}  // namespace dwspool::auth
