// config/dwspool.schema.json, config/dwspool.yaml and the reader know the same keys and defaults.
#include <algorithm>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "config/document.h"
#include "support.h"
#include "support/test_certificates.h"

namespace dwspool::config::testing {
namespace {

const TreeNode* find(const TreeNode& node, std::string_view key) {
  for (const TreeEntry& entry : node.entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

// The keys that a schema names, in the form of known_keys(). JSON is YAML, so the reader's own
// parser can read it.
class SchemaKeys {
 public:
  explicit SchemaKeys(const TreeNode& root) : root_(root) { walk(root, ""); }
  const std::set<std::string>& keys() const { return keys_; }

 private:
  void walk(const TreeNode& schema, const std::string& path) {
    if (const TreeNode* const reference = find(schema, "$ref")) {
      const std::string name = reference->text.substr(reference->text.rfind('/') + 1);
      walk(*find(*find(root_, "definitions"), name), path);
    }
    if (const TreeNode* const properties = find(schema, "properties")) {
      for (const TreeEntry& property : properties->entries) {
        const std::string key = path.empty() ? property.key : path + '.' + property.key;
        keys_.insert(key);
        walk(property.value, key);
      }
    }
    for (const std::string_view several : {"anyOf", "allOf", "oneOf"}) {
      const TreeNode* const schemas = find(schema, several);
      if (schemas == nullptr) continue;
      for (const TreeNode& each : schemas->items) walk(each, path);
    }
    if (const TreeNode* const items = find(schema, "items")) walk(*items, path + "[]");
    const TreeNode* const others = find(schema, "additionalProperties");
    if (others != nullptr && others->kind == TreeNode::Kind::map) walk(*others, path + ".*");
  }

  const TreeNode& root_;
  std::set<std::string> keys_;
};

// The example with everything in it that is commented out: '#' right before a key, or before the
// indentation of one.
std::string all_enabled(const std::string& example) {
  static const std::regex commented_out("^( *)#([^ ].*|  +[^ ].*)$");
  std::istringstream lines(example);
  std::string enabled;
  for (std::string line; std::getline(lines, line);) {
    enabled += std::regex_replace(line, commented_out, "$1$2") + '\n';
  }
  return enabled;
}

bool same_settings(const PoolSettings& a, const PoolSettings& b) {
  return a.mode == b.mode && a.size == b.size && a.min_size == b.min_size &&
         a.reserve_size == b.reserve_size && a.reserve_timeout == b.reserve_timeout &&
         a.queue_timeout == b.queue_timeout && a.queue_notice == b.queue_notice &&
         a.server_idle_timeout == b.server_idle_timeout && a.server_lifetime == b.server_lifetime &&
         a.defer_begin == b.defer_begin && a.max_prepared_statements == b.max_prepared_statements &&
         a.pin_on == b.pin_on && a.replay == b.replay && a.replay_deadline == b.replay_deadline &&
         a.replay_attempts == b.replay_attempts;
}

bool same_keepalive(const KeepAlive& a, const KeepAlive& b) {
  return a.idle == b.idle && a.interval == b.interval && a.count == b.count;
}

TEST_CASE("the schema names exactly the keys that are read") {
  const DocumentResult schema =
      parse_document(content_of(source_file("config/dwspool.schema.json")));
  REQUIRE(std::holds_alternative<TreeNode>(schema));
  const SchemaKeys in_schema(std::get<TreeNode>(schema));
  const std::vector<std::string> read = known_keys();
  CHECK(std::is_sorted(read.begin(), read.end()));
  for (const std::string& key : in_schema.keys()) {
    CAPTURE(key);
    CHECK(std::find(read.begin(), read.end(), key) != read.end());
  }
  for (const std::string& key : read) {
    CAPTURE(key);
    CHECK(in_schema.keys().count(key) == 1);
  }
}

TEST_CASE("the example loads as it is") {
  const std::string path = source_file("config/dwspool.yaml");
  CHECK(complaints_about(content_of(path), path).empty());
  CHECK(content_of(path).starts_with("# yaml-language-server: $schema=dwspool.schema.json\n"));
}

TEST_CASE("the example with everything enabled loads, and shows the defaults") {
  const TempDir dir;
  const std::string secret_file = dir.write("secret", "x\n");
  const std::string example = content_of(source_file("config/dwspool.yaml"));
  dwspool::testing::TestCertificates certificates(dir.path(""));
  for (const char* name : {"server", "client"}) certificates.issue(name, name);
  std::string enabled = all_enabled(example);
  for (const auto& [name, file] :
       {std::pair{"/etc/dwspool/[a-z]+\\.password", secret_file},
        std::pair{"/etc/dwspool/tls/[a-z-]+\\.crl", certificates.revoke("client")},
        std::pair{"/etc/dwspool/tls/(root|client-ca)\\.crt", certificates.ca()},
        std::pair{"/etc/dwspool/tls", dir.path("")},
        std::pair{"/etc/dwspool/pg_hba.conf", dir.write("hba", "host all all 10.0.0.0/8 md5\n")},
        std::pair{"/etc/dwspool/userlist.txt", dir.write("list", "\"zoe\" \"x\"\n")}}) {
    enabled = std::regex_replace(enabled, std::regex(name), file);
  }
  REQUIRE(enabled != example);
  const Config all = loaded(enabled);
  const Config plain = loaded(example);
  CHECK(all.listeners.size() == 4);
  CHECK(all.clusters.size() == 2);
  CHECK(all.databases.size() == 3);
  CHECK(all.users.size() == 4);
  CHECK(all.access.size() == 4);
  CHECK(all.cleartext_passwords == Config{}.cleartext_passwords);
  CHECK(all.auth_failure_limit == Config{}.auth_failure_limit);
  CHECK(all.listeners[0].host == plain.listeners[0].host);
  CHECK(all.listeners[0].port == plain.listeners[0].port);
  CHECK(all.listeners[3].unix_mode == Listener{}.unix_mode);
  CHECK(all.listeners[3].backlog == Listener{}.backlog);
  CHECK(all.workers == Config{}.workers);
  CHECK(all.max_client_conn == Config{}.max_client_conn);
  CHECK(all.client_login_timeout == Config{}.client_login_timeout);
  CHECK(all.shutdown_timeout == Config{}.shutdown_timeout);
  CHECK(all.auth_method == Config{}.auth_method);
  CHECK(all.log.level == LogOptions{}.level);
  CHECK(all.log.format == LogOptions{}.format);
  CHECK(same_keepalive(all.client_keepalive, Config{}.client_keepalive));
  CHECK(same_settings(all.pool_settings(Database{}, nullptr), PoolSettings{}));
  const Cluster& main = *all.find_cluster("main");
  CHECK(main.dialect == Cluster{}.dialect);
  CHECK(main.connect_timeout == Cluster{}.connect_timeout);
  CHECK(same_keepalive(main.keepalive, Cluster{}.keepalive));
  CHECK(main.tls.mode == ServerTls{}.mode);
  CHECK(main.tls.send_sni == ServerTls{}.send_sni);
  CHECK(main.tls.options.algorithms.min_version == tls::Algorithms{}.min_version);
  CHECK(main.tls.options.algorithms.max_version == tls::Algorithms{}.max_version);
  CHECK(all.client_tls.mode == TlsMode::prefer);
  CHECK(main.max_pbkdf2_iterations == Cluster{}.max_pbkdf2_iterations);
  CHECK(main.balance == Cluster{}.balance);
  CHECK(main.warm_up == Cluster{}.warm_up);
  CHECK(main.max_standby_lag == Cluster{}.max_standby_lag);
  CHECK(main.probing.interval == Probing{}.interval);
  CHECK(main.probing.suspect_interval == Probing{}.suspect_interval);
  CHECK(main.probing.down_interval == Probing{}.down_interval);
  CHECK(main.probing.timeout == Probing{}.timeout);
  CHECK(main.probing.dead_after == Probing{}.dead_after);
}

}  // namespace
}  // namespace dwspool::config::testing
