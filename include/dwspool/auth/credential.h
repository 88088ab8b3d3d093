// What a log-in to a server is proven with: the password, or what takes its place towards a server
// that keeps the same secret.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dwspool/base/secret.h"

namespace dwspool::auth {

struct LoginKeys {
  enum class Kind : std::uint8_t { md5, scram, gauss_sha256, gauss_sm3 };
  Kind kind = Kind::md5;
  Secret secret;     // md5: the hash as pg_authid has it; else ClientKey
  std::string salt;  // scram: bytes; gauss: 64 hexadecimal digits
  std::uint32_t iterations = 0;
  std::string stored_key;
  std::string server_key;
};

// Neither: there is nothing to prove a log-in with.
struct Credential {
  std::optional<Secret> password;
  std::optional<LoginKeys> keys;  // used where there is no password

  bool empty() const { return !password && !keys; }
};

// Tells credentials apart, and gives none of them away. Empty for an empty one.
std::string fingerprint(const Credential& credential);

}  // namespace dwspool::auth
