#include "dwspool/wire/messages.h"

#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/writer.h"

namespace dwspool::wire {
namespace {

std::string_view severity_text(Severity severity) {
  switch (severity) {
    case Severity::notice:
      return "NOTICE";
    case Severity::warning:
      return "WARNING";
    case Severity::error:
      return "ERROR";
    case Severity::fatal:
      return "FATAL";
  }
  return "ERROR";
}

// Field texts may come from a server or a client: a NUL in one would end the message early.
void append_field(MessageWriter& writer, char letter, std::string_view text) {
  if (text.empty()) return;
  writer.u8(static_cast<std::uint8_t>(letter)).cstring(text.substr(0, text.find('\0')));
}

}  // namespace

ErrorFields read_error(std::string_view body) {
  ErrorFields fields;
  std::string_view localised_severity;
  Cursor cursor(body);
  while (true) {
    const char letter = static_cast<char>(cursor.u8());
    if (!cursor.ok() || letter == '\0') break;
    const std::string_view text = cursor.cstring();
    if (!cursor.ok()) break;
    switch (letter) {
      case 'S':
        localised_severity = text;
        break;
      case 'V':
        fields.severity = text;
        break;
      case 'C':
        fields.sqlstate = text;
        break;
      case 'M':
        fields.message = text;
        break;
      case 'R':
        fields.routine = text;
        break;
      case 'D':
        fields.detail = text;
        break;
      case 'H':
        fields.hint = text;
        break;
      default:
        break;
    }
  }
  if (fields.severity.empty()) fields.severity = localised_severity;
  return fields;
}

ErrorReport error_report(std::string_view sqlstate, std::string message) {
  ErrorReport report;
  report.sqlstate = sqlstate;
  report.message = std::move(message);
  return report;
}

void append_report(std::string& out, const ErrorReport& report) {
  const bool is_notice =
      report.severity == Severity::notice || report.severity == Severity::warning;
  MessageWriter writer(out, is_notice ? backend::notice_response : backend::error_response);
  append_field(writer, 'S', severity_text(report.severity));
  append_field(writer, 'V', severity_text(report.severity));
  append_field(writer, 'C', report.sqlstate);
  append_field(writer, 'M', report.message);
  append_field(writer, 'D', report.detail);
  append_field(writer, 'H', report.hint);
  append_field(writer, 'R', report.routine);
  writer.u8(0);
  writer.end();
}

std::string encode(const ErrorReport& report) {
  std::string out;
  append_report(out, report);
  return out;
}

std::optional<ParseMessage> read_parse(std::string_view body) {
  Cursor cursor(body);
  ParseMessage message;
  message.name = cursor.cstring();
  message.query = cursor.cstring();
  message.types = cursor.rest();
  const std::uint16_t count = cursor.u16();
  cursor.bytes(std::size_t{count} * 4);
  if (!cursor.finished_cleanly()) return std::nullopt;
  return message;
}

std::optional<BindPrefix> read_bind_prefix(std::string_view body_so_far) {
  Cursor cursor(body_so_far);
  BindPrefix prefix;
  prefix.portal = cursor.cstring();
  prefix.statement = cursor.cstring();
  if (!cursor.ok()) return std::nullopt;
  prefix.prefix_size = body_so_far.size() - cursor.rest().size();
  return prefix;
}

std::optional<TargetMessage> read_target(std::string_view body) {
  Cursor cursor(body);
  TargetMessage message;
  message.kind = static_cast<char>(cursor.u8());
  message.name = cursor.cstring();
  if (!cursor.finished_cleanly() || (message.kind != 'S' && message.kind != 'P')) {
    return std::nullopt;
  }
  return message;
}

std::optional<std::string_view> read_query(std::string_view body) {
  Cursor cursor(body);
  const std::string_view text = cursor.cstring();
  if (!cursor.finished_cleanly()) return std::nullopt;
  return text;
}

void append_query(std::string& out, std::string_view sql) {
  MessageWriter(out, frontend::query).cstring(sql).end();
}

void append_parse(std::string& out, std::string_view name, std::string_view query,
                  std::string_view types) {
  MessageWriter(out, frontend::parse).cstring(name).cstring(query).bytes(types).end();
}

void append_bind(std::string& out, std::string_view statement) {
  MessageWriter(out, frontend::bind).cstring("").cstring(statement).u16(0).u16(0).u16(0).end();
}

void append_bind_text(std::string& out, std::string_view statement, std::string_view value) {
  MessageWriter(out, frontend::bind)
      .cstring("")
      .cstring(statement)
      .u16(0)
      .u16(1)
      .u32(static_cast<std::uint32_t>(value.size()))
      .bytes(value)
      .u16(0)
      .end();
}

void append_execute(std::string& out, std::string_view portal) {
  MessageWriter(out, frontend::execute).cstring(portal).u32(0).end();
}

void append_close(std::string& out, char kind, std::string_view name) {
  MessageWriter(out, frontend::close).u8(static_cast<std::uint8_t>(kind)).cstring(name).end();
}

void append_sync(std::string& out) {
  append_empty(out, frontend::sync);
}

void append_terminate(std::string& out) {
  append_empty(out, frontend::terminate);
}

void append_password(std::string& out, std::string_view answer) {
  MessageWriter(out, frontend::password).bytes(answer).end();
}

std::optional<ParameterStatus> read_parameter_status(std::string_view body) {
  Cursor cursor(body);
  ParameterStatus status;
  status.name = cursor.cstring();
  status.value = cursor.cstring();
  if (!cursor.finished_cleanly()) return std::nullopt;
  return status;
}

std::optional<KeyData> read_key_data(std::string_view body) {
  Cursor cursor(body);
  KeyData key;
  key.pid = cursor.u32();
  key.secret = std::string(cursor.rest());
  if (!cursor.ok() || key.secret.size() < 4 || key.secret.size() > 256) return std::nullopt;
  return key;
}

std::optional<TxStatus> read_ready_for_query(std::string_view body) {
  if (body.size() != 1) return std::nullopt;
  switch (body[0]) {
    case 'I':
      return TxStatus::idle;
    case 'T':
      return TxStatus::in_transaction;
    case 'E':
      return TxStatus::failed;
    default:
      return std::nullopt;
  }
}

std::string_view read_command_tag(std::string_view body) {
  return body.substr(0, body.find('\0'));
}

void append_ready_for_query(std::string& out, TxStatus status) {
  MessageWriter(out, backend::ready_for_query).u8(static_cast<std::uint8_t>(status)).end();
}

void append_command_complete(std::string& out, std::string_view tag) {
  MessageWriter(out, backend::command_complete).cstring(tag).end();
}

void append_parameter_status(std::string& out, std::string_view name, std::string_view value) {
  MessageWriter(out, backend::parameter_status).cstring(name).cstring(value).end();
}

void append_key_data(std::string& out, const KeyData& key) {
  MessageWriter(out, backend::backend_key_data).u32(key.pid).bytes(key.secret).end();
}

void append_authentication(std::string& out, std::uint32_t code, std::string_view payload) {
  MessageWriter(out, backend::authentication).u32(code).bytes(payload).end();
}

void append_negotiate_protocol_version(std::string& out, std::uint32_t version,
                                       const std::vector<std::string>& unknown_options) {
  MessageWriter writer(out, backend::negotiate_protocol_version);
  writer.u32(version).u32(static_cast<std::uint32_t>(unknown_options.size()));
  for (const std::string& option : unknown_options) writer.cstring(option);
  writer.end();
}

void append_empty(std::string& out, char type) {
  MessageWriter(out, type).end();
}

}  // namespace dwspool::wire
