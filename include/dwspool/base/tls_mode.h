// How much TLS a connection must have. The words are libpq's sslmode; towards clients they mean
// what doc/tls.md says.
#pragma once

#include <cstdint>
#include <string_view>

namespace dwspool {

enum class TlsMode : std::uint8_t { disable, allow, prefer, require, verify_ca, verify_full };

constexpr std::string_view to_string(TlsMode mode) {
  switch (mode) {
    case TlsMode::disable:
      return "disable";
    case TlsMode::allow:
      return "allow";
    case TlsMode::prefer:
      return "prefer";
    case TlsMode::require:
      return "require";
    case TlsMode::verify_ca:
      return "verify-ca";
    case TlsMode::verify_full:
      return "verify-full";
  }
  return "?";
}

}  // namespace dwspool
