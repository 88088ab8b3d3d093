// What a client has sent since its session was last at rest, as raw messages, and how that is
// cut up again: into units (all that one ReadyForQuery answers), the pieces of COPY data, and
// the rest that no Sync has closed yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::retry {

struct LogPiece {
  enum class Kind : std::uint8_t {
    unit,  // ends with Query, FunctionCall or Sync
    copy,  // CopyData, CopyDone and CopyFail: they belong to the unit before
    rest,  // what comes behind the last unit; its last message may be incomplete
  };
  Kind kind = Kind::rest;
  std::string_view bytes;
};
// The first piece of `log`, which is not empty. Only the last message of a log may be incomplete.
LogPiece first_piece(std::string_view log);
// How many bytes of the last message of a piece are not there yet.
std::size_t missing_at_end(std::string_view piece);

// The texts that one unit runs, in order.
struct UnitTexts {
  // Of an extended unit one for each Execute; of a simple Query its one text. Nothing when it is
  // not known: a prepared statement from elsewhere, a function call, an incomplete message.
  std::vector<std::optional<std::string>> texts;
  bool complete = true;  // false for `rest`
  bool copies = false;   // COPY data were sent for it
};
// `known`: the text of a prepared statement that is older than the log.
std::vector<UnitTexts> texts_of(
    std::string_view log,
    const std::function<std::optional<std::string>(std::string_view name)>& known);

}  // namespace dwspool::retry
