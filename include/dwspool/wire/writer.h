// Writing messages: append to a string, the length word is filled in at end().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dwspool::wire {

inline void append_u16(std::string& out, std::uint16_t v) {
  out += static_cast<char>(v >> 8U);
  out += static_cast<char>(v & 0xffU);
}

inline void append_u32(std::string& out, std::uint32_t v) {
  out += static_cast<char>(v >> 24U);
  out += static_cast<char>((v >> 16U) & 0xffU);
  out += static_cast<char>((v >> 8U) & 0xffU);
  out += static_cast<char>(v & 0xffU);
}

inline void append_u64(std::string& out, std::uint64_t v) {
  append_u32(out, static_cast<std::uint32_t>(v >> 32U));
  append_u32(out, static_cast<std::uint32_t>(v));
}

// Behind its size, as four bytes: not of PostgreSQL's protocol.
inline void append_counted(std::string& out, std::string_view text) {
  append_u32(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

inline void store_u32(char* p, std::uint32_t v) {
  p[0] = static_cast<char>(v >> 24U);
  p[1] = static_cast<char>((v >> 16U) & 0xffU);
  p[2] = static_cast<char>((v >> 8U) & 0xffU);
  p[3] = static_cast<char>(v & 0xffU);
}

// Several messages may be written into the same string, one after the other.
class MessageWriter {
 public:
  // type 0: a startup packet, which has a length word but no type byte.
  MessageWriter(std::string& out, char type) : out_(out) {
    if (type != '\0') out_ += type;
    length_at_ = out_.size();
    out_.append(4, '\0');
  }

  MessageWriter& u8(std::uint8_t v) {
    out_ += static_cast<char>(v);
    return *this;
  }
  MessageWriter& u16(std::uint16_t v) {
    append_u16(out_, v);
    return *this;
  }
  MessageWriter& u32(std::uint32_t v) {
    append_u32(out_, v);
    return *this;
  }
  // The text must not contain a NUL.
  MessageWriter& cstring(std::string_view text) {
    out_.append(text);
    out_ += '\0';
    return *this;
  }
  MessageWriter& bytes(std::string_view text) {
    out_.append(text);
    return *this;
  }
  void end() {
    store_u32(out_.data() + length_at_, static_cast<std::uint32_t>(out_.size() - length_at_));
  }

 private:
  std::string& out_;
  std::size_t length_at_ = 0;
};

}  // namespace dwspool::wire
