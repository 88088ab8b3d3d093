#include "dwspool/wire/startup.h"

#include "dwspool/base/text.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/types.h"
#include "dwspool/wire/writer.h"

namespace dwspool::wire {
namespace {

constexpr std::size_t length_size = 4;
constexpr std::size_t max_cancel_secret = 256;  // protocol 3.2
constexpr std::string_view peer_mark = "dwspool:passed on";
constexpr std::uint32_t major_of(std::uint32_t version) {
  return version >> 16U;
}

StartupPacket read_message(std::uint32_t version, std::string_view body) {
  StartupMessage message;
  message.version = version;
  // Name/value pairs of C strings, then one NUL, which must be the last byte.
  Cursor cursor(body);
  while (true) {
    const std::string_view name = cursor.cstring();
    if (!cursor.ok()) {
      return BadStartup{"invalid startup packet layout: expected terminator as last byte"};
    }
    if (name.empty()) break;
    const std::string_view value = cursor.cstring();
    if (!cursor.ok()) {
      return BadStartup{"invalid startup packet layout: expected terminator as last byte"};
    }
    message.parameters.emplace_back(name, value);
  }
  if (!cursor.finished_cleanly()) {
    return BadStartup{"invalid startup packet layout: expected terminator as last byte"};
  }
  return message;
}

}  // namespace

std::string_view StartupMessage::find(std::string_view name) const {
  for (auto entry = parameters.rbegin(); entry != parameters.rend(); ++entry) {
    if (entry->first == name) return entry->second;
  }
  return {};
}

StartupPacket read_startup_packet(std::string_view& in, std::size_t limit) {
  if (in.size() < length_size) return NeedMore{};
  const std::size_t length = load_u32(in.data());
  // Another protocol altogether is found out at once: HTTP's "GET " is a length of 1.2 GB.
  if (length < length_size + 4 || length > limit) {
    return BadStartup{"invalid length of startup packet"};
  }
  if (in.size() < length) return NeedMore{};
  Cursor cursor(in.substr(length_size, length - length_size));
  in.remove_prefix(length);
  const std::uint32_t version = cursor.u32();
  const std::string_view body = cursor.rest();
  switch (version) {
    case ssl_request_code:
      if (!body.empty()) return BadStartup{"invalid length of SSL request"};
      return SslRequest{};
    case gssenc_request_code:
      if (!body.empty()) return BadStartup{"invalid length of GSS encryption request"};
      return GssEncRequest{};
    case cancel_request_code: {
      const std::uint32_t pid = cursor.u32();
      std::string_view secret = cursor.rest();
      if (!cursor.ok() || secret.empty() || secret.size() > max_cancel_secret) {
        return BadStartup{"invalid length of cancel request"};
      }
      const bool by_peer = secret.size() > peer_mark.size() && secret.ends_with(peer_mark);
      if (by_peer) secret.remove_suffix(peer_mark.size());
      return CancelRequest{pid, std::string(secret), by_peer};
    }
    default:
      break;
  }
  if (major_of(version) != major_of(protocol_3_0)) {
    return BadStartup{"unsupported frontend protocol " + std::to_string(major_of(version)) + "." +
                      std::to_string(version & 0xffffU) + ": dwspool supports 3.0"};
  }
  return read_message(version, body);
}

std::string write_startup_message(const StartupMessage& message) {
  std::string out;
  MessageWriter writer(out, '\0');
  writer.u32(message.version);
  for (const auto& [name, value] : message.parameters) writer.cstring(name).cstring(value);
  writer.u8(0);
  writer.end();
  return out;
}

std::string write_ssl_request() {
  std::string packet;
  append_u32(packet, 8);
  append_u32(packet, ssl_request_code);
  return packet;
}

std::string write_cancel_request(std::uint32_t pid, std::string_view secret) {
  std::string out;
  MessageWriter(out, '\0').u32(cancel_request_code).u32(pid).bytes(secret).end();
  return out;
}

std::string write_passed_on_cancel(std::uint32_t pid, std::string_view secret) {
  std::string out;
  MessageWriter(out, '\0').u32(cancel_request_code).u32(pid).bytes(secret).bytes(peer_mark).end();
  return out;
}

ParsedOptions parse_options(std::string_view options) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const char c = options[i];
    if (is_space(c)) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
      continue;
    }
    in_word = true;
    if (c == '\\' && i + 1 < options.size()) {
      word += options[++i];
    } else if (c != '\\') {
      word += c;
    }
  }
  if (in_word) words.push_back(std::move(word));

  ParsedOptions parsed;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& given = words[i];
    std::string_view assignment;
    if (given == "-c") {
      if (i + 1 < words.size()) assignment = words[++i];
    } else if (given.starts_with("-c") || given.starts_with("--")) {
      assignment = std::string_view(given).substr(2);
    }
    const std::size_t equals = assignment.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      // A lone backslash at the end is a word, but an empty one.
      parsed.bad_switch = given.empty() ? "\\" : given;
      return parsed;
    }
    std::string name(assignment.substr(0, equals));
    for (char& c : name) {
      if (c == '-') c = '_';
    }
    parsed.settings.emplace_back(std::move(name), assignment.substr(equals + 1));
  }
  return parsed;
}

}  // namespace dwspool::wire
