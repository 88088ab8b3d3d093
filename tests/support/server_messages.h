// What a server says during a log-in, as bytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "dwspool/wire/messages.h"
#include "dwspool/wire/types.h"
#include "dwspool/wire/writer.h"

namespace dwspool::testing::server {

inline std::string message(char type, std::string_view body = {}) {
  std::string out;
  wire::MessageWriter(out, type).bytes(body).end();
  return out;
}

inline std::string authentication(std::uint32_t code, std::string_view payload = {}) {
  std::string out;
  wire::append_authentication(out, code, payload);
  return out;
}
inline std::string auth_ok() {
  return authentication(0);
}
inline std::string cleartext() {
  return authentication(3);
}
inline std::string md5(std::string_view salt) {
  return authentication(5, salt);
}
inline std::string sasl(std::initializer_list<std::string_view> mechanisms) {
  std::string list;
  for (const std::string_view mechanism : mechanisms) list.append(mechanism) += '\0';
  return authentication(10, list + '\0');
}

// GaussDB's request of protocol 3.51: code 10 with method 2, or code 13 with method 3.
inline std::string gauss(std::uint32_t code, std::uint32_t method, std::string_view salt_hex,
                         std::string_view token_hex, std::uint32_t iterations) {
  std::string payload;
  wire::append_u32(payload, method);
  payload.append(salt_hex).append(token_hex);
  wire::append_u32(payload, iterations);
  return authentication(code, payload);
}

inline std::string parameter(std::string_view name, std::string_view value) {
  std::string out;
  wire::append_parameter_status(out, name, value);
  return out;
}
inline std::string key(std::uint32_t pid, std::string_view secret) {
  std::string out;
  wire::append_key_data(out, {pid, std::string(secret)});
  return out;
}
inline std::string ready(char status = 'I') {
  return message('Z', std::string(1, status));
}

// Fields as given, in their order: error({{'S', "FATAL"}, {'C', "28P01"}}).
using Fields = std::vector<std::pair<char, std::string>>;
inline std::string report(char type, const Fields& fields) {
  std::string body;
  for (const auto& [letter, text] : fields) body += letter + text + '\0';
  return message(type, body + '\0');
}
inline std::string error(const Fields& fields) {
  return report('E', fields);
}
inline std::string error(const std::string& sqlstate, const std::string& text) {
  return error({{'S', "FATAL"}, {'V', "FATAL"}, {'C', sqlstate}, {'M', text}});
}
inline std::string notice(const std::string& text) {
  return report('N', {{'S', "NOTICE"}, {'C', "00000"}, {'M', text}});
}

inline std::string negotiate(const std::vector<std::string>& options = {}) {
  std::string out;
  wire::append_negotiate_protocol_version(out, wire::protocol_3_0, options);
  return out;
}

// The end of a log-in that went well.
inline std::string welcome() {
  return auth_ok() + parameter("server_version", "15.1") + key(7, "\x01\x02\x03\x04") + ready();
}

}  // namespace dwspool::testing::server
