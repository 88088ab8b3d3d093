// libpq's connection strings, read by libpq itself: what they mean here is what they mean to
// psql. Nothing in this file opens a connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/result.h"
#include "dwspool/base/secret.h"
#include "dwspool/base/time.h"

#include "dwspool/config/config.h"

namespace dwspool::config {

// A host as a connection string names it.
struct ConninfoHost {
  Coordinator coordinator;  // where to connect: hostaddr if there is one
  std::string name;         // what a password file knows it by
};

// What a string says, with what its `service` adds. Nothing here comes from the PG* variables of
// the environment or from the name of the operating system's user; an empty text or no value
// means that neither the string nor the service says anything.
struct Conninfo {
  std::vector<ConninfoHost> hosts;
  std::string database;
  std::string user;
  std::string passfile;
  std::optional<Secret> password;
  std::optional<Duration> connect_timeout;
  std::optional<Duration> keepalive_idle;
  std::optional<Duration> keepalive_interval;
  std::optional<int> keepalive_count;
  std::optional<ServerTls> tls;  // when anything about TLS is said; not checked yet
  // What the string says and dwspool cannot do, a sentence each.
  std::vector<std::string> problems;
};

// `text`: "host=a,b port=1,2 user=x service=y" or "postgresql://...". Reads the service files
// that libpq would (PGSERVICEFILE, ~/.pg_service.conf, the system's). The error holds no part of
// a password.
Result<Conninfo> parse_conninfo(const std::string& text);

// What the password file holds for these; nothing when it has no line for them. `passfile` empty:
// PGPASSFILE or ~/.pgpass. `database` empty: the user's name, as libpq has it.
std::optional<Secret> find_password(std::string_view host, std::uint16_t port,
                                    std::string_view database, std::string_view user,
                                    std::string_view passfile);

}  // namespace dwspool::config
