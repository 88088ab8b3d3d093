#include "dwspool/proxy/handover_message.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/writer.h"

namespace dwspool::proxy {

std::string write_handover_message(const HandoverMessage& message) {
  std::string out;
  out.reserve(1 + sizeof(message.number) + message.body.size());
  out += static_cast<char>(message.kind);
  wire::append_u64(out, message.number);
  out.append(message.body);
  return out;
}

std::optional<HandoverMessage> read_handover_message(std::string_view bytes) {
  wire::Cursor in(bytes);
  HandoverMessage message;
  message.kind = static_cast<HandoverMessage::Kind>(in.u8());
  message.number = in.u64();
  message.body = in.rest();
  if (!in.ok()) return std::nullopt;
  using Kind = HandoverMessage::Kind;
  switch (message.kind) {
    case Kind::client:
    case Kind::cancel:
      return message;
    case Kind::ready:
    case Kind::taken:
    case Kind::refused:
      if (message.body.empty()) return message;
      break;
  }
  return std::nullopt;
}

}  // namespace dwspool::proxy
