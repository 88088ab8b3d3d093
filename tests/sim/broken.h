// Defects to be put into the simulated shell on purpose: each must be caught, or the simulator is
// not worth its time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dwspool::sim {

enum class Broken : std::uint8_t {
  nothing,
  ack_on_command_complete,
  definite_after_commit,
  resend_after_loss,
  lend_busy,
  give_back_owing,
  late_cancel,
  cancel_who_has_it_now,
  cancel_anybody,
  skip_cleaning,
  commit_leftovers,
  commit_half_batch,
  forget_settings,
  forget_sql_statements,
  forget_in_another_process,
  leftover_bytes,
  swallow_error,
  answer_twice,
  lose_row,
  wrong_status,
  ignore_queue_timeout,
  forget_waiter,
  lend_lost,
  replay_in_doubt,
  replay_behind_commit,
  replay_refused_commit,
  replay_unproven,
  replay_uncompared,
  replay_without_rewind,
  replay_what_was_told,
  forget_deadline,
  token_without_tombstone,
  token_guessed_aborted,
  token_guessed_committed,
};

struct BrokenName {
  Broken which;
  std::string_view name;
  std::string_view what;
};

inline constexpr std::array<BrokenName, 33> broken_names = {{
    {Broken::ack_on_command_complete, "ack-on-command-complete",
     "CommandComplete is taken for the end of a request"},
    {Broken::definite_after_commit, "definite-after-commit",
     "08006 is said where 08007 would be the truth"},
    {Broken::resend_after_loss, "resend-after-loss",
     "what was sent to a backend that is lost is sent again to another"},
    {Broken::lend_busy, "lend-busy", "a backend that is lent is lent once more"},
    {Broken::give_back_owing, "give-back-owing",
     "a backend goes back while it owes answers to the client that has left"},
    {Broken::late_cancel, "late-cancel", "a backend goes back while a cancel is on its way to it"},
    {Broken::cancel_who_has_it_now, "cancel-who-has-it-now",
     "a cancel goes to the backend that the client had last"},
    {Broken::cancel_anybody, "cancel-anybody", "a cancel goes to a backend of another client"},
    {Broken::skip_cleaning, "skip-cleaning", "what a client leaves behind is not cleaned away"},
    {Broken::commit_leftovers, "commit-leftovers",
     "the open transaction of a client that has vanished is committed"},
    {Broken::commit_half_batch, "commit-half-batch",
     "what a client that has vanished has sent of a batch is ended as if it were whole"},
    {Broken::forget_settings, "forget-settings", "a backend is taken to have the right settings"},
    {Broken::forget_sql_statements, "forget-sql-statements",
     "what a client has prepared by SQL is forgotten with the client"},
    {Broken::forget_in_another_process, "forget-in-another-process",
     "a session that goes on in another process does not take its settings along"},
    {Broken::leftover_bytes, "leftover-bytes", "the last row of a backend goes to its next client"},
    {Broken::swallow_error, "swallow-error", "an ErrorResponse is dropped"},
    {Broken::answer_twice, "answer-twice", "a ReadyForQuery is sent twice"},
    {Broken::lose_row, "lose-row", "a row is dropped"},
    {Broken::wrong_status, "wrong-status", "ReadyForQuery always says that nothing is open"},
    {Broken::ignore_queue_timeout, "ignore-queue-timeout", "who has waited too long is not told"},
    {Broken::forget_waiter, "forget-waiter", "a backend that was granted never arrives"},
    {Broken::lend_lost, "lend-lost", "a backend that is gone stays in the pool"},
    {Broken::replay_in_doubt, "replay-in-doubt",
     "a write is run again although it may have taken effect"},
    {Broken::replay_behind_commit, "replay-behind-commit",
     "a transaction is run again although its COMMIT was sent"},
    {Broken::replay_refused_commit, "replay-refused-commit",
     "a commit that has failed inside the cluster is run again"},
    {Broken::replay_unproven, "replay-unproven",
     "what looks like a read is run again, and the catalog is not asked"},
    {Broken::replay_uncompared, "replay-uncompared",
     "a second run is taken for the first without a look at its results"},
    {Broken::replay_without_rewind, "replay-without-rewind",
     "a second run begins with what the first has left in the session"},
    {Broken::replay_what_was_told, "replay-what-was-told",
     "what its client was told to have failed is run again all the same"},
    {Broken::forget_deadline, "forget-deadline", "a replay goes on behind its deadline"},
    {Broken::token_without_tombstone, "token-without-tombstone",
     "a token that is not there yet is taken for one that never will be"},
    {Broken::token_guessed_aborted, "token-guessed-aborted",
     "a COMMIT whose answer is lost is taken to have failed"},
    {Broken::token_guessed_committed, "token-guessed-committed",
     "a COMMIT whose answer is lost is taken to have succeeded"},
}};

std::optional<Broken> broken_by_name(std::string_view name);

}  // namespace dwspool::sim
