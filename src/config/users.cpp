// `users`: who may come in, and as whom they go on.
#include <algorithm>
#include <array>

#include "dwspool/base/text.h"

#include "config/files.h"
#include "config/sections.h"
#include "config/userlist.h"

namespace dwspool::config {
namespace {

using Kind = auth::UserSecret::Kind;

constexpr std::array auth_methods = {
    Choice<AuthMethod>{"trust", AuthMethod::trust},
    Choice<AuthMethod>{"password", AuthMethod::password},
    Choice<AuthMethod>{"md5", AuthMethod::md5},
    Choice<AuthMethod>{"scram-sha-256", AuthMethod::scram_sha_256},
};

constexpr std::size_t max_userlist = std::size_t{16} << 20U;

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";

// The key that the secret stands under.
std::string_view secret_key(Section& section) {
  return section.has("password") ? "password" : "password_file";
}

// Whether the client can prove by `method` that it knows `secret`; complains if not.
// `introduced`: a cluster may know what this file does not.
void check_secret(Section& section, const User& user, AuthMethod method, bool introduced) {
  const std::string by = "auth " + std::string(to_string(method));
  const bool is_wildcard = user.name == "*";
  if (method == AuthMethod::trust) return;
  if (user.secret.kind == Kind::none && introduced) return;
  if (user.secret.kind == Kind::none) {
    section.complain(is_wildcard ? "stands for names that have no password here, so nobody could "
                                   "log in by " +
                                       by +
                                       "; write an entry for each user, or "
                                       "'auth: trust'"
                                 : "has no password to check by " + by +
                                       "; write 'password', 'password_file' or 'auth: trust'");
    return;
  }
  const std::string_view key = secret_key(section);
  if (is_wildcard) {
    section.complain(key,
                     "one password for every name makes no sense; write an entry for each user");
  } else if (user.secret.kind == Kind::md5 && method == AuthMethod::scram_sha_256) {
    section.complain(key, "an md5 hash cannot be used with " + by +
                              "; write the password itself or a SCRAM-SHA-256 verifier");
  } else if (user.secret.kind == Kind::gauss && method != AuthMethod::password) {
    section.complain(key,
                     "a verifier of GaussDB's can only be compared with a password that comes "
                     "in clear: it needs auth password");
  } else if (user.secret.kind == Kind::scram && method == AuthMethod::md5) {
    section.complain(key, "a SCRAM-SHA-256 verifier cannot be used with " + by +
                              "; write the password itself or an md5 hash");
  }
}

bool introduces(const Config& config) {
  return std::any_of(config.clusters.begin(), config.clusters.end(),
                     [](const Cluster& cluster) { return cluster.introduces(); });
}

void read_secret(Section& section, User& user) {
  const std::optional<Secret> written = section.secret("password");
  if (!written) return;
  user.secret = auth::parse_user_secret(written->reveal());
  if (user.secret.kind == Kind::plain && written->reveal().starts_with(verifier_prefix)) {
    section.complain(secret_key(section), "begins like a SCRAM-SHA-256 verifier, but is none");
  }
}

// Against every database, as a pool belongs to both; the first contradiction will do.
void check_pools(Section& section, const User& user, const Config& config) {
  const PoolSettings alone = config.pool_settings(Database{}, &user);
  if (check_pool(section, user.pool, alone, "")) return;
  for (const Database& database : config.databases) {
    const PoolSettings both = config.pool_settings(database, &user);
    const std::string of = " together with database '" + printable(database.name) + "'";
    if (check_pool(section, user.pool, both, of)) return;
  }
}

User read_user(Section& section, std::string name, const Config& config) {
  User user;
  user.name = std::move(name);
  read_auth_method(section, "auth", user.auth);
  read_secret(section, user);
  section.name_into("backend_user", user.backend_user);
  user.backend_password = section.secret("backend_password");
  read_limit(section, "max_connections", user.max_connections);
  read_limit(section, "max_clients", user.max_clients);
  read_pool_options(section, user.pool);
  read_slow_statement(section, user.pool.slow_statement);
  section.refuse_unknown();
  if (!section.clean()) return user;
  if (!config.has_access_rules || user.auth) {
    check_secret(section, user, user.auth.value_or(config.auth_method), introduces(config));
  }
  check_pools(section, user, config);
  return user;
}

}  // namespace

void read_auth_method(Section& section, std::string_view key, std::optional<AuthMethod>& method) {
  section.choice(key, auth_methods, method);
}

static void read_userlist(Reading& reading, Section& root, Config& config) {
  const std::optional<std::string> name = root.text("userlist_file", "the name of a file");
  if (!name) return;
  const std::string path = resolve_path(*name, reading.report.file());
  Result<std::string> text = read_file(path, max_userlist);
  if (!text) {
    root.complain("userlist_file", "cannot read " + path + ": " + text.error().message);
    return;
  }
  auto parsed = parse_userlist(*text);
  wipe(*text);
  if (!parsed) {
    root.complain("userlist_file", path + ": " + parsed.error().message);
    return;
  }
  for (auto& [user_name, password] : *parsed) {
    User user;
    user.name = user_name;
    const bool known = std::any_of(config.users.begin(), config.users.end(),
                                   [&](const User& each) { return each.name == user.name; });
    if (known || user.name.empty()) continue;  // `users` says more
    user.secret = auth::parse_user_secret(password.reveal());
    config.users.push_back(std::move(user));
  }
}

void read_users(Reading& reading, Section& root, Config& config) {
  const TreeNode* const node = root.ask("users");
  for (Named& entry : root.named("users")) {
    Section section = root.section_of(entry, "users");
    config.users.push_back(read_user(section, entry.name, config));
  }
  read_userlist(reading, root, config);
  const bool nothing = node == nullptr || node->kind == TreeNode::Kind::null ||
                       (node->kind == TreeNode::Kind::map && node->entries.empty());
  check_introductions(root, config);
  if (introduces(config)) return;
  if (nothing && config.users.empty() && !root.has("userlist_file") && !config.has_access_rules &&
      config.auth_method != AuthMethod::trust) {
    root.complain("users", "no user is named, so nobody could log in by auth " +
                               std::string(to_string(config.auth_method)) +
                               "; write an entry for each user, or auth_method: trust");
  }
}

}  // namespace dwspool::config
