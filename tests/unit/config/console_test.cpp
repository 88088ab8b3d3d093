// Who may use the console, and what it may change.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/config/settings.h"

#include "support.h"

namespace dwspool::config::testing {
namespace {

std::string with_console(const std::string& console) {
  Parts parts;
  parts.more = "console: " + console + "\n";
  return parts.text();
}

std::string value_of(const Config& config, std::string_view key) {
  for (const Setting& setting : settings_of(config)) {
    if (setting.key == key) return setting.value;
  }
  return "?";
}

TEST_CASE("who may use the console") {
  const Config config = loaded(with_console("{admin_users: [bob]}"));
  CHECK(config.console.is_admin("bob"));
  CHECK(config.console.is_allowed("bob"));
  CHECK_FALSE(config.console.is_allowed("eve"));
  const Config stats = loaded(with_console("{stats_users: [bob]}"));
  CHECK_FALSE(stats.console.is_admin("bob"));
  CHECK(stats.console.is_allowed("bob"));
  CHECK_FALSE(loaded(Parts{}.text()).console.is_allowed("bob"));
}

TEST_CASE("nobody is let in by mistake") {
  CHECK(complaints_about(with_console("{admin_users: [eve]}")).find("there is no user 'eve'") !=
        std::string::npos);
  CHECK(complaints_about(with_console("{admin_users: [\"*\"]}")).find("named, one by one") !=
        std::string::npos);
  CHECK(complaints_about(with_console("{admin_users: bob}")).find("console.admin_users") !=
        std::string::npos);
  CHECK(complaints_about(with_console("{admins: [bob]}")).find("unknown key") != std::string::npos);
}

TEST_CASE("single settings") {
  Config config = loaded(Parts{}.text());
  CHECK(value_of(config, "query_wait_timeout") == "120");
  CHECK(change_setting(config, "query_wait_timeout", "3"));
  CHECK(value_of(config, "query_wait_timeout") == "3");
  CHECK(change_setting(config, "queue_timeout", "250ms"));
  CHECK(value_of(config, "query_wait_timeout") == "0.25");
  CHECK(change_setting(config, "default_pool_size", "7"));
  CHECK(config.defaults.size == 7U);
  CHECK(change_setting(config, "pool_mode", "session"));
  CHECK(value_of(config, "pool_mode") == "session");
  CHECK(change_setting(config, "log_level", "debug"));
  CHECK(config.log.level == LogLevel::debug);
  CHECK(change_setting(config, "max_client_conn", "12"));
  CHECK(config.max_client_conn == 12);
}

TEST_CASE("a bad value changes nothing and is explained") {
  Config config = loaded(Parts{}.text());
  for (const auto& each :
       std::vector<std::pair<std::string, std::string>>{{"max_client_conn", "0"},
                                                        {"max_client_conn", "1}\nusers: {}"},
                                                        {"max_client_conn", ""},
                                                        {"pool_mode", "wat"},
                                                        {"workers", "2"},
                                                        {"min_pool_size", "21"},
                                                        {"", "1"},
                                                        {"wat", "1"}}) {
    const std::string& key = each.first;
    const std::string& value = each.second;
    CAPTURE(key);
    CAPTURE(value);
    const Status status = change_setting(config, key, value);
    REQUIRE_FALSE(status);
    CHECK_FALSE(status.error().message.empty());
  }
  CHECK(config.max_client_conn == 1000);
  CHECK(config.defaults == PoolOptions{});
}

TEST_CASE("what is shown is sorted, and shows no secret") {
  Parts parts;
  parts.user = "{password: planted}";
  const std::vector<Setting> settings = settings_of(loaded(parts.text()));
  std::string last;
  for (const Setting& setting : settings) {
    CHECK(last < setting.key);
    last = setting.key;
    CHECK(setting.value.find("planted") == std::string::npos);
  }
}

}  // namespace
}  // namespace dwspool::config::testing
