#include "dwspool/console/session.h"

#include <optional>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/sqlstate.h"
#include "dwspool/wire/writer.h"

#include "dwspool/console/show.h"

namespace dwspool::console {
namespace {

using wire::TxStatus;

// No command is longer.
constexpr std::size_t max_message = 65536;
// Statements and portals that one administrator may keep.
constexpr std::size_t max_kept = 1000;

wire::ErrorReport malformed() {
  return wire::error_report(wire::sqlstate::protocol_violation, "malformed message");
}

// Commands take no parameters.
void append_no_parameters(std::string& out) {
  wire::MessageWriter(out, wire::backend::parameter_description).u16(0).end();
}

// The rows that a command gives; empty if it gives none. `single` holds the column of a setting.
std::span<const Column> columns_of(const Command& command, Column& single) {
  if (command.verb == Verb::show_client) {
    single = client_setting_column(command.argument);
    return {&single, 1};
  }
  return command.verb == Verb::show ? columns_of(command.what) : std::span<const Column>();
}

struct BindMessage {
  std::string_view portal;
  std::string_view statement;
  std::size_t parameters = 0;
  Formats formats;
};

std::optional<BindMessage> read_bind(std::string_view body) {
  wire::Cursor cursor(body);
  BindMessage message;
  message.portal = cursor.cstring();
  message.statement = cursor.cstring();
  for (std::uint16_t left = cursor.u16(); left > 0 && cursor.ok(); --left) cursor.u16();
  message.parameters = cursor.u16();
  for (std::size_t i = 0; i < message.parameters && cursor.ok(); ++i) {
    const std::uint32_t size = cursor.u32();
    if (size != 0xffffffffU) cursor.bytes(size);
  }
  for (std::uint16_t left = cursor.u16(); left > 0 && cursor.ok(); --left) {
    message.formats.push_back(cursor.u16() == 1);
  }
  if (!cursor.finished_cleanly()) return std::nullopt;
  return message;
}

}  // namespace

void Session::welcome(std::string_view version, const wire::KeyData& key, std::string& out) {
  wire::append_parameter_status(out, "server_version", version);
  for (const auto& [name, value] : {std::pair{"client_encoding", "UTF8"},
                                    {"server_encoding", "UTF8"},
                                    {"DateStyle", "ISO"},
                                    {"TimeZone", "GMT"},
                                    {"standard_conforming_strings", "on"},
                                    {"integer_datetimes", "on"},
                                    {"is_superuser", "on"}}) {
    wire::append_parameter_status(out, name, value);
  }
  wire::append_key_data(out, key);
  wire::append_ready_for_query(out, TxStatus::idle);
}

Session::Need Session::on_bytes(std::string_view& in, std::string& out) {
  while (!waiting_) {
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete) return Need::input;
    if (view.status == wire::FrameStatus::bad || view.total > max_message) {
      wire::ErrorReport report = wire::error_report(wire::sqlstate::protocol_violation,
                                                    "a message to the console is too long");
      report.severity = wire::Severity::fatal;
      wire::append_report(out, report);
      in = {};
      return Need::close;
    }
    if (view.status == wire::FrameStatus::partial) return Need::input;
    const Need need = on_frame(wire::take_frame(in, view), out);
    if (need != Need::input) return need;
  }
  return Need::input;
}

std::variant<Command, wire::ErrorReport> Session::understand(std::string_view text) const {
  auto parsed = parse(text);
  Command* const command = std::get_if<Command>(&parsed);
  if (command == nullptr || !old_columns_ || command->verb != Verb::show) return parsed;
  if (command->what == Show::stats) command->what = Show::stats_with_old;
  if (command->what == Show::databases) command->what = Show::databases_with_old;
  return parsed;
}

