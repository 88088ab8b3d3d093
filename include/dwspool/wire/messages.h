// The messages that dwspool must understand or write itself. All others pass through unread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/wire/types.h"

namespace dwspool::wire {

// --- What an ErrorResponse or NoticeResponse says -------------------------------------------

// Fields are found by their letter, in any order, and any may be missing: GaussDB sends no 'V',
// puts its own meaning on 'c' and 'd', and some notices have neither severity nor code.
// The views point into the message.
struct ErrorFields {
  std::string_view severity;  // 'V' if there is one (never localised), else 'S'
  std::string_view sqlstate;
  std::string_view message;
  std::string_view detail;
  std::string_view hint;
  std::string_view routine;  // the server's function that said it; never localised

  bool is_fatal() const { return severity == "FATAL" || severity == "PANIC"; }
};
ErrorFields read_error(std::string_view body);

enum class Severity : std::uint8_t { notice, warning, error, fatal };

// An error or notice of dwspool's own.
struct ErrorReport {
  Severity severity = Severity::error;
  std::string sqlstate;
  std::string message;
  std::string detail;
  std::string hint;
  std::string routine;  // by which drivers recognize some errors of a server's
};

// An ERROR with no more than these two.
ErrorReport error_report(std::string_view sqlstate, std::string message);

// ErrorResponse or NoticeResponse, by severity.
void append_report(std::string& out, const ErrorReport& report);
std::string encode(const ErrorReport& report);

// --- Frontend messages ------------------------------------------------------------------------

struct ParseMessage {
  std::string_view name;
  std::string_view query;
  std::string_view types;  // the raw rest: count and OIDs
};
std::optional<ParseMessage> read_parse(std::string_view body);

// The front of Bind: everything behind it passes through unread.
struct BindPrefix {
  std::string_view portal;
  std::string_view statement;
  std::size_t prefix_size = 0;  // bytes of the body that the two names take
};
// Nothing when the names are not complete in `body_so_far`.
std::optional<BindPrefix> read_bind_prefix(std::string_view body_so_far);

// Describe and Close.
struct TargetMessage {
  char kind = 'S';  // 'S' statement, 'P' portal
  std::string_view name;
};
std::optional<TargetMessage> read_target(std::string_view body);

// The text of a simple Query, without its NUL; nothing when the NUL is missing.
std::optional<std::string_view> read_query(std::string_view body);

void append_query(std::string& out, std::string_view sql);
void append_parse(std::string& out, std::string_view name, std::string_view query,
                  std::string_view types);
// Unnamed portal, no parameters, text results.
void append_bind(std::string& out, std::string_view statement);
// The same with one parameter, as text.
void append_bind_text(std::string& out, std::string_view statement, std::string_view value);
void append_execute(std::string& out, std::string_view portal = {});
void append_close(std::string& out, char kind, std::string_view name);
void append_sync(std::string& out);
void append_terminate(std::string& out);
void append_password(std::string& out, std::string_view answer);

// --- Backend messages ---------------------------------------------------------------------------

struct ParameterStatus {
  std::string_view name;
  std::string_view value;
};
std::optional<ParameterStatus> read_parameter_status(std::string_view body);

struct KeyData {
  std::uint32_t pid = 0;
  std::string secret;
};
std::optional<KeyData> read_key_data(std::string_view body);

// Nothing when the body is not exactly one of the three letters.
std::optional<TxStatus> read_ready_for_query(std::string_view body);

// The tag of CommandComplete, without its NUL.
std::string_view read_command_tag(std::string_view body);

void append_ready_for_query(std::string& out, TxStatus status);
void append_command_complete(std::string& out, std::string_view tag);
void append_parameter_status(std::string& out, std::string_view name, std::string_view value);
void append_key_data(std::string& out, const KeyData& key);
void append_authentication(std::string& out, std::uint32_t code, std::string_view payload = {});
// The newest minor version spoken, and the protocol options that are not understood.
void append_negotiate_protocol_version(std::string& out, std::uint32_t version,
                                       const std::vector<std::string>& unknown_options);
// A message without a body: ParseComplete, BindComplete, CloseComplete, NoData ...
void append_empty(std::string& out, char type);

}  // namespace dwspool::wire
