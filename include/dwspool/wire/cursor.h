// Reading a message body: every step is bounds-checked, a step too far makes the cursor fail
// and yields zeros from then on. Check finished_cleanly() or ok() once, at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dwspool::wire {

constexpr std::uint32_t load_u32(const char* p) {
  return (std::uint32_t{static_cast<unsigned char>(p[0])} << 24U) |
         (std::uint32_t{static_cast<unsigned char>(p[1])} << 16U) |
         (std::uint32_t{static_cast<unsigned char>(p[2])} << 8U) |
         std::uint32_t{static_cast<unsigned char>(p[3])};
}

class Cursor {
 public:
  explicit Cursor(std::string_view body) : rest_(body) {}

  std::uint8_t u8() {
    const std::string_view b = bytes(1);
    return ok_ ? static_cast<std::uint8_t>(b[0]) : std::uint8_t{0};
  }
  std::uint16_t u16() {
    const std::string_view b = bytes(2);
    if (!ok_) return 0;
    return static_cast<std::uint16_t>((static_cast<unsigned char>(b[0]) << 8U) |
                                      static_cast<unsigned char>(b[1]));
  }
  std::uint32_t u32() {
    const std::string_view b = bytes(4);
    return ok_ ? load_u32(b.data()) : 0;
  }
  std::uint64_t u64() {
    const std::uint64_t high = u32();
    return (high << 32U) | u32();
  }
  // What append_counted has written.
  std::string_view counted() { return bytes(u32()); }
  // Up to a NUL, which is consumed and not part of the result.
  std::string_view cstring() {
    const std::size_t end = rest_.find('\0');
    if (!ok_ || end == std::string_view::npos) {
      ok_ = false;
      return {};
    }
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::string_view bytes(std::size_t n) {
    if (!ok_ || rest_.size() < n) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  std::string_view rest() const { return rest_; }

  bool ok() const { return ok_; }
  bool finished_cleanly() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace dwspool::wire