Session::Need Session::on_frame(const wire::Frame& frame, std::string& out) {
  if (skip_to_sync_ && frame.type != wire::frontend::sync &&
      frame.type != wire::frontend::terminate) {
    return Need::input;
  }
  switch (frame.type) {
    case wire::frontend::query:
      return on_query(frame, out);
    case wire::frontend::parse:
      on_parse(frame, out);
      break;
    case wire::frontend::bind:
      on_bind(frame, out);
      break;
    case wire::frontend::describe:
      on_describe(frame, out);
      break;
    case wire::frontend::execute:
      return on_execute(frame, out);
    case wire::frontend::close:
      on_close(frame, out);
      break;
    case wire::frontend::sync:
      skip_to_sync_ = false;
      portals_.clear();
      wire::append_ready_for_query(out, TxStatus::idle);
      break;
    case wire::frontend::flush:
      break;
    case wire::frontend::terminate:
      return Need::close;
    default: {
      wire::ErrorReport report =
          wire::error_report(wire::sqlstate::protocol_violation,
                             "the console does not understand this kind of message");
      report.severity = wire::Severity::fatal;
      wire::append_report(out, report);
      return Need::close;
    }
  }
  return Need::input;
}

Session::Need Session::on_query(const wire::Frame& frame, std::string& out) {
  simple_ = true;
  const std::optional<std::string_view> text = wire::read_query(frame.body());
  if (!text) {
    fail(malformed(), out);
    return Need::input;
  }
  auto parsed = understand(*text);
  if (auto* report = std::get_if<wire::ErrorReport>(&parsed)) {
    fail(*report, out);
    return Need::input;
  }
  return begin(std::move(std::get<Command>(parsed)), true, {}, out);
}

void Session::on_parse(const wire::Frame& frame, std::string& out) {
  simple_ = false;
  const std::optional<wire::ParseMessage> message = wire::read_parse(frame.body());
  if (!message) return fail(malformed(), out);
  // Now, so that a mistake is found where a server would find it.
  auto parsed = understand(message->query);
  if (auto* report = std::get_if<wire::ErrorReport>(&parsed)) return fail(*report, out);
  if (statements_.size() >= max_kept) statements_.clear();
  statements_[std::string(message->name)] = {std::string(message->query)};
  wire::append_empty(out, wire::backend::parse_complete);
}

void Session::on_bind(const wire::Frame& frame, std::string& out) {
  simple_ = false;
  std::optional<BindMessage> message = read_bind(frame.body());
  if (!message) return fail(malformed(), out);
  const auto statement = statements_.find(message->statement);
  if (statement == statements_.end()) {
    return fail(wire::error_report(
                    wire::sqlstate::invalid_sql_statement_name,
                    "prepared statement \"" + printable(message->statement) + "\" does not exist"),
                out);
  }
  if (message->parameters > 0) {
    return fail(wire::error_report(wire::sqlstate::protocol_violation,
                                   "commands of the console take no parameters"),
                out);
  }
  if (portals_.size() >= max_kept) portals_.clear();
  portals_[std::string(message->portal)] = {std::get<Command>(understand(statement->second.text)),
                                            std::move(message->formats)};
  wire::append_empty(out, wire::backend::bind_complete);
}

void Session::on_describe(const wire::Frame& frame, std::string& out) {
  simple_ = false;
  const std::optional<wire::TargetMessage> message = wire::read_target(frame.body());
  if (!message) return fail(malformed(), out);
  Command command;
  Formats formats;
  if (message->kind == 'S') {
    const auto statement = statements_.find(message->name);
    if (statement == statements_.end()) {
      return fail(wire::error_report(
                      wire::sqlstate::invalid_sql_statement_name,
                      "prepared statement \"" + printable(message->name) + "\" does not exist"),
                  out);
    }
    command = std::get<Command>(understand(statement->second.text));
    append_no_parameters(out);
  } else {
    const auto portal = portals_.find(message->name);
    if (portal == portals_.end()) {
      return fail(wire::error_report(wire::sqlstate::invalid_cursor_name,
                                     "portal \"" + printable(message->name) + "\" does not exist"),
                  out);
    }
    command = portal->second.command;
    formats = portal->second.formats;
  }
  Column single;
  const std::span<const Column> columns = columns_of(command, single);
  if (columns.empty()) {
    wire::append_empty(out, wire::backend::no_data);
  } else {
    append_row_description(out, columns, formats);
  }
}

