// What a coordinator says while the data nodes behind it are away, or change places with their
// standbys; and what of that is true.
#pragma once

#include <cstdint>
#include <string_view>

#include "sim/context.h"
#include "sim/model.h"

namespace dwspool::sim {

enum class Trouble : std::uint8_t {
  none,
  refused,    // no connection to a data node could be had: the statement has not run
  broken,     // lost while a statement was on its way to a data node, or at work there
  commit,     // lost while a transaction was being committed there
  read_only,  // nothing may be written at the moment
};

// One thing that may be said, in one language or another.
struct Saying {
  Trouble trouble = Trouble::none;
  std::string_view sqlstate;
  std::string_view text;
};
const Saying& say(Trouble trouble, Random& random);
// What these words mean; `none` when they are no coordinator's about its data nodes.
Trouble said(std::string_view text);

// Which statements need the data nodes.
bool reads_table(const Statement& statement);
bool writes_table(const Statement& statement);

}  // namespace dwspool::sim
