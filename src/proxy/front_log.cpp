// What the log says of a client that is in: that it came and went, and what took it long.
#include <chrono>
#include <string>

#include "dwspool/base/text.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

std::int64_t milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// A line for each client is for those who have asked for it.
void write_connection(Worker& worker, std::string_view event, std::string_view message,
                      std::initializer_list<LogField> fields) {
  using config::LogConnections;
  Log& log = worker.hub().log;
  switch (worker.config().log_connections) {
    case LogConnections::none:
      log.write(LogLevel::debug, event, message, fields);
      break;
    case LogConnections::sampled:
      log.write_limited(LogLevel::info, event, message, fields);
      break;
    case LogConnections::all:
      log.write(LogLevel::info, event, message, fields);
      break;
  }
}

}  // namespace

// Never with the session under way: what `in` holds has not been taken yet.
void FrontConn::time_statement(std::string_view in) {
  if (pool_->route.settings.slow_statement <= Duration::zero()) {
    timer_.reset();
    return;
  }
  if (!timer_) timer_ = std::make_unique<session::StatementTimer>();
  timer_->on_client(in, worker_.now(),
                    [this](std::string_view name) { return session_->prepared_text(name); });
}

void FrontConn::log_slow_statement() {
  const Duration threshold = pool_->route.settings.slow_statement;
  const auto slow = timer_->on_answered(worker_.now(), session_ && session_->busy(), threshold);
  if (!slow || threshold <= Duration::zero()) return;
  worker_.hub().log.write_limited(
      LogLevel::warning, "client.slow_statement", "a statement took longer than slow_statement",
      {{"client", peer_.text()},
       {"user", printable(user_)},
       {"database", printable(pool_->database)},
       {"coordinator", backend_ != nullptr ? backend_->label() : std::string()},
       {"milliseconds", milliseconds(slow->took)},
       {"wait_milliseconds", milliseconds(slow->waited)},
       {"statement", slow->statement == 0 ? std::string() : hex_number(slow->statement)},
       {"text", printable(slow->text, 2 * session::StatementTimer::told_limit)}});
}

void FrontConn::log_arrival(const std::string& database) {
  write_connection(worker_, "client.logged_in", "a client has logged in",
                   {{"client", peer_.text()},
                    {"user", printable(user_)},
                    {"database", printable(database)},
                    {"tls", socket_.tls_text()}});
}

void FrontConn::log_leaving() {
  if (!session_) return;
  write_connection(worker_, "client.left", "a client has left, or was made to",
                   {{"client", peer_.text()},
                    {"user", printable(user_)},
                    {"database", printable(pool_->database)},
                    {"statements", static_cast<std::int64_t>(answered_)},
                    {"milliseconds", milliseconds(worker_.now() - accepted_at_)}});
}

}  // namespace dwspool::proxy
