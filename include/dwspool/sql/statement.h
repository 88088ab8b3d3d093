// What the text of a simple Query or a Parse says, as far as pooling must know it.
//
// This is recognition, not understanding: it may only err towards "binds the session to its
// backend" and towards "may have committed". Where a statement must be understood, a real parser
// decides (module retry), and never on the relay path.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dwspool/sql/name_set.h"

namespace dwspool::sql {

// The first statement of the text.
enum class StatementKind : std::uint8_t {
  empty,        // nothing but white space, comments and semicolons
  begin,        // BEGIN or START TRANSACTION, well formed
  commit,       // COMMIT or END, well formed, without AND CHAIN
  rollback,     // ROLLBACK or ABORT, well formed, without AND CHAIN and not TO a savepoint
  set,          // SET name TO value and its like, one setting; see Statement::changes
  reset,        // RESET name and SET name TO DEFAULT, likewise
  reset_all,    // RESET ALL, likewise
  show,         // SHOW
  discard_all,  // DISCARD ALL
  deallocate,   // DEALLOCATE name; see Statement::name
  prepare,      // PREPARE name [(...)] AS ...; see Statement::name and Statement::body
  execute,      // EXECUTE name; see Statement::name
  other,
};

// A SET or RESET that can be followed by its text alone.
constexpr bool is_plain_change(StatementKind kind) {
  return kind == StatementKind::set || kind == StatementKind::reset ||
         kind == StatementKind::reset_all;
}

// One of them, anywhere in the text but inside a body; or a set_config with literals, in a SELECT
// of nothing else, that holds for the session.
struct PlainChange {
  StatementKind kind = StatementKind::set;
  std::string_view name;      // as written (perhaps quoted); a view into the text, or a literal
  std::string_view value;     // set: as written, so that SET name TO value does it
  bool is_literal = false;    // set: `value` is the value itself, and no SQL text
  bool reset_by_set = false;  // reset: written as SET ... TO DEFAULT
};

// What was seen anywhere in the text.
enum class Effect : std::uint32_t {
  none = 0,
  ends_transaction = 1U << 0U,    // COMMIT, END, ROLLBACK, ABORT, PREPARE TRANSACTION ...
  begins_transaction = 1U << 1U,  // BEGIN, START TRANSACTION
  savepoint = 1U << 2U,           // SAVEPOINT, RELEASE, ROLLBACK TO
  changes_setting = 1U << 3U,     // SET, RESET, set_config ... in other than the plain form
  changes_identity = 1U << 4U,    // SET ROLE, SET SESSION AUTHORIZATION with a password
  temporary_object = 1U << 5U,    // CREATE TEMP, INTO TEMP, pg_temp
  advisory_lock = 1U << 6U,       // session-level ones
  held_cursor = 1U << 7U,         // WITH HOLD
  listens = 1U << 8U,             // LISTEN
  loads_module = 1U << 9U,        // LOAD
  prepares = 1U << 10U,           // PREPARE, EXECUTE
  sequence_state = 1U << 11U,     // nextval, setval, currval, lastval
  unclear = 1U << 12U,            // could not be read to the end
  configured = 1U << 13U,         // a name that the configuration lists (`pin_on`)
  // These take bindings back.
  discards_all = 1U << 14U,     // DISCARD ALL
  unlistens_all = 1U << 15U,    // UNLISTEN *
  deallocates_all = 1U << 16U,  // DEALLOCATE ALL
  closes_all = 1U << 17U,       // CLOSE ALL
  unlocks_all = 1U << 18U,      // pg_advisory_unlock_all
  deallocates = 1U << 19U,      // DEALLOCATE name
  // Of BEGIN: it says READ ONLY or READ WRITE.
  names_access_mode = 1U << 20U,
  // BEGIN or START TRANSACTION, well formed, is all of the text.
  only_begins = 1U << 21U,
  // CLOSE, UNLISTEN, DEALLOCATE by name, DROP, unlocking: may have ended the last of something.
  may_free = 1U << 22U,
};

constexpr std::uint32_t bit(Effect effect) {
  return static_cast<std::uint32_t>(effect);
}

class Effects {
 public:
  constexpr void add(Effect effect) { bits_ |= bit(effect); }
  constexpr bool has(Effect effect) const { return (bits_ & bit(effect)) != 0; }
  constexpr bool any() const { return bits_ != 0; }
  constexpr std::uint32_t bits() const { return bits_; }
  constexpr void merge(Effects other) { bits_ |= other.bits_; }
  constexpr void remove(std::uint32_t mask) { bits_ &= ~mask; }

 private:
  std::uint32_t bits_ = 0;
};

// Effects that bind a session to its backend for longer than a transaction.
inline constexpr std::uint32_t binding_effects =
    bit(Effect::changes_setting) | bit(Effect::changes_identity) | bit(Effect::temporary_object) |
    bit(Effect::advisory_lock) | bit(Effect::held_cursor) | bit(Effect::listens) |
    bit(Effect::loads_module) | bit(Effect::prepares) | bit(Effect::sequence_state) |
    bit(Effect::unclear) | bit(Effect::configured);

struct Statement {
  StatementKind kind = StatementKind::empty;
  bool single = true;  // at most one statement that is not empty
  Effects effects;
  // deallocate, prepare, execute: as written (perhaps quoted); a view into the text.
  std::string_view name;
  std::string_view body;             // prepare: what is prepared; a view into the text
  std::vector<PlainChange> changes;  // all plain changes of the text, in order

  // A statement that was not looked at.
  static Statement unread() {
    Statement statement;
    statement.kind = StatementKind::other;
    return statement;
  }
  bool is_only(StatementKind wanted) const { return single && kind == wanted; }
};

// standard_conforming_strings: the session's present value.
// encoding_is_safe: false when the client encoding has characters of several bytes with a
// backslash among them (SJIS, BIG5, GBK, UHC, GB18030, JOHAB); texts that depend on it are
// then unclear.
// names_matter: false when only the first statement and the ends of transactions are asked for;
// effects that names inside a statement have are then not looked for.
// also: further names that bind a session (Effect::configured); may be null.
Statement recognize(std::string_view text, bool standard_conforming_strings = true,
                    bool encoding_is_safe = true, bool names_matter = true,
                    const NameSet* also = nullptr);

// Whether `encoding` (a value of client_encoding) may hide a backslash inside a character.
bool hides_backslash(std::string_view encoding);

}  // namespace dwspool::sql
