// What a server's ErrorResponse says about the fate of the statement, on a connection that goes
// on: has it run, has it not, or can nobody tell? The rest follows from that (doc/replay.md).
//
// This is about what the cluster's nodes have to do with each other. What the statement itself
// did wrong is `ordinary`: the server has undone it, and the client is told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/pool_mode.h"

#include "dwspool/wire/messages.h"

namespace dwspool::retry {

enum class ErrorMeaning : std::uint8_t {
  ordinary,
  // The coordinator got no connection to a node that it needs: the statement has not run. That is
  // so for a statement which is no COMMIT, has no COMMIT in its text, and calls no function that
  // could have come to its own statements first; the caller knows.
  refused,
  // A connection inside the cluster broke, perhaps after the statement was handed on, or a commit
  // failed half-way. Outside a transaction it may have taken effect.
  doubtful,
  // The server refuses to write: it is a standby, or the cluster is read-only. The statement has
  // not run, and never will here.
  read_only,
};

// An error that means `refused`: the code must be this one, and the message must contain the text,
// case and all.
struct RefusalRule {
  std::string sqlstate;
  std::string text;
};

class ErrorTable {
 public:
  // What DWS is known to say, in English and Chinese (lc_messages is the server's choice).
  ErrorTable();
  // These rules besides. None of them makes `refused` what sounds of a COMMIT, or what a data node
  // has said: that one did get the statement.
  explicit ErrorTable(std::vector<RefusalRule> more);

  // PostgreSQL has no nodes behind it: nothing but `ordinary` and `read_only` comes from there.
  // Dialect::unknown counts as DWS. A FATAL means what the same words mean as an ERROR; that the
  // connection is lost with it is another matter.
  ErrorMeaning meaning(const wire::ErrorFields& error, Dialect dialect) const;

 private:
  bool refuses(const wire::ErrorFields& error) const;

  std::vector<RefusalRule> rules_;
};

std::string_view to_string(ErrorMeaning meaning);

}  // namespace dwspool::retry
