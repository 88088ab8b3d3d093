// The version, as CMakeLists.txt has it.
#pragma once

#include <string_view>

namespace dwspool::app {

inline constexpr std::string_view version = DWSPOOL_VERSION;

}  // namespace dwspool::app
