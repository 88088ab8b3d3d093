// `databases`: what clients may ask for.
#include "dwspool/base/text.h"

#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::array targets = {
    Choice<Target>{"any", Target::any},
    Choice<Target>{"read-write", Target::read_write},
    Choice<Target>{"read-only", Target::read_only},
    Choice<Target>{"prefer-standby", Target::prefer_standby},
};

std::vector<std::string_view> cluster_names(const Config& config) {
  std::vector<std::string_view> names;
  for (const Cluster& cluster : config.clusters) names.push_back(cluster.name);
  return names;
}

std::string listed(const std::vector<std::string_view>& names) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    text += (i == 0 ? "'" : ", '") + printable(names[i]) + "'";
  }
  return names.size() > most ? text + ", ..." : text;
}

void read_cluster_name(Section& section, const Config& config, Database& database) {
  const std::vector<std::string_view> names = cluster_names(config);
  const std::optional<std::string> written = section.name("cluster");
  if (!section.has("cluster")) {
    if (names.size() == 1) database.cluster = names.front();
    if (names.size() > 1) {
      section.complain("there are several clusters; write 'cluster:' and one of " + listed(names));
    }
    return;
  }
  if (!written) return;
  if (config.find_cluster(*written) != nullptr) {
    database.cluster = *written;
    return;
  }
  // Without a cluster there has been a complaint already, and any name is as good as another.
  if (names.empty()) return;
  const std::string_view guess = nearest(*written, names);
  section.complain("cluster", "there is no cluster '" + printable(*written) + "'; " +
                                  (guess.empty() ? "the names are " + listed(names)
                                                 : "did you mean '" + printable(guess) + "'?"));
}

Database read_database(Section& section, std::string name, const Config& config) {
  Database database;
  database.name = std::move(name);
  if (is_console(database.name)) {
    section.complain(
        "this name is the console's; take another one, with 'database:' for the "
        "real name");
  }
  read_cluster_name(section, config, database);
  section.name_into("database", database.backend_database);
  section.name_into("user", database.backend_user);
  database.backend_password = section.secret("password");
  section.choice("target", targets, database.target);
  read_limit(section, "max_connections", database.max_connections);
  read_limit(section, "max_clients", database.max_clients);
  read_pool_options(section, database.pool);
  read_slow_statement(section, database.pool.slow_statement);
  section.refuse_unknown();
  if (!section.clean()) return database;
  const Cluster* const cluster = config.find_cluster(database.cluster);
  if (cluster != nullptr && database.target && *database.target != Target::any &&
      cluster->probing.interval <= Duration::zero()) {
    section.complain("target",
                     "which server is the primary is found out by probes, and the "
                     "cluster has 'probe: {interval: 0}'");
  }
  if (database.backend_password && database.backend_user.empty()) {
    section.complain("has a password, but no 'user' that it belongs to");
  }
  check_pool(section, database.pool, config.pool_settings(database, nullptr), "");
  return database;
}

}  // namespace

void read_databases(Section& root, Config& config) {
  const TreeNode* const node = root.ask("databases");
  for (Named& entry : root.named("databases")) {
    Section section = root.section_of(entry, "databases");
    config.databases.push_back(read_database(section, entry.name, config));
  }
  const bool nothing = node == nullptr || node->kind == TreeNode::Kind::null ||
                       (node->kind == TreeNode::Kind::map && node->entries.empty());
  if (nothing) {
    root.complain("databases",
                  "no database is named; to serve every database of the cluster, write: "
                  "databases: {\"*\": {}}");
  }
}

}  // namespace dwspool::config
