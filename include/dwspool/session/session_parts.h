// What a session is made of, and what of it is kept elsewhere: see session.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "dwspool/sql/statement.h"

#include "dwspool/session/prepared.h"
#include "dwspool/session/settings.h"

namespace dwspool::session {

// default_transaction_read_only, which DWS does not have in a session: see stand_in.cpp.
struct ReadOnly {
  bool on = false;
  bool by_startup = false;  // what RESET goes back to
  // A READ ONLY transaction of dwspool's own around one request of the client's.
  enum class Block : std::uint8_t { none, open, closing };
  Block block = Block::none;
  // Of the batch that is being sent, as far as messages of the extended protocol say so:
  bool begun = false;        // it has begun a transaction
  bool ended = false;        // it has ended one, and not begun another
  bool begin_bound = false;  // a BEGIN will be executed that shall be READ ONLY
};

// What a session was when it was last at rest, so that it can be that again and what its client
// has said since can be said once more (ReplayedSession). Kept in change only: taking a mark
// copies two pointers.
struct SessionMark {
  SettingsPtr wanted;
  ReadOnly read_only;
  ClientStatements::Journal statements;
  bool unnamed_saved = false;
  std::string unnamed;
  SpecialPtr unnamed_special;
  sql::Effects unnamed_effects;
  bool tokens = false;  // a COMMIT is to stop for its token, see wants_token()
};

// The session as it will be if the COMMIT under way has succeeded, and the rest of the answer to
// it. Of a backend that is being left.
struct CommittedState {
  bool whole = false;  // false: the rest of the answer is not known, or not the settings
  std::string answer;
  SettingsPtr wanted;
  std::unique_ptr<ClientStatements> statements;
  std::string unnamed;
  SpecialPtr unnamed_special;
  sql::Effects unnamed_effects;
};

// What a client waits for when a transaction is given up: see Session::give_up.
struct OpenRequests {
  std::size_t owed = 0;      // ReadyForQuery
  bool unsynced = false;     // messages of the extended protocol without a Sync
  bool error_told = false;   // the first of them has had its ErrorResponse already
  bool transaction = false;  // the client believes in an open transaction
  bool stateful = false;     // and in session state that went with the backend
  // The first of the requests that are owed that is nothing but a COMMIT: behind its error nothing
  // is open any more.
  std::size_t ends_at = std::numeric_limits<std::size_t>::max();
  std::size_t unread = 0;  // bytes of its last message that are still to come, for nobody
};

}  // namespace dwspool::session
