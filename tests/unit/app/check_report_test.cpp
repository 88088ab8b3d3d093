#include "app/check_report.h"

#include <doctest/doctest.h>

namespace dwspool::app {
namespace {

using namespace std::chrono_literals;

ProbeResult server(std::map<std::string, std::string> settings) {
  ProbeResult probe;
  probe.reachable = probe.logged_in = true;
  probe.dialect = "dws";
  probe.server_version = "9.2.4";
  probe.role = "primary";
  probe.method = "gaussdb-sha256";
  probe.milliseconds = 12.4;
  probe.round_trip_milliseconds = 0.25;
  probe.clock_ahead_seconds = 0.1;
  probe.settings = std::move(settings);
  return probe;
}

config::PoolSettings pool(std::uint32_t size, Duration idle) {
  config::PoolSettings settings;
  settings.size = size;
  settings.reserve_size = 0;
  settings.server_idle_timeout = idle;
  return settings;
}

CheckRow row(std::string address) {
  CheckRow row;
  row.target = "CN";
  row.address = std::move(address);
  row.user = "app";
  row.database = "sales";
  return row;
}

TEST_CASE("advice: what a server's limits say against the pool") {
  const ProbeResult dws = server({{"max_connections", "100"},
                                  {"superuser_reserved_connections", "3"},
                                  {"session_timeout", "600"},
                                  {"failed_login_attempts", "10"}});
  CHECK(advice_for(dws, pool(97, 5min)).empty());
  const auto too_many = advice_for(dws, pool(98, 5min));
  REQUIRE(too_many.size() == 1);
  CHECK(too_many[0].find("98 connections, the server takes 97") != std::string::npos);
  for (const Duration idle : {Duration(10min), Duration(0)}) {
    const auto too_long = advice_for(dws, pool(10, idle));
    REQUIRE(too_long.size() == 1);
    CHECK(too_long[0].find("session_timeout") != std::string::npos);
  }
  CHECK(advice_for(server({{"session_timeout", "0"}}), pool(10, 0s)).empty());
  CHECK(advice_for(server({{"max_connections", "many"}}), pool(1000, 0s)).empty());
  ProbeResult late = server({});
  late.clock_ahead_seconds = -90;
  REQUIRE(advice_for(late, pool(10, 0s)).size() == 1);
  CHECK(advice_for(late, pool(10, 0s))[0].starts_with("its clock is 90.0 s behind"));
}

TEST_CASE("advice: what keeps auth_query from working") {
  config::Cluster cluster;
  cluster.name = "main";
  cluster.auth_query.user = "keeper";
  ProbeResult probe = server({});
  CHECK(advice_for_auth_query(probe, cluster).empty());
  const auto advised = [&](const std::string& sqlstate, const std::string& lookup_problem) {
    probe.sqlstate = sqlstate;
    probe.lookup_problem = lookup_problem;
    const std::vector<std::string> advice = advice_for_auth_query(probe, cluster);
    REQUIRE(advice.size() == 1);
    return advice.front();
  };
  CHECK(advised("42501", "denied").starts_with("user \"keeper\" may not read"));
  CHECK(advised("42883", "no such function").find("correct its 'query'") != std::string::npos);
  CHECK(advised("", "one column").find("correct its 'query'") != std::string::npos);
  CHECK(advised("3D000", "").find("'database' of auth_query") != std::string::npos);
  probe.refused = true;
  CHECK(advised("28P01", "").find("correct its password") != std::string::npos);
  probe.reachable = false;
  CHECK(advice_for_auth_query(probe, cluster).empty());
}

TEST_CASE("what a stock client cannot do is said of GaussDB's own method only") {
  CHECK(stock_client_problem("gaussdb-sha256").find("SASL") != std::string::npos);
  CHECK(stock_client_problem("scram-sha-256").empty());
  CHECK(stock_client_problem("md5").empty());
}

TEST_CASE("the same findings as a table and as JSON") {
  CheckRow good = row("cn1:8000");
  good.good = true;
  good.probe = server({{"max_connections", "800"}});
  good.detail = summary_of(*good.probe);
  good.advice = {"lower it"};
  CheckRow bad = row("cn2:8000");
  bad.probe = ProbeResult{};
  bad.detail = "a \"quoted\" reason";
  const std::string table = as_table({good, bad});
  CHECK(table.find("dws 9.2.4, primary, gaussdb-sha256, no TLS, log-in 12 ms, round trip 0.2 ms, "
                   "max_connections 800") != std::string::npos);
  CHECK(table.find("FAILED") != std::string::npos);
  CHECK(table.find("What to change:\n  cn1:8000: lower it\n") != std::string::npos);
  const std::string json = as_json({good, bad});
  CHECK(json.starts_with("{\"good\":false,\"checks\":[{\"target\":\"CN\""));
  CHECK(json.find("\"settings\":{\"max_connections\":\"800\"},\"advice\":[\"lower it\"]}") !=
        std::string::npos);
  CHECK(json.find("\"detail\":\"a \\\"quoted\\\" reason\",\"reachable\":false,\"advice\":[]}") !=
        std::string::npos);
  CHECK(as_json({good}).starts_with("{\"good\":true"));
}

}  // namespace
}  // namespace dwspool::app
