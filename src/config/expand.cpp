#include "config/expand.h"

#include <algorithm>
#include <cstdlib>

#include "dwspool/base/text.h"

namespace dwspool::config {
namespace {

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    const char lower = to_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// `inside` is what stands between the braces.
Result<std::string> value_of(std::string_view inside, const VariableLookup& lookup) {
  const std::size_t dash = inside.find(":-");
  const bool has_default = dash != std::string_view::npos;
  const std::string name(inside.substr(0, dash));
  if (!is_variable_name(name)) {
    return Error{
        "between '${' and '}' stands the name of an environment variable, with ':-' and "
        "a default behind it if need be; write '$$' for a '$'"};
  }
  std::optional<std::string> value = lookup(name);
  if (has_default && (!value || value->empty())) return std::string(inside.substr(dash + 2));
  if (!value) {
    return Error{"the environment variable " + printable(name) +
                 " is not set; set it, or write a default: ${" + printable(name) + ":-...}"};
  }
  return std::move(*value);
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

Result<std::string> expand(std::string_view text, const VariableLookup& lookup) {
  std::string expanded;
  while (!text.empty()) {
    const std::size_t dollar = text.find('$');
    expanded += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    if (text.starts_with("$$")) {
      expanded += '$';
      text.remove_prefix(2);
    } else if (text.starts_with("${")) {
      const std::size_t brace = text.find('}');
      if (brace == std::string_view::npos) {
        return Error{"'${' without its '}'; write '$${' for the two characters themselves"};
      }
      Result<std::string> value = value_of(text.substr(2, brace - 2), lookup);
      if (!value) return value;
      expanded += *value;
      text.remove_prefix(brace + 1);
    } else {
      expanded += '$';
      text.remove_prefix(1);
    }
  }
  return expanded;
}

}  // namespace dwspool::config
