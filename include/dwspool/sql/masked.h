// A statement for a log line: its shape, without what is in it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dwspool::sql {

// Literals and numbers as "?", lists of them as one; without comments, with single spaces; at most
// `limit` bytes, and "..." behind a cut.
//
// Errs towards showing too little. What SET and ALTER assign is a "?" whatever it is. Where it
// cannot be told where a literal ends (a backslash in it, which may escape or not), and at
// PASSWORD, IDENTIFIED and their like in a statement that defines something, the rest is left out.
// `text` may be the front of a longer statement.
std::string masked(std::string_view text, std::size_t limit);

}  // namespace dwspool::sql
