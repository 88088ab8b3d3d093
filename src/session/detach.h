// Bytes that are on their way out, and whose source does not wait for that.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "dwspool/base/gather_list.h"

namespace dwspool::session {

// Copies what stands behind the first `mark` bytes: the log that it comes from may move, or be
// gone, before it is sent.
inline void detach(GatherList& list, std::size_t mark) {
  std::vector<std::string_view> pieces;
  list.for_each_from(mark, [&](std::string_view bytes) { pieces.push_back(bytes); });
  list.truncate(mark);
  for (const std::string_view bytes : pieces) list.copy(bytes);
}

}  // namespace dwspool::session
