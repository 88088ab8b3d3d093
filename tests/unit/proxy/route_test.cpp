#include <string>

#include <doctest/doctest.h>

#include "dwspool/proxy/pool_context.h"

#include "unit/config/support.h"

namespace dwspool::proxy {
namespace {

// "user/password@cluster/database", with "-" for no password.
std::string route(const config::Config& config, const std::string& database,
                  const std::string& user) {
  const std::optional<Route> made = make_route(config, database, user);
  if (!made) return "none";
  return made->user + '/' +
         (made->credential.password ? made->credential.password->reveal() : "-") + '@' +
         made->cluster->name + '/' + made->database;
}

std::string key(const config::Config& config, const std::string& database,
                const std::string& user) {
  return make_route(config, database, user).value().pool_key;
}

config::Config example() {
  return config::testing::loaded(R"(
clusters:
  first: {coordinators: ["cn1:8000"]}
  named: {coordinators: ["cn2:8000"], database: inner, user: service, password: "cluster's"}
databases:
  sales: {cluster: first}
  renamed: {cluster: first, database: real}
  shared: {cluster: first, user: archive, password: "database's"}
  lent: {cluster: first, user: bob}
  served: {cluster: named}
  own: {cluster: named, user: bob}
  "*": {cluster: first}
users:
  bob: {password: "bob's"}
  hashed: {auth: md5, password: "md5aabbccddeeff00112233445566778899"}
  other: {password: "other's", backend_user: bob}
  wrong: {password: "x", backend_user: bob, backend_password: "wrong"}
  same: {password: "y", backend_user: bob, backend_password: "bob's"}
  slow: {password: "z", backend_user: bob, pool_mode: session}
  guest: {password: "g", backend_password: "guest's"}
  "*": {auth: trust}
)");
}

}  // namespace

TEST_CASE("routes: the nearest that names a user wins, with the password that belongs to it") {
  const config::Config config = example();
  CHECK(route(config, "sales", "bob") == "bob/bob's@first/sales");
  CHECK(route(config, "sales", "guest") == "guest/guest's@first/sales");
  CHECK(route(config, "sales", "hashed") == "hashed/-@first/sales");  // not known in clear
  CHECK(route(config, "sales", "other") == "bob/bob's@first/sales");
  CHECK(route(config, "sales", "wrong") == "bob/wrong@first/sales");
  CHECK(route(config, "sales", "stranger") == "stranger/-@first/sales");
  CHECK(route(config, "renamed", "bob") == "bob/bob's@first/real");
  CHECK(route(config, "anything", "bob") == "bob/bob's@first/anything");
  CHECK(route(config, "shared", "bob") == "archive/database's@first/shared");
  CHECK(route(config, "lent", "guest") == "bob/bob's@first/lent");
  CHECK(route(config, "served", "bob") == "service/cluster's@named/inner");
  CHECK(route(config, "served", "other") == "bob/bob's@named/inner");
  CHECK(route(config, "own", "guest") == "bob/bob's@named/inner");
}

TEST_CASE("routes: what a client has proven stands in for a password that is not configured") {
  const config::Config config = example();
  const auth::Credential proven{Secret(std::string("proven")), std::nullopt};
  const auto made = [&](const std::string& database, const std::string& user) {
    const Route route = make_route(config, database, user, proven).value();
    CHECK(route.acquaintance.empty() == (route.credential.password != proven.password));
    return route.user + '/' + route.credential.password.value_or(Secret()).reveal();
  };
  CHECK(made("sales", "stranger") == "stranger/proven");
  CHECK(made("sales", "hashed") == "hashed/proven");
  CHECK(made("sales", "bob") == "bob/bob's");
  CHECK(made("sales", "guest") == "guest/guest's");
  // Not for somebody else.
  CHECK(made("lent", "stranger") == "bob/bob's");
  CHECK(made("served", "stranger") == "service/cluster's");
  // Who has proven something else shares nothing.
  const auth::Credential other{Secret(std::string("other")), std::nullopt};
  CHECK(make_route(config, "sales", "stranger", proven)->pool_key !=
        make_route(config, "sales", "stranger", other)->pool_key);
  CHECK(make_route(config, "sales", "stranger", proven)->pool_key !=
        make_route(config, "sales", "stranger")->pool_key);
}

TEST_CASE("routes: a database that is not configured has none") {
  const config::Config config = config::testing::loaded(config::testing::Parts{}.text());
  CHECK(route(config, "app", "bob") == "bob/secret@main/app");
  CHECK(route(config, "other", "bob") == "none");
}

TEST_CASE("routes: clients share backends when nothing tells them apart") {
  const config::Config config = example();
  CHECK(key(config, "sales", "bob") == key(config, "sales", "other"));
  CHECK(key(config, "sales", "bob") == key(config, "sales", "same"));
  CHECK(key(config, "shared", "bob") == key(config, "shared", "stranger"));
  CHECK(key(config, "sales", "bob") != key(config, "sales", "wrong"));  // the password
  CHECK(key(config, "sales", "bob") != key(config, "sales", "slow"));   // the pool mode
  CHECK(key(config, "sales", "bob") != key(config, "sales", "guest"));
  CHECK(key(config, "sales", "bob") != key(config, "anything", "bob"));
  CHECK(make_route(config, "sales", "slow")->settings.mode == PoolMode::session);
  CHECK(make_route(config, "sales", "bob")->account ==
        make_route(config, "anything", "same")->account);
  CHECK(make_route(config, "sales", "bob")->account !=
        make_route(config, "served", "other")->account);  // another cluster
  // The password itself is not in it.
  CHECK(key(config, "sales", "bob").find("bob's") == std::string::npos);
}

}  // namespace dwspool::proxy
