// Names that come from clients and configuration, fit to be label values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dwspool::metrics {

// Longer than any name that a server accepts, even with every byte replaced.
inline constexpr std::size_t max_label_bytes = 256;

// Valid UTF-8 without NUL: each byte that fits nowhere becomes U+FFFD, and what is beyond
// max_label_bytes becomes "...". Quotes, backslashes and newlines are the serializer's business.
// Different names may come out equal; whoever groups by labels must group by the result.
std::string label_text(std::string_view name);

}  // namespace dwspool::metrics
