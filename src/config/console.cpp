// `console`: who may look, and who may act.
#include "dwspool/base/text.h"

#include "config/sections.h"

namespace dwspool::config {
namespace {

std::vector<std::string> read_names(Reading& reading, Section& section, std::string_view key,
                                    const Config& config) {
  std::vector<std::string> names;
  for (const Item& item : section.list(key)) {
    const std::optional<std::string> name = read_text(reading, item, "the name of a user");
    if (!name || !check_name(reading, item.place, *name)) continue;
    if (*name == "*") {
      reading.report.add(item.place, "the console is for users who are named, one by one");
    } else if (config.find_user(*name) == nullptr && !config.users.empty()) {
      reading.report.add(item.place, "there is no user '" + printable(*name) +
                                         "', so nobody could log in as it; write an entry under "
                                         "'users'");
    }
    names.push_back(*name);
  }
  return names;
}

}  // namespace

void read_console(Reading& reading, Section& root, Config& config) {
  Section section = root.section("console");
  config.console.admin_users = read_names(reading, section, "admin_users", config);
  config.console.stats_users = read_names(reading, section, "stats_users", config);
  config.console.old_columns = section.boolean("old_columns").value_or(false);
  section.refuse_unknown();
}

}  // namespace dwspool::config
