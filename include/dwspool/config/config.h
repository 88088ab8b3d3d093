// The configuration as a value: what the YAML file says, checked and with defaults filled in.
// Immutable once loaded; shared by all workers. config/dwspool.yaml documents every key.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/log.h"
#include "dwspool/base/pool_mode.h"
#include "dwspool/base/replay_level.h"
#include "dwspool/base/routing.h"
#include "dwspool/base/secret.h"
#include "dwspool/base/time.h"
#include "dwspool/base/tls_mode.h"

#include "dwspool/auth/access.h"
#include "dwspool/auth/user_secret.h"

#include "dwspool/tls/context.h"

namespace dwspool::config {

// One entry of `listen`.
struct Listener {
  std::string host;      // TCP: an address or name; "*" for all IPv4 and IPv6 addresses
  std::string unix_dir;  // Unix socket: its directory; the file is .s.PGSQL.<port>
  std::uint16_t port = 6432;
  std::uint32_t unix_mode = 0777;
  int backlog = 1024;
  // Load balancers: they begin with a header of the PROXY protocol, which says for whom.
  std::vector<auth::Network> proxies;

  bool is_unix() const { return !unix_dir.empty(); }
  friend bool operator==(const Listener&, const Listener&) = default;
};

struct KeepAlive {
  Duration idle = std::chrono::seconds{60};
  Duration interval = std::chrono::seconds{10};
  int count = 3;
  friend bool operator==(const KeepAlive&, const KeepAlive&) = default;
};

// Towards clients, on TCP.
struct ClientTls {
  TlsMode mode = TlsMode::disable;  // prefer, once there is a certificate
  tls::ServerOptions options;
};

// Towards the servers of a cluster.
struct ServerTls {
  TlsMode mode = TlsMode::prefer;
  bool send_sni = true;
  tls::ClientOptions options;

  friend bool operator==(const ServerTls&, const ServerTls&) = default;
};

// One coordinator (CN), or one server of a PostgreSQL cluster.
struct Coordinator {
  std::string host;  // name or address; a directory (leading '/') for a Unix socket
  std::uint16_t port = 8000;
  std::string tls_name;  // whose certificate it must have; empty: `host`
  std::uint32_t weight = 1;
  std::uint32_t priority = 0;  // Balance::priority: the lowest goes first
  std::uint32_t ordinal = 0;   // of several that have one name; the first is 0

