// The knobs of a pool, wherever they stand.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "dwspool/base/text.h"

#include "config/sections.h"
#include "config/units.h"

namespace dwspool::config {
namespace {

constexpr std::array pool_modes = {
    Choice<PoolMode>{"session", PoolMode::session},
    Choice<PoolMode>{"transaction", PoolMode::transaction},
    Choice<PoolMode>{"statement", PoolMode::statement},
    Choice<PoolMode>{"auto", PoolMode::automatic},
};

constexpr std::array replay_levels = {
    Choice<ReplayLevel>{"off", ReplayLevel::off},
    Choice<ReplayLevel>{"connect", ReplayLevel::connect},
    Choice<ReplayLevel>{"statement", ReplayLevel::statement},
    Choice<ReplayLevel>{"transaction", ReplayLevel::transaction},
    Choice<ReplayLevel>{"token", ReplayLevel::token},
};
constexpr std::uint64_t most_attempts = 100;

// A coordinator of DWS takes some 800 connections; this is far beyond what any server likes.
constexpr std::uint64_t most_connections = 10000;
constexpr std::uint64_t most_prepared_statements = 100000;

// Shorter names are never looked for (sql::NameSet).
constexpr std::size_t shortest_name = 4;
constexpr std::size_t longest_name = 63;

// As SQL writes it without quotes: a letter, then letters, digits, '_' and '$'.
bool is_plain_name(std::string_view name) {
  const auto is_letter = [](char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; };
  return name.size() >= shortest_name && name.size() <= longest_name && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '$';
         });
}

void read_pin_on(Section& section, PoolOptions& options) {
  if (!section.has("pin_on")) return;
  options.pin_on.emplace();
  for (const Item& item : section.list("pin_on")) {
    const std::optional<std::string> name = section.text_of(item, "the name of a function");
    if (!name) continue;
    if (!is_plain_name(*name)) {
      section.complain(item,
                       "expected a function's name without its schema and without quotes: 4 to 63 "
                       "letters, digits, _ or $, a letter first");
      continue;
    }
    options.pin_on->push_back(to_lower(*name));
  }
  std::sort(options.pin_on->begin(), options.pin_on->end());
}

}  // namespace

void read_limit(Section& section, std::string_view key, std::uint32_t& limit) {
  section.number(key, {0, 1000000}, limit);
}

void read_pool_options(Section& section, PoolOptions& options) {
  const DurationRange wait{shortest_time, longest_time, true};
  section.choice("pool_mode", pool_modes, options.mode);
  section.number("pool_size", {1, most_connections}, options.size);
  section.number("min_pool_size", {0, most_connections}, options.min_size);
  section.number("reserve_pool", {0, most_connections}, options.reserve_size);
  // No 0: it could mean "at once" as well as "never", and never is reserve_pool: 0.
  section.duration("reserve_pool_timeout", {shortest_time, longest_time}, options.reserve_timeout);
  section.duration("queue_timeout", wait, options.queue_timeout);
  section.duration("queue_notice", wait, options.queue_notice);
  section.duration("server_idle_timeout", wait, options.server_idle_timeout);
  section.duration("server_lifetime", wait, options.server_lifetime);
  if (const auto value = section.boolean("defer_begin")) options.defer_begin = *value;
  section.number("max_prepared_statements", {0, most_prepared_statements},
                 options.max_prepared_statements);
  read_pin_on(section, options);
  section.choice("replay", replay_levels, options.replay);
  section.duration("replay_deadline", wait, options.replay_deadline);
  section.number("replay_attempts", {1, most_attempts}, options.replay_attempts);
}

bool check_pool(Section& section, const PoolOptions& own, const PoolSettings& effective,
                std::string_view of) {
  bool found = false;
  if ((own.min_size || own.size) && effective.min_size > effective.size) {
    section.complain(own.min_size ? "min_pool_size" : "pool_size",
                     "min_pool_size (" + std::to_string(effective.min_size) +
                         ") is above pool_size (" + std::to_string(effective.size) + ")" +
                         std::string(of));
    found = true;
  }
  const bool reserve_set = own.reserve_size || own.reserve_timeout || own.queue_timeout;
  const bool queue_ends = effective.queue_timeout > Duration::zero();
  if (reserve_set && effective.reserve_size > 0 && queue_ends &&
      effective.reserve_timeout >= effective.queue_timeout) {
    const std::string_view key = own.reserve_timeout ? "reserve_pool_timeout"
                                 : own.queue_timeout ? "queue_timeout"
                                                     : "reserve_pool";
    section.complain(key, "the reserve would never be used: reserve_pool_timeout (" +
                              format_duration(effective.reserve_timeout) +
                              ") is not below queue_timeout (" +
                              format_duration(effective.queue_timeout) + ")" + std::string(of));
    found = true;
  }
  return found;
}

void read_defaults(Section& root, Config& config) {
  Section section = root.section("defaults");
  read_pool_options(section, config.defaults);
  section.refuse_unknown();
  if (!section.clean()) return;
  check_pool(section, config.defaults, config.pool_settings(Database{}, nullptr), "");
}

}  // namespace dwspool::config
