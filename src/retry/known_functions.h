// What is known of functions by their names alone.
#pragma once

#include <string>
#include <string_view>

namespace dwspool::retry {

// A function's name, in lower case or as quoted; the schema is empty if none was written, and also
// for pg_catalog.
struct FunctionName {
  std::string schema;
  std::string name;
};

// Of PostgreSQL itself, and calling it again changes nothing: immutable, stable, or volatile only
// in what it returns (random, clock_timestamp, pg_sleep).
bool is_harmless(const FunctionName& function);
// Of PostgreSQL itself, and may return several rows.
bool returns_rows(const FunctionName& function);
// An aggregate of PostgreSQL itself.
bool is_aggregate(const FunctionName& function);
// Does something that a rollback does not undo and a repetition would double: in another session
// or database, in files, over the network.
bool acts_outside(const FunctionName& function);
// Leaves something behind in the session: locks, settings, the value of a sequence.
bool acts_on_session(const FunctionName& function);

}  // namespace dwspool::retry
