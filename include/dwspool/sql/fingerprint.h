// What statements that differ in their values only have in common, as a number: to tell them apart
// in a log without showing what is in them.
#pragma once

#include <cstdint>
#include <string_view>

namespace dwspool::sql {

// Of the first 64 kB. Literals, numbers and parameters count as the same, whole lists of them as
// one; case, comments and white space do not count. Never 0.
std::uint64_t fingerprint(std::string_view text);

}  // namespace dwspool::sql