  bool is_unix() const { return host.starts_with('/'); }
  // "host:port", for logs, metrics and the console; "host:port#2" for the second of that name.
  std::string label() const;
  friend bool operator==(const Coordinator&, const Coordinator&) = default;
};

// How the hosts of a cluster are looked after.
struct Probing {
  // Whom the probes log in as; without a user, like the first clients that come.
  std::string user;
  std::optional<Secret> password;
  std::string database;
  Duration interval = std::chrono::seconds{1};  // 0: no probes
  Duration suspect_interval = std::chrono::milliseconds{100};
  Duration down_interval = std::chrono::milliseconds{500};
  Duration timeout = std::chrono::seconds{1};
  Duration dead_after = std::chrono::seconds{8};  // 0: never
  bool configured = false;                        // the section is there
  friend bool operator==(const Probing&, const Probing&) = default;
};

// An error by which a coordinator says that a statement was refused before it ran, besides those
// that are known: this SQLSTATE, with this text somewhere in its message.
struct Refusal {
  std::string sqlstate;
  std::string text;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

// Coordinators that are found in pgxc_node.
struct Discovery {
  bool enabled = false;
  Duration interval = std::chrono::seconds{30};
  // Where a coordinator can be reached, by the address that pgxc_node has for it.
  std::vector<std::pair<Coordinator, Coordinator>> address_map;
  friend bool operator==(const Discovery&, const Discovery&) = default;
};

// Users that are not configured are looked up in the cluster's catalog.
struct AuthQuery {
  std::string user;  // empty: they are not
  std::optional<Secret> password;
  std::string database;
  std::string query;  // $1 is the user's name; its answer: name, secret
  Duration cache_time = std::chrono::seconds{60};
  friend bool operator==(const AuthQuery&, const AuthQuery&) = default;
};

// Users that are not configured are those that the cluster lets in.
struct PassThrough {
  bool enabled = false;
  Duration cache_time = std::chrono::minutes{10};
  friend bool operator==(const PassThrough&, const PassThrough&) = default;
};

// What keeps replay from making a failure worse; see retry/moderator.h. 0: no bound.
struct ReplayBounds {
  std::uint32_t max_waiting = 5000;
  std::uint32_t attempt_rate = 200;  // per second, at first
  std::uint32_t max_switchovers = 20;
  std::uint32_t quarantine_after = 2;
  friend bool operator==(const ReplayBounds&, const ReplayBounds&) = default;
};

struct Cluster {
  std::string name;
  std::vector<Coordinator> coordinators;                 // not empty
  Dialect dialect = Dialect::unknown;                    // unknown: found out at the first log-in
  Duration connect_timeout = std::chrono::seconds{10};   // TCP connect and log-in together
  Duration resolve_interval = std::chrono::seconds{15};  // of names; 0: for each connection
  KeepAlive keepalive{std::chrono::seconds{4}, std::chrono::seconds{2}, 2};
  std::uint32_t max_pbkdf2_iterations = 1000000;
  ServerTls tls;
  Balance balance = Balance::least_connections;
  Duration warm_up = std::chrono::seconds{5};           // 0: none
  std::optional<std::uint32_t> connect_rate;            // per second and host; 0: any
  std::uint32_t max_connections = 0;                    // of all pools; 0: any number
  std::uint32_t max_host_connections = 0;               // the same for each host
  std::uint32_t host_connection_reserve = 5;            // of what a host takes, for others
  Duration max_standby_lag = std::chrono::seconds{10};  // 0: any
  Probing probing;
  Discovery discovery;
  std::vector<Refusal> refusals;  // replay.refusals
  ReplayBounds replay_bounds;
  AuthQuery auth_query;
  PassThrough pass_through;  // not both
  // Refused passwords of a user in an hour; by default 3 for DWS, any number (0) for PostgreSQL.
  std::optional<std::uint32_t> auth_failure_budget;
  // From `conninfo:`; used by databases and users that name none of their own.
  std::string database;
  std::string user;
  Secret password;

  // Whether the cluster knows users that are not configured.
  bool introduces() const { return !auth_query.user.empty() || pass_through.enabled; }
  friend bool operator==(const Cluster&, const Cluster&) = default;
};

// Knobs of a pool. Each may stand under `defaults`, a database or a user; the nearest to the
// user wins. Pool = one database, one backend user and password, and one set of knobs.
struct PoolOptions {
  std::optional<PoolMode> mode;
  std::optional<std::uint32_t> size;
  std::optional<std::uint32_t> min_size;
  std::optional<std::uint32_t> reserve_size;
  std::optional<Duration> reserve_timeout;
  std::optional<Duration> queue_timeout;
  std::optional<Duration> queue_notice;
  std::optional<Duration> server_idle_timeout;
  std::optional<Duration> server_lifetime;
  std::optional<bool> defer_begin;
  std::optional<std::uint32_t> max_prepared_statements;
  std::optional<std::vector<std::string>> pin_on;  // in lower case, sorted
  std::optional<ReplayLevel> replay;
  std::optional<Duration> replay_deadline;
  std::optional<std::uint32_t> replay_attempts;
  std::optional<Duration> slow_statement;  // not under `defaults`: there it is log.slow_statement
  friend bool operator==(const PoolOptions&, const PoolOptions&) = default;
};

// The same with every question answered.
struct PoolSettings {
  PoolMode mode = PoolMode::automatic;
  std::uint32_t size = 20;
  std::uint32_t min_size = 0;
  std::uint32_t reserve_size = 0;
  Duration reserve_timeout = std::chrono::seconds{5};
  Duration queue_timeout = std::chrono::seconds{120};      // 0: wait for ever
  Duration queue_notice = std::chrono::seconds{5};         // 0: no notice
  Duration server_idle_timeout = std::chrono::minutes{9};  // below DWS's session_timeout of 10 min
  Duration server_lifetime = std::chrono::hours{1};        // 0: no limit
  bool defer_begin = true;
  std::uint32_t max_prepared_statements = 200;
  std::vector<std::string> pin_on;  // functions that bind a session, in pool_mode auto
  ReplayLevel replay = ReplayLevel::transaction;
  Duration replay_deadline{};  // 0: 60 s, or 150 s in front of DWS
  std::uint32_t replay_attempts = 5;
  Duration slow_statement{};  // 0: none is logged
};

// What clients may ask for by name; "*" stands for every name that has no entry.
struct Database {
  std::string name;
  std::string cluster;           // name of an entry of `clusters`
  std::string backend_database;  // empty: the name that the client asked for
  std::string backend_user;      // not empty: all clients of this database log in as it
  std::optional<Secret> backend_password;
  std::optional<Target> target;       // else read_write
  std::uint32_t max_connections = 0;  // of all its pools; 0: any number
  std::uint32_t max_clients = 0;      // 0: any number
  PoolOptions pool;
};

// Without access rules: trust, password, md5 or scram_sha_256.
using AuthMethod = auth::AccessMethod;

struct User {
  std::string name;                        // "*" for every name that has no entry
  std::optional<AuthMethod> auth;          // else Config::auth_method
  auth::UserSecret secret;                 // what the client must prove to know
  std::string backend_user;                // empty: the client's own name
  std::optional<Secret> backend_password;  // else a plain `secret`, else the cluster's
  std::uint32_t max_connections = 0;       // of all its pools; 0: any number
  std::uint32_t max_clients = 0;           // 0: any number
  PoolOptions pool;
};

// Another instance of dwspool, or with a name that has several addresses several.
struct Peer {
  std::string id;    // its instance_id; may be empty
  std::string host;  // name or address; a directory for a Unix socket
  std::uint16_t port = 6432;

