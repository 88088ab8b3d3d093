// The row that goes with a COMMIT and is there afterwards if, and only if, that has committed: the
// one witness that survives a switchover together with the data (doc/replay.md, "Proof by token").
//
//   INSERT INTO dwspool.commit_token ...; COMMIT      sent together; the answer is lost
//   SELECT dwspool.outcome('<token>')                 waits for whoever is at it, and settles it
//
// outcome() inserts the same key. It says `committed` if the row is there, and then it is there for
// good; else its own row is, and the lost transaction can never commit any more.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/pool_mode.h"
#include "dwspool/base/time.h"

namespace dwspool::retry {

enum class TokenVerdict : std::uint8_t {
  unknown,    // nobody could be asked, or it was too long ago
  committed,  // and will be found
  aborted,    // for ever
};
std::string_view to_string(TokenVerdict verdict);

// What became of the token of one COMMIT, for the metrics.
enum class TokenUse : std::uint8_t {
  none,
  sent,
  unavailable,  // the database has no place for it, or not for this user
  refused,      // it was sent and could not be written
};
std::string_view to_string(TokenUse use);

// The tokens of one pool on one worker: `<prefix>/<second>/<number>`. The prefix is random, so that
// no two of them ever make the same; the second tells outcome() when a token is too old for an
// answer, since old rows are purged.
class TokenSource {
 public:
  std::string prefix;          // 32 hexadecimal digits
  Duration since_1970_at_0{};  // of the wall clock, when a TimePoint was 0

  std::string next(TimePoint now);

  // Whether the database has a place for them. Nothing: it is to be asked.
  std::optional<bool> available(TimePoint now) const;
  void note_available() { state_ = State::good; }
  // For a minute; then it is asked again.
  void note_unavailable(TimePoint now);

 private:
  enum class State : std::uint8_t { unknown, good, bad };
  std::uint64_t last_ = 0;
  State state_ = State::unknown;
  TimePoint ask_again_{};
};

// What goes in front of the COMMIT: one statement without parameters, whose only answer is a tag.
std::string token_insert(std::string_view token);
// One SELECT that reads nothing but catalogs; its one row is "0" if there is no place for tokens.
std::string token_question();
// One SELECT that forces the verdict, with one row.
std::string outcome_question(std::string_view token);
TokenVerdict read_outcome(std::string_view value);
// The question itself is wrong on this server (no such function, not allowed): asking once more
// does not help.
bool cannot_be_asked(std::string_view sqlstate);

// Whether a transaction may have written, by what its client has said (see unit_log.h). Errs
// towards yes; but in one that is READ ONLY by its own words, functions do not count.
bool may_have_written(
    std::string_view log,
    const std::function<std::optional<std::string>(std::string_view name)>& known);

// What `dwspool token install` runs, statement by statement, each by itself. What exists already
// is left alone by these: errors of the codes in `exists_already` are to be ignored.
std::vector<std::string> install_statements(Dialect dialect);
bool exists_already(std::string_view sqlstate);
// Deletes the tokens that outcome() does not answer for any more.
std::string purge_statement();

}  // namespace dwspool::retry
