#include "app/token.h"

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <libpq-fe.h>

#include "dwspool/base/text.h"

#include "dwspool/retry/commit_token.h"

namespace dwspool::app {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&::PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&::PQclear)>;

Result run(const Connection& connection, const std::string& sql) {
  return {::PQexec(connection.get(), sql.c_str()), &::PQclear};
}

bool succeeded(const Result& result) {
  const ExecStatusType status = ::PQresultStatus(result.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

std::string_view first_line(std::string_view sql) {
  return sql.substr(0, sql.find('\n'));
}

int complain(std::string_view about, const char* why) {
  std::fprintf(stderr, "dwspool token: %.*s: %s\n", static_cast<int>(about.size()), about.data(),
               std::string(trim(why)).c_str());
  return 1;
}

void print(Dialect dialect) {
  for (const std::string& sql : retry::install_statements(dialect)) {
    std::printf("%s;\n", sql.c_str());
  }
}

int install(const Connection& connection) {
  const Result version = run(connection, "select version()");
  if (!succeeded(version)) return complain("version", ::PQresultErrorMessage(version.get()));
  const bool dws = to_lower(::PQgetvalue(version.get(), 0, 0)).find("gauss") != std::string::npos;
  for (const std::string& sql : retry::install_statements(dws ? Dialect::dws : Dialect::postgres)) {
    const Result result = run(connection, sql);
    if (succeeded(result)) continue;
    const char* code = ::PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    if (code != nullptr && retry::exists_already(code)) continue;
    return complain(first_line(sql), ::PQresultErrorMessage(result.get()));
  }
  std::printf("dwspool.commit_token and dwspool.outcome(text) are there\n");
  return 0;
}

int purge(const Connection& connection) {
  const std::string sql = retry::purge_statement();
  const Result result = run(connection, sql);
  if (!succeeded(result)) return complain(sql, ::PQresultErrorMessage(result.get()));
  std::printf("%s tokens purged\n", ::PQgetvalue(result.get(), 0, 0));
  return 0;
}

}  // namespace

int token(const TokenCommand& command) {
  if (command.print) {
    print(command.dws ? Dialect::dws : Dialect::postgres);
    return 0;
  }
  const Connection connection(::PQconnectdb(command.conninfo.c_str()), &::PQfinish);
  if (::PQstatus(connection.get()) != CONNECTION_OK) {
    return complain("no connection", ::PQerrorMessage(connection.get()));
  }
  return command.purge ? purge(connection) : install(connection);
}

}  // namespace dwspool::app
