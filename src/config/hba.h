// pg_hba.conf, as PostgreSQL and PgBouncer have it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dwspool/auth/access.h"

namespace dwspool::config {

struct HbaComplaint {
  int line = 0;
  std::string message;
};

// All rules, or all that is wrong. Rules for replication are left out: no client gets that far.
std::variant<std::vector<auth::AccessRule>, std::vector<HbaComplaint>> parse_hba(
    std::string_view text);

// By its name in pg_hba.conf, "ident" included, which on Unix sockets is peer; nothing, when
// dwspool does not have it.
std::optional<auth::AccessMethod> access_method(std::string_view word);

}  // namespace dwspool::config
