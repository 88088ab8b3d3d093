// PgBouncer's userlist.txt.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/result.h"
#include "dwspool/base/secret.h"

namespace dwspool::config {

// "name" "password" on each line, a quote within quotes doubled; ';' begins a comment. What stands
// behind the password is left alone, as in PgBouncer. The error names the line, and no secret.
Result<std::vector<std::pair<std::string, Secret>>> parse_userlist(std::string_view text);

}  // namespace dwspool::config
