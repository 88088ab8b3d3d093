// A client of the console; and what the console sees of, and does to, a client.
#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/endpoints.h"
#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

// False when the connection must not be used by the caller any more.
bool FrontConn::start_console() {
  Hub& hub = worker_.hub();
  const config::Console& users = worker_.config().console;
  if (!users.is_allowed(user_)) {
    wire::ErrorReport report;
    report.sqlstate = wire::sqlstate::insufficient_privilege;
    report.message = "user \"" + printable(user_) + "\" may not use the console";
    report.hint = "The configuration names those who may: console.admin_users and stats_users.";
    hub.log.write_limited(LogLevel::info, "console.refused",
                          "a user who may not use the console tried to",
                          {{"client", peer_.text()}, {"user", printable(user_)}});
    return end_by(std::move(report));
  }
  const bool admin = users.is_admin(user_);
  hub.log.write(LogLevel::info, "console.opened", "an administrator has logged in",
                {{"client", peer_.text()},
                 {"user", printable(user_)},
                 {"rights", admin ? "admin" : "stats"}});
  key_ = hub.cancels.add({worker_.index(), id_});
  console_ = std::make_unique<console::Session>(admin, users.old_columns);
  startup_.reset();
  std::string bytes;
  console::Session::welcome(hub.version + "/dwspool", key_, bytes);
  worker_.output().to_client.copy(bytes);
  return flush();
}

// Consumes from the front of `in`. False when the connection is gone.
bool FrontConn::process_console(std::string_view& in) {
  std::string bytes;
  const console::Session::Need need = console_->on_bytes(in, bytes);
  worker_.output().to_client.copy(bytes);
  if (!flush()) return false;
  switch (need) {
    case console::Session::Need::input:
      return true;
    case console::Session::Need::close:
      return finish();
    case console::Session::Need::command:
      break;
  }
  const console::Command& command = console_->command();
  if (command.needs_admin()) {
    worker_.hub().log.write(LogLevel::info, "console.command", "an administrator gave a command",
                            {{"client", peer_.text()},
                             {"user", printable(user_)},
                             {"command", printable(command.tag + " " + command.argument)}});
  }
  worker_.desk().run(id_, command);
  return true;
}

void FrontConn::on_console_answer(const console::Answer& answer) {
  if (!console_->waiting() || lingering_) return;
  std::string bytes;
  console_->answer(answer, bytes);
  worker_.output().to_client.copy(bytes);
  if (!flush()) return;
  std::string_view in = in_.view();
  const std::size_t before = in.size();
  if (!process_console(in)) return;
  in_.consume(before - in.size());
  update_interest();
}

// Says why, and ends the connection. False, as finish().
bool FrontConn::end_by(wire::ErrorReport report) {
  report.severity = wire::Severity::fatal;
  worker_.output().note_error(report.sqlstate);
  worker_.output().to_client.copy(wire::encode(report));
  if (!flush()) return false;
  return finish();
}

void FrontConn::kill() {
  if (leaves_) return;  // the other process has it, or will
  if (backend_ != nullptr) backend_->core().retire = true;
  if (lingering_ || (session_ && !session_->between_messages())) {
    destroy();
    return;
  }
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::admin_shutdown;
  report.message = "terminating connection due to administrator command";
  static_cast<void>(end_by(std::move(report)));
}

console::ConnectionFacts FrontConn::facts() const {
  console::ConnectionFacts facts;
  facts.is_console = is_console();
  facts.logged_in = logged_in();
  facts.user = printable(user_);
  facts.database = is_console() ? "pgbouncer" : pool_ != nullptr ? printable(pool_->database) : "";
  facts.state = !logged_in()                          ? "login"
                : waiting_                            ? "waiting"
                : backend_ != nullptr || is_console() ? "active"
                                                      : "idle";
  set_endpoints(facts, socket_.fd(), peer_);
  const TimePoint now = worker_.now();
  facts.connected_at = wall_microseconds(accepted_at_, now);
  facts.request_at =
      request_started_ == never ? facts.connected_at : wall_microseconds(request_started_, now);
  if (waiting_) {
    facts.waits_us =
        std::chrono::duration_cast<std::chrono::microseconds>(now - wait_started_).count();
  }
  facts.close_needed = lingering_;
  facts.pointer = pointer_of(worker_.index(), true, id_.slot);
  if (backend_ != nullptr) {
    facts.link = pointer_of(worker_.index(), false, backend_->id().slot);
    facts.backend_pid = backend_->core().key.pid;
  }
  facts.id = number_;
  facts.input_waiting = in_.size();
  facts.output_waiting = out_.size();
  if (!session_) return facts;
  facts.prepared_statements = session_->prepared_statements();
  if (session_->told()) {
    if (const std::string* name = session_->told()->find("application_name")) {
      facts.application_name = printable(*name);
    }
  }
  static constexpr auto first_reason = bit(sql::Effect::changes_setting);
  for (std::size_t i = 0; i < metrics::pin_reasons; ++i) {
    if ((session_->pins() & (first_reason << i)) == 0) continue;
    facts.pins.push_back(metrics::pin_reason_name(i));
  }
  return facts;
}

}  // namespace dwspool::proxy
