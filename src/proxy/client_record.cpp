#include "dwspool/proxy/client_record.h"

#include <chrono>
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/writer.h"

namespace dwspool::proxy {
namespace {

void append_keys(std::string& out, const auth::LoginKeys& keys) {
  out += static_cast<char>(keys.kind);
  wire::append_counted(out, keys.secret.reveal());
  wire::append_counted(out, keys.salt);
  wire::append_u32(out, keys.iterations);
  wire::append_counted(out, keys.stored_key);
  wire::append_counted(out, keys.server_key);
}

std::optional<auth::LoginKeys> take_keys(wire::Cursor& in) {
  auth::LoginKeys keys;
  const std::uint8_t kind = in.u8();
  if (kind > static_cast<std::uint8_t>(auth::LoginKeys::Kind::gauss_sm3)) return std::nullopt;
  keys.kind = static_cast<auth::LoginKeys::Kind>(kind);
  keys.secret = Secret(in.counted());
  keys.salt = in.counted();
  keys.iterations = in.u32();
  keys.stored_key = in.counted();
  keys.server_key = in.counted();
  return keys;
}

}  // namespace

std::string encode(const ClientRecord& record) {
  const std::string session = session::encode(record.session);
  std::string out;
  // No copy of the credential stays behind where the string has grown.
  out.reserve(session.size() + 4096);
  wire::append_counted(out, record.database);
  wire::append_counted(out, record.user);
  wire::append_counted(out, record.address);
  wire::append_u16(out, record.port);
  wire::append_u64(out, static_cast<std::uint64_t>(record.connected.count()));
  wire::append_u64(out, record.answered);
  out += static_cast<char>(record.pin_logged ? 1 : 0);
  wire::append_u32(out, record.key.pid);
  wire::append_counted(out, record.key.secret);
  wire::append_counted(out, session);
  out += static_cast<char>((record.proven.password ? 1 : 0) | (record.proven.keys ? 2 : 0));
  if (record.proven.password) wire::append_counted(out, record.proven.password->reveal());
  if (record.proven.keys) append_keys(out, *record.proven.keys);
  return out;
}

std::optional<ClientRecord> decode_client_record(std::string_view bytes) {
  wire::Cursor in(bytes);
  ClientRecord record;
  record.database = in.counted();
  record.user = in.counted();
  record.address = in.counted();
  record.port = in.u16();
  record.connected = Duration(static_cast<std::int64_t>(in.u64()));
  record.answered = in.u64();
  record.pin_logged = in.u8() != 0;
  record.key.pid = in.u32();
  record.key.secret = in.counted();
  auto session = session::decode_session_image(in.counted());
  const std::uint8_t proven = in.u8();
  if ((proven & 1U) != 0) record.proven.password = Secret(in.counted());
  if ((proven & 2U) != 0) {
    record.proven.keys = take_keys(in);
    if (!record.proven.keys) return std::nullopt;
  }
  const std::size_t address = record.address.size();
  const bool possible = address == 0 || address == 4 || address == 16;
  if (!session || !possible || record.connected < Duration::zero() || !in.finished_cleanly()) {
    return std::nullopt;
  }
  record.session = std::move(*session);
  return record;
}

}  // namespace dwspool::proxy
