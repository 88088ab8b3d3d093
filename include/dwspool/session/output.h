// What one step of a session or of a conversation with a backend asks the shell to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/gather_list.h"
#include "dwspool/base/time.h"

#include "dwspool/retry/commit_token.h"
#include "dwspool/retry/decision.h"

namespace dwspool::session {

// A failure that was made good, or not: for a log line and the metrics.
struct ReplayNote {
  retry::Failure failure = retry::Failure::in_doubt;
  retry::ReplayResult result = retry::ReplayResult::masked;
  retry::Refusal why = retry::Refusal::none;  // result: refused
  std::uint64_t statement = 0;                // sql::fingerprint of what failed; 0: none is known
  std::uint32_t losses = 0;
  std::uint32_t refusals = 0;
  Duration took{};
  std::string cause;
  std::optional<retry::TokenVerdict> verdict;  // on a COMMIT whose answer was lost
};

// The bytes go out in this order, in one gathered send per direction. They may point into the
// input of the same step: send or copy them before that changes.
//
// The tally is what the step saw, for the metrics; the shell adds it up and clears it.
struct Output {
  GatherList to_client;
  GatherList to_server;

  std::uint32_t queries = 0;            // requests answered to the client (ReadyForQuery each)
  std::uint32_t transactions = 0;       // of these, those that ended a transaction
  std::uint32_t pins = 0;               // bits of sql::Effect that began to bind this session
  std::uint32_t statements_parsed = 0;  // Parse messages that went to the server
  std::uint32_t statements_reused = 0;  // Parse messages that the backend had seen before
  std::uint32_t binds = 0;              // Bind messages that went to the server
  char error_class[2] = {0, 0};         // NOLINT: SQLSTATE class of the last error sent, if any
  std::uint32_t errors = 0;
  std::vector<ReplayNote> replays;
  retry::Refusal unprotected = retry::Refusal::none;  // why what goes on is not kept for replay
  retry::TokenUse token = retry::TokenUse::none;      // of a COMMIT that was sent
  // A transaction was looked at to know what a loss of its connection would have come to; `none`:
  // it would have been made good.
  std::optional<retry::Refusal> sample;

  void note_error(std::string_view sqlstate) {
    ++errors;
    if (sqlstate.size() >= 2) {
      error_class[0] = sqlstate[0];
      error_class[1] = sqlstate[1];
    }
  }

  // Corrects the tally for what a session has answered: what is in `bytes` will not be told, or
  // will be after all. They begin with the header of a message.
  void count_answers(std::string_view bytes, bool told);

  void clear() {
    to_client.clear();
    to_server.clear();
    queries = transactions = pins = statements_parsed = statements_reused = binds = errors = 0;
    error_class[0] = error_class[1] = '\0';
    if (!replays.empty()) replays.clear();
    unprotected = retry::Refusal::none;
    token = retry::TokenUse::none;
    sample.reset();
  }
};

}  // namespace dwspool::session
