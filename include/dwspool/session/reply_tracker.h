// What a backend still owes: one entry for every message sent that will be answered, in order.
//
// The tracker answers the one question that transaction pooling stands on: may this backend go
// to somebody else? It may when nothing is owed, no COPY runs and the transaction is over. It
// also says whom an answer is for (the client, or dwspool itself), and holds the place of
// answers that dwspool gives on the server's behalf, so that they come out in order.
//
// Rules from the protocol chapter ("Message Flow"): every Query, FunctionCall and Sync is
// answered by exactly one ReadyForQuery; after an error in the extended protocol the server
// skips everything up to the next Sync, a simple Query included; a Sync that arrives during COPY
// IN is ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "dwspool/base/fifo.h"

namespace dwspool::session {

enum class ReplyKind : std::uint8_t {
  query,
  function,
  parse,
  bind,
  describe,
  execute,
  close,
  sync,
  // Answered by dwspool itself when their turn comes:
  local_parse_complete,
  local_close_complete,
  local_deallocate,  // CommandComplete "DEALLOCATE" and ReadyForQuery
  // Not answered at all: CopyDone or CopyFail that was sent before the server said that it copies.
  copy_end,
};

constexpr bool is_local(ReplyKind kind) {
  return kind >= ReplyKind::local_parse_complete;
}

// Which kind of entry a message from the server answers in full; nothing for messages that go on.
std::optional<ReplyKind> answered_by(char message_type);

struct Reply {
  ReplyKind kind = ReplyKind::query;
  bool own = false;      // dwspool asked; the client must not see the answer
  bool named = false;    // settles a change of the client's names (ClientStatements)
  bool begin = false;    // part of the BEGIN that was held back
  bool refused = false;  // sent so that the server refuses it; dwspool words the error
  // parse, close: not 0 if it settles a change of BackendStatements; bind, describe: the id of
  // the named statement; query: a QueryFix; execute: an ExecuteFix
  std::uint64_t tag = 0;
};

// What the answer to an Execute stands for; both may be.
struct ExecuteFix {
  static constexpr std::uint64_t deallocates = 1;  // the server got an empty statement in its place
  static constexpr std::uint64_t changes_sql = 2;  // the oldest SqlChange has been made
};

// Whether its answer settles a change of BackendStatements.
constexpr bool settles_statement(const Reply& reply) {
  return reply.tag != 0 && (reply.kind == ReplyKind::parse || reply.kind == ReplyKind::close);
}

// What the answer to a query that was sent in other words needs to look like the client's.
struct QueryFix {
  bool set_to_reset = false;  // the first tag is RESET, not SET
  std::uint32_t swallow = 0;  // so many CommandCompletes at the end are not the client's

  // The first tag is that of a commit token, and not the client's; all others are.
  static constexpr std::uint64_t token = std::uint64_t{1} << 61U;
  // The first tag is the client's, and the second one that of a commit token.
  static constexpr std::uint64_t token_behind = std::uint64_t{1} << 60U;
  // The first tag is ROLLBACK, not COMMIT; all others are the client's.
  static constexpr std::uint64_t lost_commit = std::uint64_t{1} << 62U;

  constexpr std::uint64_t packed() const {
    return (std::uint64_t{swallow} << 1U) | (set_to_reset ? 1U : 0U);
  }
  static constexpr QueryFix unpack(std::uint64_t tag) {
    return {(tag & 1U) != 0, static_cast<std::uint32_t>(tag >> 1U)};
  }
};

// In a query's tag: its first CommandComplete has come.
inline constexpr std::uint64_t first_tag_seen = std::uint64_t{1} << 63U;

class ReplyTracker {
 public:
  // A message was sent. After an error of the extended protocol (see on_error) the server
  // ignores all but Sync; such messages are not entered. Returns whether it was.
  bool push(Reply reply);

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  // Precondition: not empty.
  const Reply& head() const { return entries_.front(); }
  bool head_is_own() const { return !entries_.empty() && entries_.front().own; }

  // Nothing owed, nothing open: the server waits for a new request.
  bool quiet() const { return empty() && !unsynced_ && !skipping_ && !copy_in_; }
  // Messages of the extended protocol were sent and no Sync behind them.
  bool unsynced() const { return unsynced_; }
  // ... of the client's.
  bool client_unsynced() const { return unsynced_ && client_unsynced_; }
  bool skipping() const { return skipping_; }
  bool copy_in() const { return copy_in_; }
  // One of the extended protocol: which Sync is answered depends on when it arrives.
  bool copy_in_by_execute() const { return copy_in_ && copy_by_execute_; }
  // Whether the state of a COPY cannot be told for sure any more; the backend must not be lent
  // again.
  bool in_doubt() const { return in_doubt_; }
  // How many ReadyForQuery the client still waits for.
  std::size_t requests_owed() const { return requests_; }
  // How many of the clients' requests have been answered, or will not be: a request sent now will
  // be answered as number requests_done() + requests_owed() + 1.
  std::uint64_t requests_done() const { return requests_done_; }

  // Whether the answer to a Parse without a name is to come.
  bool owes_unnamed_parse() const;

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < entries_.size(); ++i) visit(entries_[i]);
  }

  void set_head_tag(std::uint64_t tag) { entries_.front().tag = tag; }

  // The answer to the head has come in full.
  void pop();
  // The same, if the head is of this kind. Whether it was.
  bool pop_if(ReplyKind kind) {
    if (empty() || head().kind != kind) return false;
    pop();
    return true;
  }

  // ErrorResponse. For a request of the simple protocol ReadyForQuery follows by itself. In the
  // extended protocol everything up to the next Sync is dropped; `dropped` is called with each
  // entry that will not be answered.
  template <class Dropped>
  void on_error(Dropped&& dropped) {
    copy_end(true);
    if (empty()) return;
    const ReplyKind kind = head().kind;
    if (kind == ReplyKind::query || kind == ReplyKind::function || kind == ReplyKind::sync) return;
    while (!empty() && head().kind != ReplyKind::sync) {
      dropped(head());
      pop();
    }
    if (empty()) {
      skipping_ = true;
      unsynced_ = true;
    }
  }

  // ReadyForQuery. False when none was owed: the stream is out of step.
  bool on_ready();

  // CopyInResponse: the server now reads CopyData. A Sync that was sent together with the
  // Execute is going to be ignored.
  void on_copy_in();
  // CopyDone or CopyFail was sent.
  void on_copy_sent();

  void clear();

 private:
  void copy_end(bool by_error);
  void request_done() {
    --requests_;
    ++requests_done_;
  }

  Fifo<Reply> entries_;
  std::size_t requests_ = 0;
  std::uint64_t requests_done_ = 0;
  bool unsynced_ = false;
  bool client_unsynced_ = false;
  bool skipping_ = false;
  bool copy_in_ = false;
  bool copy_by_execute_ = false;
  bool copy_took_sync_ = false;  // the COPY at the head, of the extended protocol
  bool in_doubt_ = false;
};

}  // namespace dwspool::session
