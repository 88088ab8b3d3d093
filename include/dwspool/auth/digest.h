// Digests, over OpenSSL's libcrypto. Everything is bytes in, bytes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dwspool::auth {

std::string sha256(std::string_view data);
std::string hmac_sha256(std::string_view key, std::string_view data);
std::string sm3(std::string_view data);
std::string md5_hex(std::string_view data);  // 32 lower-case digits

// 32 bytes. CPU time grows with `iterations`: tens of milliseconds for what GaussDB uses. Never
// call these on an event loop. Precondition: iterations >= 1.
std::string pbkdf2_sha256(std::string_view password, std::string_view salt,
                          std::uint32_t iterations);
std::string pbkdf2_sha1(std::string_view password, std::string_view salt, std::uint32_t iterations);

// Byte-wise; the strings must have the same length.
std::string exclusive_or(std::string_view a, std::string_view b);

// Compares in time that depends on the lengths only.
bool equal_in_constant_time(std::string_view a, std::string_view b);

std::string base64_encode(std::string_view bytes);
// False when `text` is not canonical base64.
bool base64_decode(std::string_view text, std::string& bytes);

// From the operating system's generator. Throws std::runtime_error when that fails.
std::string random_bytes(std::size_t count);

// The form in which PostgreSQL feeds a password to SCRAM: SASLprep (RFC 4013), or the bytes as
// they are when the text is not UTF-8 or has characters that SASLprep prohibits.
std::string sasl_prepare(std::string_view password);

}  // namespace dwspool::auth
