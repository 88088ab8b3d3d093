// Single keys of the configuration, as the console shows and sets them: by PgBouncer's names where
// that has the same setting.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/result.h"

#include "dwspool/config/config.h"

namespace dwspool::config {

struct Setting {
  std::string key;
  std::string value;        // times in seconds
  std::string standard;     // the default
  bool changeable = false;  // without a restart
};

// Sorted by key. No secrets.
std::vector<Setting> settings_of(const Config& config);

// As if `key` had stood in the file with this value; what the file says holds again when it is
// read the next time. Times without a unit are seconds.
Status change_setting(Config& config, std::string_view key, std::string_view value);

}  // namespace dwspool::config
