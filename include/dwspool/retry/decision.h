// The decision table (doc/replay.md): what may be done about work that has failed, from what is
// known about its outcome.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "dwspool/retry/facts.h"
#include "dwspool/retry/replay_options.h"

namespace dwspool::retry {

enum class Failure : std::uint8_t {
  none,
  not_sent,          // nothing of it reached a server
  refused,           // the server said that it has not run it, and goes on
  doubtful,          // the server said that something inside the cluster broke, and goes on
  read_only,         // the server does not write any more
  transaction_lost,  // the connection broke in a transaction in which nothing could commit
  in_doubt,          // the connection broke, and what was sent could have committed
  outdated,          // the server did not run a statement that was prepared before a change
};
std::string_view to_string(Failure failure);

enum class Verdict : std::uint8_t {
  pass,             // not to be helped: the client is told what it would have been told anyway
  unknown_outcome,  // 08007
  replay,
  replay_if_reads,  // if the catalog confirms that nothing of it can write
};

// Why not, for the metrics.
enum class Refusal : std::uint8_t {
  none,
  level,       // the level does not go so far
  asked,       // /*+ noreplay */
  told,        // the client was told an error that would not come again
  external,    // effects outside of the database
  commit,      // a COMMIT, or a write that commits by itself
  multi,       // several statements in one request, the first of them done
  utility,     // cannot run in a transaction
  unreadable,  // not understood
  // These are known before anything fails:
  too_big,    // more was sent, or answered, than is kept
  pipelined,  // requests were sent behind the end of a transaction before that was answered
  copy,       // COPY FROM STDIN by the extended protocol
  forwarded,  // half of a large message has gone to the client
  pinned,     // the session is bound to its backend: nothing is kept
  unproven,   // a read, if the functions in it only read; nobody knows
  // What goes on in the cluster (moderator.h):
  quarantined,  // the statement has taken servers down
  crowded,      // too many wait already
  flapping,     // the cluster has failed too often of late
};
std::string_view to_string(Refusal refusal);

// What became of a failure.
enum class ReplayResult : std::uint8_t {
  masked,         // the client saw nothing but the time
  refused,        // it was not tried, see Refusal
  mismatch,       // other results than the client had seen
  deadline,       // the cluster did not recover in time
  attempts,       // lost too often
  canceled,       // by the client
  not_read,       // it was only to be tried if it only reads
  no_backend,     // the pool had none to give
  lost_again,     // lost once more, with an outcome that nobody knows
  refused_again,  // refused once more, in a way that is not to be repeated
  in_doubt,       // failed once more, and may have committed
  quarantined,    // has taken its connection away again and again
};
std::string_view to_string(ReplayResult result);

struct LoggedUnit {
  std::vector<StatementFacts> statements;
  bool understood = true;
};

struct Situation {
  ReplayLevel level = ReplayLevel::off;
  Failure failure = Failure::in_doubt;
  // The explicit transaction that the failed unit was in is open, or lost, for certain.
  bool in_transaction = false;
  std::size_t answered = 0;   // units of the log that the client knows the results of
  std::size_t completed = 0;  // statements of the unit behind these that were done
  bool asked_not_to = false;
  bool failure_told = false;  // of a unit of the log, an error that would not come again
};

struct Decision {
  Verdict verdict = Verdict::pass;
  Refusal why = Refusal::none;  // verdict: pass or unknown_outcome
};
Decision decide(const Situation& situation, const std::vector<LoggedUnit>& units);

// "/*+ noreplay */", in any case and with any white space.
bool asks_for_no_replay(std::string_view text);

}  // namespace dwspool::retry
