#include "metrics/label.h"

#include <cstdint>

namespace dwspool::metrics {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

struct Lead {
  std::size_t size = 0;      // of the whole character, 0 if no character begins so
  std::uint8_t low = 0x80;   // range of the second byte: it excludes overlong forms, surrogates
  std::uint8_t high = 0xBF;  // and what lies beyond U+10FFFF
};

Lead lead_of(std::uint8_t byte) {
  if (byte == 0) return {0};
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

// Size of the character at the front of `text`; 0 when there is none.
std::size_t character_size(std::string_view text) {
  const Lead lead = lead_of(static_cast<std::uint8_t>(text.front()));
  if (lead.size > text.size()) return 0;
  for (std::size_t i = 1; i < lead.size; ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    const std::uint8_t low = i == 1 ? lead.low : 0x80;
    const std::uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return 0;
  }
  return lead.size;
}

}  // namespace

std::string label_text(std::string_view name) {
  std::string text;
  text.reserve(name.size());
  while (!name.empty()) {
    const std::size_t size = character_size(name);
    const std::string_view piece = size == 0 ? replacement : name.substr(0, size);
    if (text.size() + piece.size() > max_label_bytes) return text + "...";
    text += piece;
    name.remove_prefix(size == 0 ? 1 : size);
  }
  return text;
}

}  // namespace dwspool::metrics
