// What the operator sees of replay: numbers, and one line for each failure.
#include <array>
#include <chrono>
#include <cstddef>

#include "dwspool/base/text.h"

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

// What a server says when it fails can be long.
constexpr std::size_t longest_cause = 300;

}  // namespace

void FrontConn::tally_replays() {
  const session::Output& out = worker_.output();
  metrics::WorkerBlock& metrics = worker_.metrics();
  if (out.sample) pool_->metrics->replay_samples[static_cast<std::size_t>(*out.sample)].add();
  if (out.unprotected != retry::Refusal::none) {
    metrics.replay_unprotected[static_cast<std::size_t>(out.unprotected)].add();
  }
  metrics.tokens[static_cast<std::size_t>(out.token)].add();
  if (out.token == retry::TokenUse::unavailable || out.token == retry::TokenUse::refused) {
    worker_.hub().log.write_limited(
        LogLevel::warning, "replay.no_token",
        "a transaction was committed without a token: dwspool.commit_token cannot be written",
        {{"user", printable(user_)},
         {"database", printable(pool_->database)},
         {"result", to_string(out.token)}});
  }
  for (const session::ReplayNote& note : out.replays) {
    metrics.replays[static_cast<std::size_t>(note.failure)][static_cast<std::size_t>(note.result)]
        .add();
    if (note.result == retry::ReplayResult::quarantined) report_quarantine(note);
    if (note.verdict) metrics.in_doubt[static_cast<std::size_t>(*note.verdict)].add();
    if (note.result == retry::ReplayResult::refused) {
      metrics.replay_refusals[static_cast<std::size_t>(note.why)].add();
    } else {
      pool_->metrics->replay_seconds.observe(note.took);
    }
    report(note);
  }
}

void FrontConn::report_quarantine(const session::ReplayNote& note) {
  worker_.hub().log.write_limited(
      LogLevel::warning, "replay.quarantined",
      "a statement has taken down its server each time that it was run again; it is not run again "
      "for half an hour",
      {{"user", printable(user_)},
       {"database", printable(pool_->database)},
       {"statement", hex_number(note.statement)},
       {"cause", printable(note.cause, longest_cause)}});
}

// The statement by its fingerprint: what is in it is nobody's business.
void FrontConn::report(const session::ReplayNote& note) {
  const bool masked = note.result == retry::ReplayResult::masked;
  const bool refused = note.result == retry::ReplayResult::refused;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(note.took);
  worker_.hub().log.write_limited(
      LogLevel::info,
      masked    ? "replay.masked"
      : refused ? "replay.refused"
                : "replay.failed",
      masked    ? "what had failed was run again; the client has noticed nothing but the time"
      : refused ? "what has failed is not run again; the client is told"
                : "what had failed could not be made good; the client is told",
      {{"client", peer_.text()},
       {"user", printable(user_)},
       {"database", printable(pool_->database)},
       {"failure", to_string(note.failure)},
       {"result", to_string(note.result)},
       {"reason", to_string(note.why)},
       {"statement", note.statement == 0 ? std::string() : hex_number(note.statement)},
       {"verdict", note.verdict ? to_string(*note.verdict) : std::string_view{}},
       {"losses", static_cast<std::int64_t>(note.losses)},
       {"refusals", static_cast<std::int64_t>(note.refusals)},
       {"milliseconds", static_cast<std::int64_t>(took.count())},
       {"cause", printable(note.cause, longest_cause)}});
}

}  // namespace dwspool::proxy
