// GaussDB's password authentication (doc/gaussdb-protocol.md): a relative of SCRAM with a
// 4-byte nonce, PBKDF2 over SHA-1 and a misspelled label that is part of the protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/result.h"

namespace dwspool::auth {

// Which hash makes StoredKey out of ClientKey.
enum class GaussHash : std::uint8_t { sha256, sm3 };

struct GaussKeys {
  std::string client_key;
  std::string stored_key;
  std::string server_key;
};
// PBKDF2: not for an event loop. `salt_hex`: 64 hexadecimal digits.
GaussKeys derive_gauss_keys(std::string_view password, std::string_view salt_hex,
                            std::uint32_t iterations, GaussHash hash = GaussHash::sha256);

// The body of an authentication request with code 10 (SHA256) or 13 (SM3), behind the code.
struct GaussChallenge {
  std::uint32_t method = 0;          // 2 SHA256, 3 SM3, 1 the legacy MD5 form
  std::string salt_hex;              // 64 lower-case digits; empty for method 1
  std::string token;                 // 4 bytes; for method 1 the MD5 salt
  std::uint32_t iterations = 0;      // 0 when the message does not tell (protocols 3.0, 3.50)
  std::string server_signature_hex;  // protocol 3.0 only, else empty
};
// An error when the payload has none of the known shapes.
Result<GaussChallenge> read_gauss_challenge(std::string_view payload);

// Whether the payload of code 10 is GaussDB's and not PostgreSQL's list of SASL mechanisms.
bool is_gauss_payload(std::string_view payload);

// The answer to a challenge of method 2 or 3: 64 hexadecimal digits.
std::string gauss_answer(const GaussKeys& keys, std::string_view token);
// What a server of protocol 3.0 proves itself with.
std::string gauss_server_signature(const GaussKeys& keys, std::string_view token);
// The server's check of an answer; constant time.
bool gauss_verify(std::string_view stored_key, std::string_view token, std::string_view answer_hex,
                  GaussHash hash = GaussHash::sha256);

// Method 1: "sha256" and 64 digits.
std::string gauss_legacy_answer(std::string_view user, std::string_view password,
                                std::string_view salt);

// Code 11, the form that older servers accept: "md5" and 32 digits.
std::string gauss_md5_sha256_answer(const GaussKeys& keys, std::string_view salt_hex,
                                    std::string_view md5_salt);

// pg_authid.rolpassword of kind SHA256 (209 characters) or COMBINED (244).
struct GaussVerifier {
  std::string salt_hex;
  std::string server_key;
  std::string stored_key;
  std::string md5;  // "md5..." of COMBINED, else empty
  std::uint32_t iterations = 0;
};
std::optional<GaussVerifier> parse_gauss_verifier(std::string_view text);
std::string to_text(const GaussVerifier& verifier);

}  // namespace dwspool::auth
