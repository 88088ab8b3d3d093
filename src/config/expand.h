// ${VARIABLE} in the values of the configuration.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/result.h"

namespace dwspool::config {

// The value of an environment variable, or nothing when it is not set.
using VariableLookup = std::function<std::optional<std::string>(const std::string& name)>;

// The environment of this process.
std::optional<std::string> environment_variable(const std::string& name);

// `${NAME}` is the variable's value; `${NAME:-text}` is `text` when the variable is not set or
// empty; `$$` is one '$'; a '$' before anything else stands for itself, so that SCRAM verifiers
// need no care. What was put in is not expanded again. The error names the variable and never
// quotes the rest of the text.
Result<std::string> expand(std::string_view text, const VariableLookup& lookup);

}  // namespace dwspool::config
