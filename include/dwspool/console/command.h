// What an administrator says to the console: PgBouncer's grammar, so that its tools work, and a
// few commands more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "dwspool/wire/messages.h"

namespace dwspool::console {

enum class Verb : std::uint8_t {
  nothing,      // an empty query
  show,         // `what`
  show_client,  // a setting of the client's own, such as DateStyle; `argument`
  set,          // `argument` to `value`
  ignored,      // what drivers say by themselves: SET of their own settings, BEGIN, COMMIT ...
  reload,
  pause,  // these four: `argument` is the database, empty for all
  resume,
  reconnect,
  wait_close,
  disable,  // these three need one
  enable,
  kill,
  kill_client,  // `argument` is its id
  suspend,
  shutdown,  // `mode`
};

enum class Show : std::uint8_t {
  help,
  config,
  databases,
  pools,
  clients,
  servers,
  users,
  version,
  peers,
  peer_pools,
  fds,
  sockets,
  active_sockets,
  lists,
  mem,
  state,
  dns_hosts,
  dns_zones,
  stats,
  stats_totals,
  stats_averages,
  totals,
  coordinators,
  pins,
  replay,
  // With the columns that PgBouncer had before some version, behind those that it has.
  stats_with_old,
  databases_with_old,
};

enum class StopMode : std::uint8_t { immediate, wait_for_servers, wait_for_clients };

struct Command {
  Verb verb = Verb::nothing;
  Show what = Show::help;
  StopMode mode = StopMode::immediate;
  std::string argument;
  std::string value;
  std::string tag;  // of the CommandComplete

  // Whether it takes more than being among the `stats_users`.
  bool needs_admin() const;
};

// One command, perhaps with a semicolon behind it. The report has PgBouncer's wording where that
// has one.
std::variant<Command, wire::ErrorReport> parse(std::string_view text);

// All that SHOW HELP says, a line for each command.
std::string_view help();

}  // namespace dwspool::console
