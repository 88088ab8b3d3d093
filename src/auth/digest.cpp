#include "dwspool/auth/digest.h"

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stringprep.h>
#include <sys/random.h>

#include "dwspool/base/text.h"

namespace dwspool::auth {
namespace {

const unsigned char* as_unsigned(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* as_unsigned(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

std::string digest(const EVP_MD* algorithm, std::string_view data) {
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  if (EVP_Digest(data.data(), data.size(), as_unsigned(out), &size, algorithm, nullptr) != 1) {
    throw std::runtime_error("libcrypto refuses a digest");
  }
  out.resize(size);
  return out;
}

std::string pbkdf2(const EVP_MD* algorithm, std::string_view password, std::string_view salt,
                   std::uint32_t iterations) {
  static constexpr int key_size = 32;
  std::string key(key_size, '\0');
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), as_unsigned(salt),
                        static_cast<int>(salt.size()), static_cast<int>(iterations), algorithm,
                        key_size, as_unsigned(key)) != 1) {
    throw std::runtime_error("libcrypto refuses PBKDF2");
  }
  return key;
}

}  // namespace

std::string sha256(std::string_view data) {
  return digest(EVP_sha256(), data);
}
std::string sm3(std::string_view data) {
  return digest(EVP_sm3(), data);
}
std::string md5_hex(std::string_view data) {
  return hex_encode(digest(EVP_md5(), data));
}

std::string hmac_sha256(std::string_view key, std::string_view data) {
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  // To libcrypto a null pointer is no key, which is not the same as an empty one.
  const char* const key_data = key.data() == nullptr ? "" : key.data();
  if (HMAC(EVP_sha256(), key_data, static_cast<int>(key.size()), as_unsigned(data), data.size(),
           as_unsigned(out), &size) == nullptr) {
    throw std::runtime_error("libcrypto refuses an HMAC");
  }
  out.resize(size);
  return out;
}

std::string pbkdf2_sha256(std::string_view password, std::string_view salt,
                          std::uint32_t iterations) {
  return pbkdf2(EVP_sha256(), password, salt, iterations);
}

std::string pbkdf2_sha1(std::string_view password, std::string_view salt,
                        std::uint32_t iterations) {
  return pbkdf2(EVP_sha1(), password, salt, iterations);
}

std::string exclusive_or(std::string_view a, std::string_view b) {
  std::string out(a);
  for (std::size_t i = 0; i < out.size() && i < b.size(); ++i) {
    out[i] = static_cast<char>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return out;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(as_unsigned(out), as_unsigned(bytes), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

bool base64_decode(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.size() % 4 != 0) return false;
  if (text.empty()) return true;
  bytes.resize(text.size() / 4 * 3);
  const int size =
      EVP_DecodeBlock(as_unsigned(bytes), as_unsigned(text), static_cast<int>(text.size()));
  if (size < 0) return false;
  std::size_t padding = 0;
  if (text.ends_with("==")) {
    padding = 2;
  } else if (text.ends_with('=')) {
    padding = 1;
  }
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return base64_encode(bytes) == text;
}

std::string random_bytes(std::size_t count) {
  std::string out(count, '\0');
  std::size_t filled = 0;
  while (filled < count) {
    const ssize_t got = ::getrandom(out.data() + filled, count - filled, 0);
    if (got < 0 && errno == EINTR) continue;  // a signal, which large requests may meet
    if (got < 0) throw std::runtime_error("the system's random generator fails");
    filled += static_cast<std::size_t>(got);
  }
  return out;
}

std::string sasl_prepare(std::string_view password) {
  bool ascii = true;
  for (const char c : password) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii || password.find('\0') != std::string_view::npos) return std::string(password);
  std::string input(password);
  char* prepared = nullptr;
  if (::stringprep_profile(input.c_str(), &prepared, "SASLprep", STRINGPREP_NO_UNASSIGNED) !=
      STRINGPREP_OK) {
    return input;
  }
  std::string out(prepared);
  ::free(prepared);  // libidn's
  return out.empty() ? input : out;
}

}  // namespace dwspool::auth
