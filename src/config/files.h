// Small files, read whole.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "dwspool/base/result.h"

namespace dwspool::config {

// Blocking. Anything that can be read to its end will do, a pipe too. The error says why, without
// the path.
Result<std::string> read_file(const std::string& path, std::size_t limit);

// `path` as it is when absolute, else below the folder that `beside` lies in.
std::string resolve_path(std::string_view path, std::string_view beside);

}  // namespace dwspool::config
