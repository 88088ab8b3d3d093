// `auth_query`, `pass_through` and `auth_failure_budget` of a cluster.
#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

using namespace std::chrono_literals;

// A configuration whose cluster has this, with these lines at the top.
std::string set_up(const std::string& cluster, const std::string& top = {}) {
  return top + "\nclusters:\n  main: {coordinators: [\"cn1:8000\"], " + cluster +
         "}\ndatabases:\n  \"*\": {}\n";
}

const std::string lookup = "auth_query: {user: keeper, database: postgres}";

}  // namespace

TEST_CASE("introductions: who asks, and what") {
  const Config config =
      loaded(set_up("auth_query: {user: keeper, password: s, database: postgres}"));
  const AuthQuery& query = config.clusters.front().auth_query;
  CHECK(query.user == "keeper");
  CHECK(query.password == Secret(std::string("s")));
  CHECK(query.database == "postgres");
  CHECK(query.cache_time == 60s);
  CHECK(query.query.find("pg_catalog.pg_authid") != std::string::npos);
  CHECK(query.query.find("rolvaliduntil") != std::string::npos);
  CHECK(query.query.find("rolvalidbegin") != std::string::npos);
  const Config own = loaded(
      set_up("auth_query: {user: u, database: d, query: \"select * from f($1)\", cache_time: 0}"));
  CHECK(own.clusters.front().auth_query.query == "select * from f($1)");
  CHECK(own.clusters.front().auth_query.cache_time == Duration::zero());
  CHECK_FALSE(loaded(Parts{}.text()).clusters.front().introduces());
}

TEST_CASE("introductions: then no user need be named") {
  CHECK(loaded(set_up(lookup)).clusters.front().introduces());
  CHECK(
      loaded(set_up(lookup) + "users:\n  bob: {pool_mode: session}\n  \"*\": {}\n").users.size() ==
      2);
  const Config config = loaded(set_up("pass_through: {}", "auth_method: password"));
  CHECK(config.clusters.front().pass_through.enabled);
  CHECK(config.clusters.front().pass_through.cache_time == 10min);
  CHECK(config.may_come_in("anybody", "anything"));
  CHECK_FALSE(loaded(Parts{}.text()).may_come_in("anybody", "app"));
  CHECK(loaded(Parts{}.text()).may_come_in("bob", "app"));
}

TEST_CASE("introductions: the budget") {
  CHECK_FALSE(loaded(set_up(lookup)).clusters.front().auth_failure_budget);
  CHECK(loaded(set_up(lookup + ", auth_failure_budget: 0")).clusters.front().auth_failure_budget ==
        0);
  CHECK(loaded(set_up(lookup + ", auth_failure_budget: 5")).clusters.front().auth_failure_budget ==
        5);
}

TEST_CASE("introductions: what is wrong with them") {
  const auto wrong = [](const std::string& text, const std::string& part) {
    const std::string said = complaints_about(text);
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  wrong(set_up("auth_query: {user: keeper}"), "needs a 'user' who may ask, and a 'database'");
  wrong(set_up("auth_query: {}"), "needs a 'user'");
  wrong(set_up("auth_query: {user: u, database: d, query: \"select 1\"}"), "has no $1");
  wrong(set_up(lookup + ", pass_through: {}", "auth_method: password"), "contradicts 'auth_query'");
  wrong(set_up("pass_through: {}"), "needs auth_method: password");
  wrong(set_up("pass_through: {}", "auth_method: password") + "users:\n  \"*\": {auth: md5}\n",
        "needs auth_method: password");
  wrong(set_up("pass_through: {time: 5s}", "auth_method: password"), "time");
  wrong(set_up(lookup + ", auth_failure_budget: 101"), "auth_failure_budget");
}

TEST_CASE("introductions: access rules say how the passwords are asked for") {
  const Config config =
      loaded(set_up("pass_through: {}", "access:\n  - {type: local, method: password}\n"));
  CHECK(config.clusters.front().pass_through.enabled);
}

}  // namespace dwspool::config::testing
