// Names that bind a session to its backend wherever they stand in a statement.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dwspool/base/text.h"

#include "dwspool/sql/statement.h"

namespace dwspool::sql {

struct FunctionEffect {
  std::string_view name;
  Effect effect;
};

// Functions (and names) that bind wherever they stand. pg_temp is a schema.
inline constexpr std::array<FunctionEffect, 15> binding_names = {{
    {"set_config", Effect::changes_setting},
    {"nextval", Effect::sequence_state},
    {"setval", Effect::sequence_state},
    {"currval", Effect::sequence_state},
    {"lastval", Effect::sequence_state},
    {"pg_temp", Effect::temporary_object},
    {"pg_advisory_lock", Effect::advisory_lock},
    {"pg_advisory_lock_shared", Effect::advisory_lock},
    {"pg_try_advisory_lock", Effect::advisory_lock},
    {"pg_try_advisory_lock_shared", Effect::advisory_lock},
    {"pg_advisory_unlock_all", Effect::unlocks_all},
    {"pg_advisory_unlock", Effect::may_free},
    {"pg_advisory_unlock_shared", Effect::may_free},
    {"dblink_connect", Effect::loads_module},
    {"dblink_connect_u", Effect::loads_module},
}};

// The first letters of the words above and of temp, temporary, volatile and hold: nearly every
// word of an ordinary statement is done with after one look.
constexpr std::array<bool, 26> make_interesting() {
  std::array<bool, 26> letters{};
  for (const char c : {'c', 'd', 'h', 'l', 'n', 'p', 's', 't', 'v'}) {
    letters[static_cast<std::size_t>(c - 'a')] = true;
  }
  return letters;
}
inline constexpr std::array<bool, 26> interesting = make_interesting();

constexpr std::uint64_t make_sizes() {
  std::uint64_t sizes = 0;
  for (const FunctionEffect& known : binding_names) sizes |= std::uint64_t{1} << known.name.size();
  return sizes;
}
inline constexpr std::uint64_t binding_name_sizes = make_sizes();

inline void note_name(std::string_view name, Effects& effects) {
  if (name.size() >= 64 || (binding_name_sizes >> name.size() & 1U) == 0) return;
  for (const FunctionEffect& known : binding_names) {
    if (name.size() == known.name.size() && equals_ignore_case(name, known.name)) {
      effects.add(known.effect);
    }
  }
}

}  // namespace dwspool::sql
