// Cutting a byte stream into messages. Nothing is copied and nothing is kept: the caller holds
// the bytes, this looks at their front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/types.h"

namespace dwspool::wire {

// One message. The views live as long as the bytes they were cut from.
struct Frame {
  char type = '\0';
  std::string_view bytes;  // whole message, with header

  std::string_view body() const { return bytes.substr(header_size); }
};

enum class FrameStatus : std::uint8_t {
  complete,    // the whole message is there
  partial,     // the header is there, part of the body is not
  incomplete,  // not even the header is there
  bad,         // the length word cannot be true; the stream is lost
};

struct FrameView {
  FrameStatus status = FrameStatus::incomplete;
  char type = '\0';
  std::size_t total = 0;  // header and body; valid unless incomplete or bad
};

// Looks at the message at the front of `in`. Inline: it runs for every message relayed.
inline FrameView peek_frame(std::string_view in) {
  if (in.size() < header_size) return {};
  const std::uint32_t length = load_u32(in.data() + 1);
  if (length < 4 || length > max_message_length) return {FrameStatus::bad, in[0], 0};
  const std::size_t total = std::size_t{length} + 1;
  return {in.size() >= total ? FrameStatus::complete : FrameStatus::partial, in[0], total};
}

// Precondition: view.status is complete.
inline Frame take_frame(std::string_view& in, const FrameView& view) {
  const Frame frame{view.type, in.substr(0, view.total)};
  in.remove_prefix(view.total);
  return frame;
}

}  // namespace dwspool::wire
