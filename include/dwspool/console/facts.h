// What the console shows, as plain values: gathered from all workers, and added up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::console {

// A client's connection, or one to a coordinator.
struct ConnectionFacts {
  bool is_client = true;
  bool is_console = false;
  bool logged_in = true;
  bool close_needed = false;
  std::uint16_t port = 0;
  std::uint16_t local_port = 0;
  std::uint32_t id = 0;  // for KILL_CLIENT
  std::uint32_t remote_pid = 0;
  std::uint32_t backend_pid = 0;  // of the backend that a session is bound to
  std::string user;
  std::string database;
  std::string_view state;  // active, idle, waiting ...
  std::string address;     // of the other end; "unix" for a Unix socket
  std::string local_address;
  std::int64_t connected_at = 0;  // microseconds since the epoch
  std::int64_t request_at = 0;
  std::int64_t waits_us = 0;
  std::uint64_t pointer = 0;  // names the connection; never 0
  std::uint64_t link = 0;     // the other side's, 0 if there is none
  std::string tls;
  std::string application_name;
  std::size_t prepared_statements = 0;
  std::vector<std::string_view> pins;  // why a session is bound to its backend
  std::size_t input_waiting = 0;       // bytes
  std::size_t output_waiting = 0;
  friend bool operator==(const ConnectionFacts&, const ConnectionFacts&) = default;
};

// A pool; equal ones of several workers are one.
struct PoolFacts {
  std::string database;
  std::string user;
  std::string pool_mode;
  std::size_t clients = 0;  // logged in
  std::size_t clients_waiting = 0;
  std::size_t cancels = 0;  // on their way to a coordinator
  std::size_t backends_active = 0;
  std::size_t backends_cancelled = 0;  // those that a cancel is on its way to
  std::size_t backends_idle = 0;
  std::size_t backends_cleaning = 0;
  std::size_t backends_opening = 0;
  std::size_t backends_outdated = 0;
  std::int64_t longest_wait_us = 0;
};

// What the configuration says of a database that clients may name.
struct DatabaseFacts {
  std::string name;
  std::string hosts;  // with commas
  std::uint16_t port = 0;
  std::string database;
  std::string force_user;
  std::uint32_t pool_size = 0;
  std::uint32_t min_pool_size = 0;
  std::uint32_t reserve_pool_size = 0;
  std::int64_t server_lifetime_seconds = 0;
  std::string pool_mode;
  bool paused = false;
  bool disabled = false;
};

struct UserFacts {
  std::string name;
  std::optional<std::uint32_t> pool_size;  // of the user's own
  std::optional<std::uint32_t> reserve_pool_size;
  std::string pool_mode;
};

enum class Stat : std::uint8_t {
  assignments,
  transactions,
  queries,
  received,
  sent,
  transaction_time,  // these in microseconds
  query_time,
  wait_time,
  client_parses,
  server_parses,
  binds,
  logins,
  count
};
using Stats = std::array<std::uint64_t, static_cast<std::size_t>(Stat::count)>;

struct DatabaseStats {
  std::string database;
  Stats totals{};
  Stats averages{};
};

// What happened per second, or per transaction or query where it is a time, between two readings
// that lie `period_us` apart.
Stats averages_of(const Stats& before, const Stats& now, std::int64_t period_us);

struct CoordinatorFacts {
  std::string cluster;
  std::string coordinator;
  std::string_view state;  // up, down, unknown
  std::int64_t connections = 0;
  std::uint64_t opened = 0;
  std::uint64_t failures = 0;
  std::string_view role = "unknown";  // primary, standby, unknown
  std::string_view serving;           // yes, no; empty where nobody probes it
};

// Sessions of a pool that are bound to their backends for this reason.
struct PinFacts {
  std::string database;
  std::string user;
  std::string_view reason;
  std::size_t sessions = 0;
};

// A number of what is known about replay, as a metric has it.
struct ReplayFacts {
  std::string name;
  std::string database;  // these are empty where they do not apply
  std::string user;
  std::string failure;
  std::string outcome;
  double value = 0;
};

struct SettingFacts {
  std::string key;
  std::string value;
  std::string standard;
  bool changeable = false;
};

struct MemoryFacts {
  std::string name;
  std::size_t size = 0;
  std::size_t used = 0;
  std::size_t free = 0;
};

struct PeerFacts {
  std::uint32_t number = 0;  // its id, if that is a number, or its place in the list
  std::string host;
  std::uint16_t port = 0;
};

struct Facts {
  std::vector<ConnectionFacts> connections;
  std::vector<PoolFacts> pools;
  std::vector<DatabaseFacts> databases;
  std::vector<UserFacts> users;
  std::vector<DatabaseStats> stats;
  std::vector<CoordinatorFacts> coordinators;
  std::vector<PinFacts> pins;
  std::vector<ReplayFacts> replay;
  std::vector<SettingFacts> settings;
  std::vector<MemoryFacts> memory;
  std::vector<PeerFacts> peers;
  std::string version;
  bool paused = false;
  bool suspended = false;
  std::uint32_t max_clients = 0;
  std::size_t clients = 0;  // connected
  std::size_t clients_logging_in = 0;
  std::size_t console_clients = 0;
  std::size_t unsent = 0;  // connections with output that is not sent yet

  // Adds what another worker knows.
  void merge(Facts&& other);
};

}  // namespace dwspool::console
