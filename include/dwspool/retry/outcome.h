// What may be said, and done, when a backend is lost: decided from what is known about the
// outcome, never from an SQLSTATE (doc/replay.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dwspool/wire/messages.h"

namespace dwspool::retry {

// What is known about the work that was lost.
enum class Outcome : std::uint8_t {
  not_sent,               // nothing of it ever reached the server
  open_transaction_lost,  // in a transaction, and nothing that could commit was sent
  in_doubt,               // sent, and it could have committed
};

struct LostWork {
  bool sent = false;                // any byte of the request went to the server
  bool in_transaction = false;      // an explicit transaction was open when it was sent
  bool may_have_committed = false;  // COMMIT, a multi-statement text with one in it, ...
  // No transaction of the client's is open, and still nothing of it can have lasted: a BEGIN, or
  // what dwspool runs in a READ ONLY transaction.
  bool commits_nothing = false;
};
Outcome judge(const LostWork& work);

// The one error for it (doc/errors.md): 08006 when nothing was committed for sure, 08007 when
// that cannot be known. `cause` is what happened, for the DETAIL.
wire::ErrorReport describe(Outcome outcome, std::string_view cause);

// "The server said: ...", for a DETAIL.
std::string said_by_server(const wire::ErrorFields& fields);

}  // namespace dwspool::retry
