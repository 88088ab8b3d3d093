// A client that is at rest, as one process describes it to another that takes it over: together
// with its socket that is all there is of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/time.h"

#include "dwspool/wire/messages.h"

#include "dwspool/auth/credential.h"

#include "dwspool/session/image.h"

namespace dwspool::proxy {

struct ClientRecord {
  // To be raised whenever what encode() writes changes: only equal ones understand each other.
  static constexpr std::uint32_t version = 1;

  std::string database;  // as the client calls it
  std::string user;
  std::string address;  // of the client: see net::Address::bytes(); empty: a Unix socket
  std::uint16_t port = 0;
  Duration connected{};        // for so long
  std::uint64_t answered = 0;  // requests
  bool pin_logged = false;     // that it was bound to its backend once
  wire::KeyData key;           // what it was told to cancel with
  auth::Credential proven;     // what it has logged in with, where that serves towards a server
  session::SessionImage session;
};

// With the credential in clear: wipe() it when it is sent.
std::string encode(const ClientRecord& record);
// Nothing when these are not the bytes of one.
std::optional<ClientRecord> decode_client_record(std::string_view bytes);

}  // namespace dwspool::proxy
