#include "dwspool/auth/gauss.h"

#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/wire/cursor.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

namespace dwspool::auth {
namespace {

constexpr std::size_t salt_digits = 64;
constexpr std::size_t token_digits = 8;
constexpr std::size_t key_digits = 64;
constexpr std::size_t md5_size = 35;  // "md5" and 32 digits
constexpr std::size_t suffix_size = 11;
constexpr std::string_view suffix_base = "ecdfdcefade";
constexpr std::string_view prefix = "sha256";

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string hash_key(GaussHash hash, std::string_view key) {
  return hash == GaussHash::sm3 ? sm3(key) : sha256(key);
}

}  // namespace

GaussKeys derive_gauss_keys(std::string_view password, std::string_view salt_hex,
                            std::uint32_t iterations, GaussHash hash) {
  std::string salt;
  hex_decode(salt_hex, salt);
  const std::string k = pbkdf2_sha1(password, salt, iterations);
  GaussKeys keys;
  keys.client_key = hmac_sha256(k, "Client Key");
  keys.stored_key = hash_key(hash, keys.client_key);
  // "Sever Key" is how the protocol spells it; only SM3 spells it right.
  keys.server_key = hmac_sha256(k, hash == GaussHash::sm3 ? "Server Key" : "Sever Key");
  return keys;
}

bool is_gauss_payload(std::string_view payload) {
  // A mechanism name is printable, so that PostgreSQL never sends a zero byte and more here.
  return payload.size() >= 4 && payload[0] == '\0';
}

Result<GaussChallenge> read_gauss_challenge(std::string_view payload) {
  static constexpr std::uint32_t method_legacy_md5 = 1;
  static constexpr std::uint32_t method_sha256 = 2;
  static constexpr std::uint32_t method_sm3 = 3;
  wire::Cursor cursor(payload);
  GaussChallenge challenge;
  challenge.method = cursor.u32();
  if (challenge.method == method_legacy_md5) {
    challenge.token = cursor.bytes(4);
    if (!cursor.finished_cleanly()) return Error{"malformed GaussDB authentication request"};
    return challenge;
  }
  if (challenge.method != method_sha256 && challenge.method != method_sm3) {
    return Error{"the server stores this user's password with a method that is not supported (" +
                 std::to_string(challenge.method) + ")"};
  }
  challenge.salt_hex = cursor.bytes(salt_digits);
  const std::string_view token = cursor.bytes(token_digits);
  if (!cursor.ok() || !is_lower_hex(challenge.salt_hex) || !is_lower_hex(token) ||
      !hex_decode(token, challenge.token)) {
    return Error{"malformed GaussDB authentication request"};
  }
  if (cursor.rest().size() == 4) {
    challenge.iterations = cursor.u32();
    if (challenge.iterations == 0) return Error{"malformed GaussDB authentication request"};
  } else if (cursor.rest().size() == key_digits) {
    challenge.server_signature_hex = cursor.bytes(key_digits);
  }
  if (!cursor.finished_cleanly()) return Error{"malformed GaussDB authentication request"};
  return challenge;
}

std::string gauss_answer(const GaussKeys& keys, std::string_view token) {
  return hex_encode(exclusive_or(hmac_sha256(keys.stored_key, token), keys.client_key));
}

std::string gauss_server_signature(const GaussKeys& keys, std::string_view token) {
  return hex_encode(hmac_sha256(keys.server_key, token));
}

bool gauss_verify(std::string_view stored_key, std::string_view token, std::string_view answer_hex,
                  GaussHash hash) {
  std::string answer;
  if (answer_hex.size() != key_digits || !is_lower_hex(answer_hex) ||
      !hex_decode(answer_hex, answer)) {
    return false;
  }
  const std::string client_key = exclusive_or(hmac_sha256(stored_key, token), answer);
  return equal_in_constant_time(hash_key(hash, client_key), stored_key);
}

std::string gauss_legacy_answer(std::string_view user, std::string_view password,
                                std::string_view salt) {
  const std::string stored = md5_password(user, password).substr(3);
  return "sha256" + hex_encode(sha256(stored + std::string(salt)));
}

std::string gauss_md5_sha256_answer(const GaussKeys& keys, std::string_view salt_hex,
                                    std::string_view md5_salt) {
  return "md5" + md5_hex(std::string(salt_hex) + hex_encode(keys.server_key) +
                         hex_encode(keys.stored_key) + std::string(md5_salt));
}

std::optional<GaussVerifier> parse_gauss_verifier(std::string_view text) {
  static constexpr std::size_t sha256_size =
      prefix.size() + salt_digits + 2 * key_digits + suffix_size;
  const bool combined = text.size() == sha256_size + md5_size;
  if ((text.size() != sha256_size && !combined) || !text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  const auto take = [&](std::size_t size) {
    const std::string_view part = text.substr(0, size);
    text.remove_prefix(size);
    return part;
  };
  GaussVerifier verifier;
  verifier.salt_hex = take(salt_digits);
  const std::string_view server_key = take(key_digits);
  const std::string_view stored_key = take(key_digits);
  if (combined) verifier.md5 = take(md5_size);
  if (!is_lower_hex(verifier.salt_hex) || !is_lower_hex(server_key) || !is_lower_hex(stored_key) ||
      !hex_decode(server_key, verifier.server_key) ||
      !hex_decode(stored_key, verifier.stored_key) ||
      (combined && (!verifier.md5.starts_with("md5") || !is_lower_hex(verifier.md5.substr(3))))) {
    return std::nullopt;
  }
  // Each character is that of the base plus one digit of the count, the lowest digit first.
  std::uint64_t place = 1;
  std::uint64_t iterations = 0;
  for (std::size_t i = 0; i < suffix_size; ++i, place *= 10) {
    const int digit = text[i] - suffix_base[i];
    if (digit < 0 || digit > 9) return std::nullopt;
    iterations += static_cast<std::uint64_t>(digit) * place;
  }
  if (iterations == 0 || iterations > UINT32_MAX) return std::nullopt;
  verifier.iterations = static_cast<std::uint32_t>(iterations);
  return verifier;
}

std::string to_text(const GaussVerifier& verifier) {
  std::string text(prefix);
  text += verifier.salt_hex + hex_encode(verifier.server_key) + hex_encode(verifier.stored_key);
  text += verifier.md5;
  std::uint32_t rest = verifier.iterations;
  for (const char base : suffix_base) {
    text += static_cast<char>(base + static_cast<char>(rest % 10));
    rest /= 10;
  }
  return text;
}

}  // namespace dwspool::auth
