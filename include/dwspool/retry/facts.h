// What a text of SQL does, by PostgreSQL's own parser (libpg_query): whether it may be run again
// is decided from that (doc/replay.md, "Kinds of statements").
//
// It costs about 10 us for a short statement, 2 ms for one of 10 kB and up to 50 ms for the longest
// that is parsed: for the moment when something failed, or once for each text, not for every
// message that passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::retry {

enum class Nature : std::uint8_t {
  control,   // BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK TO and their other names
  light,     // SHOW, SET, RESET: settings only
  read,      // SELECT, VALUES, EXPLAIN: writes nothing by itself; see `functions` and `relations`
  write,     // writes, or locks (FOR UPDATE, LOCK), or is DDL: undone by ROLLBACK
  copy_in,   // COPY FROM STDIN
  copy_out,  // COPY TO STDOUT of something that is `read`
  cursor,    // DECLARE, FETCH, MOVE, CLOSE
  // Cannot be in a transaction, commits by itself, or may do so inside: VACUUM, CREATE DATABASE,
  // whatever is CONCURRENTLY, PREPARE TRANSACTION, CALL, DO ...
  not_transactional,
  unknown,  // anything is possible
};
std::string_view to_string(Nature nature);

struct StatementFacts {
  Nature nature = Nature::unknown;
  bool ends_transaction = false;    // COMMIT, ROLLBACK, PREPARE TRANSACTION ...
  bool begins_transaction = false;  // BEGIN, START TRANSACTION, COMMIT AND CHAIN ...
  // Its rows come in a defined order: ORDER BY (among equals any order remains), or it has surely
  // at most one row.
  bool ordered = false;
  // Does something that ROLLBACK does not undo and a repetition would double: dblink, large
  // objects, COPY with a server's file or program, signals to other sessions, SET TRANSACTION
  // SNAPSHOT ...
  bool external = false;
  // Leaves something in the session besides settings, or depends on that: session locks, values of
  // sequences, temporary tables, set_config, LISTEN, PREPARE, cursors WITH HOLD.
  bool session_effect = false;
  // Names that are called, but for those of PostgreSQL itself that change nothing. In lower case
  // or as quoted, with their schema if one is written; a part that needs quotes has them. Sorted,
  // each once. What PostgreSQL calls without a name being written does not appear: operators,
  // casts, and functions in the clothes of a column (table.function). And somebody may have made a
  // function with the name of a built-in one, for types of their own.
  std::vector<std::string> functions;
  // Tables and views in FROM and the like, in the same form, without those of WITH. Empty for a
  // text that was not understood.
  std::vector<std::string> relations;
};

struct TextFacts {
  // False: the grammar of PostgreSQL 15 does not have it (DWS has more), or it is too long or
  // nested too deep for it. Then there is one statement, and its nature is `write` if that is the
  // worst that it could be, else `unknown`.
  bool understood = false;
  std::vector<StatementFacts> statements;  // without the empty ones

  bool single() const { return statements.size() <= 1; }
  // Nothing but reads and settings, and nothing that remains: running the text again is invisible,
  // if all that `functions` and `relations` name is known to change nothing.
  bool only_reads() const;
  // Nothing but settings (or nothing at all).
  bool only_light() const;
  bool ends_transaction() const;
  bool begins_transaction() const;
  bool external() const;
  bool session_effect() const;
};

inline constexpr std::size_t longest_parsed = std::size_t{128} << 10U;  // else not understood
inline constexpr std::size_t longest_read = std::size_t{1} << 20U;      // else not even looked at

// Never throws but std::bad_alloc, whatever the bytes. Any thread. The two flags are those of
// sql::recognize: the session's standard_conforming_strings, and whether its encoding keeps
// backslashes and quotes out of its characters (sql::hides_backslash).
TextFacts understand(std::string_view sql, bool standard_conforming_strings = true,
                     bool encoding_is_safe = true);

}  // namespace dwspool::retry
