// `users`: who may come in, and as whom they go on.
#include <array>

#include "dwspool/base/text.h"

#include "config/sections.h"

namespace dwspool::config {
namespace {

using Kind = auth::UserSecret::Kind;

constexpr std::array auth_methods = {
    Choice<AuthMethod>{"trust", AuthMethod::trust},
    Choice<AuthMethod>{"md5", AuthMethod::md5},
    Choice<AuthMethod>{"scram-sha-256", AuthMethod::scram_sha_256},
};

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";

// The key that the secret stands under.
std::string_view secret_key(Section& section) {
  return section.has("password") ? "password" : "password_file";
}

// Whether the client can prove by `method` that it knows `secret`; complains if not.
void check_secret(Section& section, const User& user, AuthMethod method) {
  const std::string by = "auth " + std::string(to_string(method));
  const bool is_wildcard = user.name == "*";
  if (method == AuthMethod::trust) return;
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
  } else if (user.secret.kind == Kind::scram && method == AuthMethod::md5) {
    section.complain(key, "a SCRAM-SHA-256 verifier cannot be used with " + by +
                              "; write the password itself or an md5 hash");
  }
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
  section.refuse_unknown();
  if (!section.clean()) return user;
  check_secret(section, user, user.auth.value_or(config.auth_method));
  check_pools(section, user, config);
  return user;
}

}  // namespace

void read_auth_method(Section& section, std::string_view key, std::optional<AuthMethod>& method) {
  section.choice(key, auth_methods, method);
}

void read_users(Section& root, Config& config) {
  const TreeNode* const node = root.ask("users");
  for (Named& entry : root.named("users")) {
    Section section = root.section_of(entry, "users");
    config.users.push_back(read_user(section, entry.name, config));
  }
  const bool nothing = node == nullptr || node->kind == TreeNode::Kind::null ||
                       (node->kind == TreeNode::Kind::map && node->entries.empty());
  if (nothing && config.auth_method != AuthMethod::trust) {
    root.complain("users", "no user is named, so nobody could log in by auth " +
                               std::string(to_string(config.auth_method)) +
                               "; write an entry for each user, or auth_method: trust");
  }
}

}  // namespace dwspool::config
