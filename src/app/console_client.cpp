#include "app/console_client.h"

#include <array>

#include <libpq-fe.h>
#include <poll.h>

#include "dwspool/base/text.h"

namespace dwspool::app {
namespace {

struct Question {
  const char* sql;
  Sheet Snapshot::*answer;
};
constexpr auto questions = std::to_array<Question>({{"SHOW VERSION", &Snapshot::version},
                                                    {"SHOW STATE", &Snapshot::state},
                                                    {"SHOW LISTS", &Snapshot::lists},
                                                    {"SHOW POOLS", &Snapshot::pools},
                                                    {"SHOW STATS_TOTALS", &Snapshot::stats},
                                                    {"SHOW COORDINATORS", &Snapshot::coordinators},
                                                    {"SHOW REPLAY", &Snapshot::replay},
                                                    {"SHOW PINS", &Snapshot::pins}});

constexpr std::size_t longest_problem = 300;

Sheet sheet_of(const PGresult* result) {
  Sheet sheet;
  const int columns = ::PQnfields(result);
  for (int i = 0; i < columns; ++i) sheet.columns.emplace_back(::PQfname(result, i));
  for (int row = 0; row < ::PQntuples(result); ++row) {
    std::vector<std::string>& cells = sheet.rows.emplace_back();
    for (int i = 0; i < columns; ++i) cells.emplace_back(::PQgetvalue(result, row, i));
  }
  return sheet;
}

}  // namespace

bool read_conninfo(const std::string& conninfo, ConnectionParameters& parameters,
                   std::string& problem) {
  char* message = nullptr;
  PQconninfoOption* const options = ::PQconninfoParse(conninfo.c_str(), &message);
  if (options == nullptr) {
    problem = message != nullptr ? printable(trim(message), longest_problem) : "out of memory";
    ::PQfreemem(message);
    return false;
  }
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val != nullptr) parameters.emplace_back(option->keyword, option->val);
  }
  ::PQconninfoFree(options);
  return true;
}

void ConsoleClient::Closer::operator()(pg_conn* connection) const {
  ::PQfinish(connection);
}

ConsoleClient::ConsoleClient(ConnectionParameters parameters)
    : parameters_(std::move(parameters)) {}

int ConsoleClient::descriptor() const {
  return connection_ ? ::PQsocket(connection_.get()) : -1;
}

void ConsoleClient::begin() {
  question_ = 0;
  gathering_ = {};
  state_ = State::working;
  if (connection_) {
    ask();
    return;
  }
  // Later ones win.
  std::vector<const char*> keys = {"dbname", "application_name"};
  std::vector<const char*> values = {"dwspool", "dwspool top"};
  for (const auto& [key, value] : parameters_) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  connected_ = false;
  connection_.reset(::PQconnectStartParams(keys.data(), values.data(), 0));
  if (!connection_ || ::PQstatus(connection_.get()) == CONNECTION_BAD) {
    fail(connection_ ? ::PQerrorMessage(connection_.get()) : "out of memory");
    return;
  }
  events_ = POLLOUT;
}

ConsoleClient::State ConsoleClient::proceed() {
  if (state_ != State::working) return state_;
  return connected_ ? hear() : connect_on();
}

ConsoleClient::State ConsoleClient::connect_on() {
  switch (::PQconnectPoll(connection_.get())) {
    case PGRES_POLLING_READING:
      events_ = POLLIN;
      return state_;
    case PGRES_POLLING_WRITING:
      events_ = POLLOUT;
      return state_;
    case PGRES_POLLING_OK:
      connected_ = true;
      complete_.address =
          std::string(::PQhost(connection_.get())) + ":" + ::PQport(connection_.get());
      return ask();
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
      break;
  }
  return fail(::PQerrorMessage(connection_.get()));
}

// Questions are smaller than any socket's buffer: what PQsendQuery could not send goes with the
// next look at the socket.
ConsoleClient::State ConsoleClient::ask() {
  if (::PQsendQuery(connection_.get(), questions[question_].sql) == 0) {
    return fail(::PQerrorMessage(connection_.get()));
  }
  events_ = POLLIN;
  return state_;
}

ConsoleClient::State ConsoleClient::hear() {
  if (::PQconsumeInput(connection_.get()) == 0) return fail(::PQerrorMessage(connection_.get()));
  while (::PQisBusy(connection_.get()) == 0) {
    const std::unique_ptr<PGresult, decltype(&::PQclear)> result(::PQgetResult(connection_.get()),
                                                                 &::PQclear);
    if (result) {
      if (::PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
        return fail(::PQresultErrorMessage(result.get()));
      }
      gathering_.*questions[question_].answer = sheet_of(result.get());
      continue;
    }
    if (++question_ == questions.size()) {
      gathering_.address = complete_.address;
      complete_ = std::move(gathering_);
      return state_ = State::idle;
    }
    if (ask() == State::failed) break;
  }
  return state_;
}

void ConsoleClient::give_up() {
  fail("no answer in time");
}

ConsoleClient::State ConsoleClient::fail(std::string_view why) {
  problem_ = printable(trim(why), longest_problem);
  connection_.reset();
  connected_ = false;
  return state_ = State::failed;
}

}  // namespace dwspool::app
