// What is known about one backend connection that has logged in: the part of its state that
// follows it from client to client. Owned by the shell's connection object.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dwspool/base/pool_mode.h"

#include "dwspool/wire/messages.h"
#include "dwspool/wire/types.h"

#include "dwspool/session/prepared.h"
#include "dwspool/session/reply_tracker.h"
#include "dwspool/session/settings.h"
#include "dwspool/session/sql_statements.h"

namespace dwspool::session {

// Names the unnamed prepared statement that a backend holds: whose it is, and which of his.
struct UnnamedStatement {
  std::uint64_t session = 0;  // 0: none, or one that no session knows
  std::uint32_t serial = 0;
  friend bool operator==(const UnnamedStatement&, const UnnamedStatement&) = default;
};

struct Backend {
  ReportedPtr reported;  // as of the last ParameterStatus
  SettingsPtr applied;   // what dwspool has set on it beyond the server's defaults
  Dialect dialect = Dialect::unknown;
  wire::KeyData key;  // for CancelRequest; never shown to a client
  // Of dwspool's end of the TCP connection: names the server process, together with key.pid, if
  // nobody translates addresses in between. 0: not known.
  std::uint16_t local_port = 0;
  bool ending = false;  // it has said, without being asked, that it is about to end
  wire::TxStatus status = wire::TxStatus::idle;
  ReplyTracker replies;
  BackendStatements statements;
  UnnamedStatement unnamed;
  SqlStatementsPtr sql_statements;  // of the session that had it last
  std::size_t unread = 0;           // so much of a large message is still to come, and nobody's

  // Set by the session that leaves it:
  bool dirty = false;   // carries session state that must be cleaned away before the next client
  bool retire = false;  // must not be lent again
  bool holds_temporary_objects = false;  // cannot be cleaned where DISCARD is not supported
};

}  // namespace dwspool::session
