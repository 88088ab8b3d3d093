#include "app/check.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <libpq-fe.h>

#include "dwspool/base/text.h"

#include "dwspool/proxy/pool_context.h"

#include "app/check_report.h"
#include "app/probe.h"

namespace dwspool::app {
namespace {

// Somebody to log in as: a database and a user that clients may name, with the password that the
// configuration knows (if it needs one).
struct Candidate {
  std::string database;
  std::string user;
  std::optional<Secret> client_password;
};

std::vector<Candidate> candidates(const config::Config& config) {
  std::vector<Candidate> found;
  for (const config::Database& database : config.databases) {
    if (database.name == "*" && config.databases.size() > 1) continue;
    for (const config::User& user : config.users) {
      if (user.name == "*") continue;
      Candidate candidate;
      candidate.database = database.name == "*" ? "postgres" : database.name;
      candidate.user = user.name;
      if (user.secret.kind == auth::UserSecret::Kind::plain) {
        candidate.client_password = user.secret.plain;
      }
      found.push_back(std::move(candidate));
    }
  }
  return found;
}

// Tries accounts at coordinators. A password that one of them has refused is not tried again, at
// whichever: ten failures lock an account of DWS for a day.
class Coordinators {
 public:
  explicit Coordinators(const config::Config& config) : config_(config), tls_(config) {}

  // False when nobody gets in with this password.
  bool check_client(const Candidate& candidate, std::vector<CheckRow>& rows) {
    const auto route = proxy::make_route(config_, candidate.database, candidate.user);
    if (!route) return true;
    const ProbeAccount account{route->database, route->user, route->credential.password, {}};
    for (const config::Coordinator& coordinator : route->cluster->coordinators) {
      CheckRow row = check(*route->cluster, coordinator, account);
      if (row.good) {
        row.stock_client = stock_client_problem(row.probe->method);
        row.advice = advice_for(*row.probe, route->settings);
      }
      rows.push_back(std::move(row));
    }
    return !refused_.contains(key_of(*route->cluster, account));
  }

  void check_auth_query(const config::Cluster& cluster, std::vector<CheckRow>& rows) {
    const config::AuthQuery& query = cluster.auth_query;
    if (query.user.empty()) return;
    const ProbeAccount account{query.database, query.user, query.password, query.query};
    for (const config::Coordinator& coordinator : cluster.coordinators) {
      CheckRow row = check(cluster, coordinator, account);
      row.purpose = "auth_query";
      if (row.probe) row.advice = advice_for_auth_query(*row.probe, cluster);
      rows.push_back(std::move(row));
    }
  }

 private:
  static std::string key_of(const config::Cluster& cluster, const ProbeAccount& account) {
    return proxy::account_name(cluster, account.user, {account.password, std::nullopt});
  }

  CheckRow check(const config::Cluster& cluster, const config::Coordinator& coordinator,
                 const ProbeAccount& account) {
    CheckRow row;
    row.target = "CN";
    row.address = coordinator.label();
    row.user = account.user;
    row.database = account.database;
    const auto refused = refused_.find(key_of(cluster, account));
    if (refused != refused_.end()) {
      row.detail = "not tried: " + refused->second + " has refused this password";
      return row;
    }
    row.probe = probe({tls_, cluster, coordinator}, account);
    row.good = row.probe->logged_in && row.probe->lookup_problem.empty();
    row.detail = summary_of(*row.probe);
    if (row.probe->spent) refused_.emplace(key_of(cluster, account), coordinator.label());
    return row;
  }

  const config::Config& config_;
  proxy::TlsStore tls_;
  std::map<std::string, std::string> refused_;  // by account: who said so
};

// As psycopg2 would: it is libpq.
CheckRow check_through_dwspool(const config::Listener& listener, const Candidate& candidate) {
  CheckRow row;
  row.target = "dwspool";
  row.user = candidate.user;
  row.database = candidate.database;
  const std::string host = listener.is_unix()     ? listener.unix_dir
                           : listener.host == "*" ? "127.0.0.1"
                                                  : listener.host;
  const std::string port = std::to_string(listener.port);
  const std::string password =
      candidate.client_password ? candidate.client_password->reveal() : std::string();
  const std::array<const char*, 9> keys = {
      "host",    "port", "dbname", "user", "password", "connect_timeout", "application_name",
      "sslmode", nullptr};
  const std::array<const char*, 9> values = {
      host.c_str(),           port.c_str(),     candidate.database.c_str(),
      candidate.user.c_str(), password.c_str(), "10",
      "dwspool check",        "prefer",         nullptr};
  const std::unique_ptr<PGconn, decltype(&::PQfinish)> connection(
      ::PQconnectdbParams(keys.data(), values.data(), 0), &::PQfinish);
  row.address = host + ":" + port;
  row.good = ::PQstatus(connection.get()) == CONNECTION_OK;
  if (row.good) {
    const std::unique_ptr<PGresult, decltype(&::PQclear)> result(
        ::PQexec(connection.get(), "select 1"), &::PQclear);
    row.good = ::PQresultStatus(result.get()) == PGRES_TUPLES_OK;
    row.detail = row.good ? "connects and runs a statement" : ::PQresultErrorMessage(result.get());
  } else {
    row.detail = ::PQerrorMessage(connection.get());
  }
  row.detail = printable(trim(row.detail), 300);
  return row;
}

}  // namespace

int check(const config::Config& config, bool json) {
  Coordinators coordinators(config);
  std::vector<CheckRow> rows;
  for (const config::Cluster& cluster : config.clusters) {
    coordinators.check_auth_query(cluster, rows);
  }
  for (const Candidate& candidate : candidates(config)) {
    // dwspool would try a bad password itself, as soon as the client is in.
    if (!coordinators.check_client(candidate, rows)) continue;
    for (const config::Listener& listener : config.listeners) {
      rows.push_back(check_through_dwspool(listener, candidate));
    }
  }
  if (rows.empty()) {
    std::fprintf(stderr, "%s names no user but \"*\": there is nobody to log in as.\n",
                 config.file.c_str());
    return 1;
  }
  std::fputs((json ? as_json(rows) : as_table(rows)).c_str(), stdout);
  return std::all_of(rows.begin(), rows.end(), [](const CheckRow& row) { return row.good; }) ? 0
                                                                                             : 1;
}

}  // namespace dwspool::app
