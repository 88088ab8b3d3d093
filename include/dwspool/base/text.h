// Small ASCII text helpers. Locale never matters here: protocol and SQL keywords are ASCII.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dwspool {

constexpr char to_lower(char c) {
  return (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

constexpr bool equals_ignore_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

constexpr bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

std::string to_lower(std::string_view text);
std::string_view trim(std::string_view text);

// Lower-case hexadecimal digits, two per byte.
std::string hex_encode(std::string_view bytes);

// All 16 digits of it.
std::string hex_number(std::uint64_t number);

// False when `text` is not an even number of hexadecimal digits.
bool hex_decode(std::string_view text, std::string& bytes);

// For log lines and messages: control characters and bytes outside ASCII as \xNN, at most
// `limit` characters, "..." behind a cut.
std::string printable(std::string_view text, std::size_t limit = 128);

// How many bytes the UTF-8 character at the front has; 0 if there is none that is valid.
std::size_t utf8_length(std::string_view text);

// With quotes around it. Bytes that are no UTF-8 become U+FFFD: whatever a client or a server
// calls itself, the result is JSON.
void append_json_string(std::string& out, std::string_view text);

// The entry nearest to `word` by edit distance, if it is near enough to be a typing error;
// empty otherwise.
template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates);

std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates) {
  std::string_view best;
  std::size_t best_distance = word.size() / 3 + 2;
  for (std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace dwspool
