// The parts of the configuration file, one function each. Each reads its keys out of the root of
// the file, or out of the section given, and complains about what is wrong with them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dwspool/config/config.h"

#include "config/reader.h"

namespace dwspool::config {

// listen.cpp
void read_listeners(Reading& reading, Section& root, Config& config);
void read_http(Reading& reading, Section& root, Config& config);

// tls.cpp
void read_client_tls(Reading& reading, Section& root, ClientTls& result);
void read_cluster_tls(Reading& reading, Section& cluster, ServerTls& result);
// Draws its conclusions from what was read, and tries it out. Complaints are about `key` of the
// section, or, when it is empty, about the option that is wrong.
void check_cluster_tls(Section& section, std::string_view key, ServerTls& result);

// peers.cpp
void read_peers(Reading& reading, Section& root, Config& config);

// clusters.cpp
void read_clusters(Reading& reading, Section& root, Config& config);

// introductions.cpp: `auth_query` and `pass_through` of a cluster
void read_introductions(Section& cluster, Cluster& into);
// After read_users: whether users that are not configured can be asked for what it takes.
void check_introductions(Section& root, const Config& config);

// replay.cpp: `replay` of a cluster
void read_cluster_replay(Section& cluster, Cluster& into);

// pools.cpp
void read_pool_options(Section& section, PoolOptions& options);
void read_defaults(Section& root, Config& config);
// Complains about settings that contradict each other, if `own`, what the section itself says,
// has a part in it. `of` tells where the other part may come from: " of database 'x'", or empty.
// True when there was something to complain about.
bool check_pool(Section& section, const PoolOptions& own, const PoolSettings& effective,
                std::string_view of);

// databases.cpp; after read_clusters and read_defaults
void read_databases(Section& root, Config& config);

// access.cpp; after read_client_tls
void read_access(Reading& reading, Section& root, Config& config);

// users.cpp; after read_databases and read_access
void read_auth_method(Section& section, std::string_view key, std::optional<AuthMethod>& method);
void read_users(Reading& reading, Section& root, Config& config);

// console.cpp; after read_users
void read_console(Reading& reading, Section& root, Config& config);

// load.cpp: the keys that are no section of their own, and `log`.
void read_process(Section& root, Config& config);
void read_log(Section& root, Config& config);

// Shared by clusters.cpp, databases.cpp and users.cpp: a number of connections, or 0 for any.
void read_limit(Section& section, std::string_view key, std::uint32_t& limit);

// Shared by load.cpp, databases.cpp and users.cpp.
template <class Target>
void read_slow_statement(Section& section, Target& slow_statement) {
  section.duration("slow_statement", {std::chrono::milliseconds{1}, std::chrono::hours{24}, true},
                   slow_statement);
}

// Shared by listen.cpp and clusters.cpp: `tcp_keepalive` of a section.
void read_keepalive(Section& section, KeepAlive& keepalive);

// The largest time that any key takes, unless it says otherwise.
inline constexpr Duration longest_time = std::chrono::hours{24 * 30};
inline constexpr Duration shortest_time = std::chrono::milliseconds{1};

}  // namespace dwspool::config