Session::Need Session::on_execute(const wire::Frame& frame, std::string& out) {
  simple_ = false;
  wire::Cursor cursor(frame.body());
  const std::string_view name = cursor.cstring();
  cursor.u32();  // how many rows: all
  if (!cursor.finished_cleanly()) {
    fail(malformed(), out);
    return Need::input;
  }
  const auto portal = portals_.find(name);
  if (portal == portals_.end()) {
    fail(wire::error_report(wire::sqlstate::invalid_cursor_name,
                            "portal \"" + printable(name) + "\" does not exist"),
         out);
    return Need::input;
  }
  return begin(portal->second.command, false, portal->second.formats, out);
}

void Session::on_close(const wire::Frame& frame, std::string& out) {
  simple_ = false;
  const std::optional<wire::TargetMessage> message = wire::read_target(frame.body());
  if (!message) return fail(malformed(), out);
  if (message->kind == 'S') {
    statements_.erase(std::string(message->name));
  } else {
    portals_.erase(std::string(message->name));
  }
  wire::append_empty(out, wire::backend::close_complete);
}

Session::Need Session::begin(Command command, bool simple, Formats formats, std::string& out) {
  command_ = std::move(command);
  simple_ = simple;
  formats_ = std::move(formats);
  if (command_.needs_admin() && !is_admin_) {
    wire::ErrorReport report =
        wire::error_report(wire::sqlstate::insufficient_privilege, "admin access needed");
    report.hint = "Only users of `admin_users` may do this; those of `stats_users` may SHOW.";
    fail(report, out);
    return Need::input;
  }
  if (answer_here(out)) return Need::input;
  waiting_ = true;
  return Need::command;
}

// What needs nobody else. False when it does.
bool Session::answer_here(std::string& out) {
  switch (command_.verb) {
    case Verb::nothing:
      wire::append_empty(out, wire::backend::empty_query_response);
      if (simple_) wire::append_ready_for_query(out, TxStatus::idle);
      return true;
    case Verb::ignored:
      if (command_.tag == "SET") {
        wire::ErrorReport notice = wire::error_report("00000", "SET ignored");
        notice.severity = wire::Severity::notice;
        wire::append_report(out, notice);
      }
      finish(out);
      return true;
    case Verb::show_client: {
      const Column column = client_setting_column(command_.argument);
      send_table({{&column, 1}, {{client_setting(command_.argument)}}}, out);
      finish(out);
      return true;
    }
    case Verb::show:
      if (command_.what == Show::help) {
        wire::ErrorReport notice = wire::error_report("00000", "Console usage");
        notice.severity = wire::Severity::notice;
        notice.detail = help();
        wire::append_report(out, notice);
        finish(out);
        return true;
      }
      if (command_.what == Show::fds) {
        fail(wire::error_report(wire::sqlstate::feature_not_supported,
                                "SHOW FDS would show secrets, and is not there"),
             out);
        return true;
      }
      return false;
    case Verb::set:
    case Verb::reload:
    case Verb::pause:
    case Verb::resume:
    case Verb::reconnect:
    case Verb::wait_close:
    case Verb::disable:
    case Verb::enable:
    case Verb::kill:
    case Verb::kill_client:
    case Verb::suspend:
    case Verb::shutdown:
      break;
  }
  return false;
}

void Session::answer(const Answer& answer, std::string& out) {
  waiting_ = false;
  if (const auto* report = std::get_if<wire::ErrorReport>(&answer)) {
    fail(*report, out);
    return;
  }
  if (const auto* table = std::get_if<Table>(&answer)) send_table(*table, out);
  finish(out);
}

void Session::send_table(const Table& table, std::string& out) const {
  if (simple_) append_row_description(out, table.columns, {});
  for (const Row& row : table.rows) append_data_row(out, table.columns, row, formats_);
}

void Session::finish(std::string& out) const {
  wire::append_command_complete(out, command_.tag);
  if (simple_) wire::append_ready_for_query(out, TxStatus::idle);
}

void Session::fail(const wire::ErrorReport& report, std::string& out) {
  wire::append_report(out, report);
  if (simple_) {
    wire::append_ready_for_query(out, TxStatus::idle);
  } else {
    skip_to_sync_ = true;
  }
}

}  // namespace dwspool::console