  std::string label() const;
  friend bool operator==(const Peer&, const Peer&) = default;
};

struct HttpEndpoint {
  std::string host;
  std::uint16_t port = 0;          // 0: none
  bool pgbouncer_metrics = false;  // also by the names of PgBouncer's exporter
  friend bool operator==(const HttpEndpoint&, const HttpEndpoint&) = default;
};

// Whether a line says of each client that it came, and that it went.
enum class LogConnections : std::uint8_t { none, sampled, all };

// Who may use the console, the database `dwspool` (or `pgbouncer`).
struct Console {
  std::vector<std::string> admin_users;  // everything
  std::vector<std::string> stats_users;  // SHOW
  bool old_columns = false;              // SHOW has what old versions of PgBouncer had, too

  bool is_admin(std::string_view user) const;
  bool is_allowed(std::string_view user) const;
};

// Whether clients mean the console by this database.
bool is_console(std::string_view database);

struct Config {
  std::string file;
  std::vector<Listener> listeners;
  std::uint32_t workers = 1;
  std::uint32_t max_client_conn = 1000;
  Duration client_login_timeout = std::chrono::seconds{60};
  Duration shutdown_timeout = std::chrono::seconds{30};
  Duration handover_time = std::chrono::seconds{30};
  KeepAlive client_keepalive;
  ClientTls client_tls;
  AuthMethod auth_method = AuthMethod::scram_sha_256;
  bool has_access_rules = false;           // then nobody comes in for whom there is none
  std::vector<auth::AccessRule> access;    // the first that matches counts
  bool cleartext_passwords = false;        // also without TLS
  std::uint32_t auth_failure_limit = 100;  // failed log-ins of an address in a minute; 0: no limit
  LogOptions log;
  LogConnections log_connections = LogConnections::none;
  Duration slow_statement{};  // 0: none is logged
  HttpEndpoint http;
  Console console;
  std::string instance_id;  // which of the peers this is; may be empty
  std::vector<Peer> peers;  // the others, this one left out
  std::vector<Cluster> clusters;
  std::vector<Database> databases;
  std::vector<User> users;
  PoolOptions defaults;

  const Cluster* find_cluster(std::string_view name) const;
  // The entry of that name, else that of "*", else null.
  const Database* find_database(std::string_view name) const;
  const User* find_user(std::string_view name) const;
  // That of the database's entry; null if there is none.
  const Cluster* cluster_of(std::string_view database) const;
  // Whether there is somebody who could let the user into the database.
  bool may_come_in(std::string_view user, std::string_view database) const;
  // Whether the cluster's hosts are probed: if there is a choice, or somebody asks for a role.
  bool is_probed(const Cluster& cluster) const;
  // defaults, then the database's own, then the user's own.
  PoolSettings pool_settings(const Database& database, const User* user) const;
};

}  // namespace dwspool::config
