// The answers to SHOW: PgBouncer's columns, by name, order and type, as its tools read them; and
// some of dwspool's own.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dwspool/console/command.h"
#include "dwspool/console/facts.h"
#include "dwspool/console/table.h"

namespace dwspool::console {

// Known before the question is asked, as Describe wants them.
std::span<const Column> columns_of(Show what);

Table show(Show what, const Facts& facts);

// The one column of SHOW for a setting of the client's own, and its value.
Column client_setting_column(std::string_view name);
std::string client_setting(std::string_view name);

}  // namespace dwspool::console
