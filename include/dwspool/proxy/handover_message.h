// What two processes say to each other while one takes over the clients of the other: on a
// net::FdChannel, the old one's end is Departures, the new one's Arrivals.
//
//   new                                           old
//    │ ready(version) ──────────────────────────► │  listens no more
//    │ ◄────────────── client(id, record) + socket│  does not read it any more
//    │ taken(id) ───────────────────────────────► │  forgets it
//    │   or refused(id) ────────────────────────► │  goes on with it
//    │ cancel(key) ─────────────────────────────► │  one that has not come over
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dwspool::proxy {

struct HandoverMessage {
  enum class Kind : char {
    ready = 'R',    // number: ClientRecord::version
    client = 'C',   // number: which; body: the record
    taken = 'T',    // number: of the client
    refused = 'N',  // the same
    cancel = 'X',   // number: the pid; body: the secret
  };
  Kind kind = Kind::ready;
  std::uint64_t number = 0;
  std::string_view body;
};

std::string write_handover_message(const HandoverMessage& message);
// Nothing when it is none. The body is a part of `bytes`.
std::optional<HandoverMessage> read_handover_message(std::string_view bytes);

}  // namespace dwspool::proxy
