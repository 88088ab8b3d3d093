#include "app/check.h"

#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <libpq-fe.h>

#include "dwspool/base/text.h"

#include "dwspool/proxy/pool_context.h"

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

void print_row(const std::array<std::string, 5>& cells) {
  std::printf("%-9s %-24s %-20s %-6s %s\n", cells[0].c_str(), cells[1].c_str(), cells[2].c_str(),
              cells[3].c_str(), cells[4].c_str());
}

bool check_coordinators(const config::Config& config, const proxy::TlsStore& tls,
                        const Candidate& candidate) {
  const auto route = proxy::make_route(config, candidate.database, candidate.user);
  if (!route) return true;
  bool good = true;
  for (const config::Coordinator& coordinator : route->cluster->coordinators) {
    const ProbeResult result = probe({tls, *route->cluster, coordinator}, route->database,
                                     route->user, route->credential.password);
    std::string detail = result.problem;
    if (result.logged_in) {
      detail = result.dialect + " " + result.server_version + ", " + result.method + ", " +
               (result.tls.empty() ? "no TLS" : result.tls) + ", " +
               std::to_string(static_cast<int>(result.milliseconds)) + " ms";
      if (result.method.starts_with("gaussdb")) {
        detail +=
            "; a stock libpq fails here (\"none of the server's SASL authentication "
            "mechanisms are supported\"), through dwspool it works";
      }
    } else if (!result.reachable) {
      detail = "does not answer: " + detail;
    }
    print_row({"CN", coordinator.label(), route->user + "@" + route->database,
               result.logged_in ? "ok" : "FAILED", detail});
    good = good && result.logged_in;
  }
  return good;
}

// As psycopg2 would: it is libpq.
bool check_through_dwspool(const config::Listener& listener, const Candidate& candidate) {
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
  std::string detail;
  bool good = ::PQstatus(connection.get()) == CONNECTION_OK;
  if (good) {
    const std::unique_ptr<PGresult, decltype(&::PQclear)> result(
        ::PQexec(connection.get(), "select 1"), &::PQclear);
    good = ::PQresultStatus(result.get()) == PGRES_TUPLES_OK;
    detail = good ? "connects and runs a statement" : ::PQresultErrorMessage(result.get());
  } else {
    detail = ::PQerrorMessage(connection.get());
  }
  print_row({"dwspool", host + ":" + port, candidate.user + "@" + candidate.database,
             good ? "ok" : "FAILED", printable(trim(detail), 300)});
  return good;
}

}  // namespace

int check(const config::Config& config) {
  const std::vector<Candidate> all = candidates(config);
  if (all.empty()) {
    std::printf("%s names no user but \"*\": there is nobody to log in as.\n", config.file.c_str());
    return 1;
  }
  const proxy::TlsStore tls(config);
  print_row({"target", "address", "as", "result", "detail"});
  bool good = true;
  for (const Candidate& candidate : all) {
    good = check_coordinators(config, tls, candidate) && good;
    for (const config::Listener& listener : config.listeners) {
      good = check_through_dwspool(listener, candidate) && good;
    }
  }
  return good ? 0 : 1;
}

}  // namespace dwspool::app
