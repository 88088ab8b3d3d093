// `auth_query` and `pass_through` of a cluster: who knows users that this file does not.
#include "config/sections.h"

namespace dwspool::config {
namespace {

// For PostgreSQL and DWS alike. Every name by its schema, although the session looks nowhere else.
// A role that is not valid any more, or not yet, has no password. rolvalidbegin is a column of DWS;
// where pg_authid has none, the name means the null that stands further out.
constexpr std::string_view default_query =
    "select known.rolname, (select case when rolvalidbegin operator(pg_catalog.>) pg_catalog.now() "
    "or held.rolvaliduntil operator(pg_catalog.<) pg_catalog.now() then null else held.rolpassword "
    "end from pg_catalog.pg_authid as held where held.oid operator(pg_catalog.=) known.oid) "
    "from (select oid, rolname, null::pg_catalog.timestamptz as rolvalidbegin "
    "from pg_catalog.pg_authid where rolname operator(pg_catalog.=) $1::pg_catalog.name "
    "and rolcanlogin) as known";

}  // namespace

void read_introductions(Section& cluster, Cluster& into) {
  AuthQuery& lookup = into.auth_query;
  const TreeNode* const lookup_node = cluster.ask("auth_query");
  const bool has_lookup = lookup_node != nullptr && lookup_node->kind != TreeNode::Kind::null;
  Section part = cluster.section("auth_query");
  part.name_into("user", lookup.user);
  lookup.password = part.secret("password");
  part.name_into("database", lookup.database);
  lookup.query = part.text("query", "a statement").value_or(std::string(default_query));
  part.duration("cache_time", {shortest_time, std::chrono::hours{24}, true}, lookup.cache_time);
  part.refuse_unknown();
  if (has_lookup && part.clean()) {
    if (lookup.user.empty() || lookup.database.empty()) {
      part.complain("needs a 'user' who may ask, and a 'database' to ask in");
    } else if (lookup.query.find("$1") == std::string::npos) {
      part.complain("query", "has no $1, which stands for the name of the user that is looked up");
    }
  }
  PassThrough& pass = into.pass_through;
  const TreeNode* const pass_node = cluster.ask("pass_through");
  pass.enabled = pass_node != nullptr && pass_node->kind != TreeNode::Kind::null;
  Section pass_part = cluster.section("pass_through");
  pass_part.duration("cache_time", {shortest_time, std::chrono::hours{24}, true}, pass.cache_time);
  pass_part.refuse_unknown();
  if (pass.enabled && has_lookup) {
    cluster.complain("pass_through", "contradicts 'auth_query'; write one of them");
  }
  cluster.number("auth_failure_budget", {0, 100}, into.auth_failure_budget);
}

void check_introductions(Section& root, const Config& config) {
  if (config.has_access_rules) return;  // they may say password for some, and not for others
  const User* const anybody = config.find_user("*");
  const AuthMethod method =
      anybody != nullptr ? anybody->auth.value_or(config.auth_method) : config.auth_method;
  for (const Cluster& cluster : config.clusters) {
    if (!cluster.pass_through.enabled || method == AuthMethod::password) continue;
    root.complain("auth_method",
                  "cluster '" + cluster.name +
                      "' has pass_through, which needs the passwords that clients have, so that "
                      "it needs auth_method: password; users may have another 'auth'");
    return;
  }
}

}  // namespace dwspool::config
