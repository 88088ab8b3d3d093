// An administrator's session, from the end of its log-in to its end: the console as a database,
// by the simple protocol (as PgBouncer's) and the extended one, which many drivers insist on.
//
//          command             answer
//   ready ─────────► waiting ─────────► ready
//
// Bytes come in and go out; commands go to the shell, one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "dwspool/console/command.h"
#include "dwspool/console/table.h"

namespace dwspool::console {

// A command was carried out, and has no table to show.
struct Done {};
using Answer = std::variant<Done, Table, wire::ErrorReport>;

class Session {
 public:
  enum class Need : std::uint8_t {
    input,
    command,  // carry out command(), then call answer(); what is left of the input waits
    close,
  };

  // `old_columns`: SHOW STATS and DATABASES have those, too, that tools for old versions of
  // PgBouncer ask for.
  explicit Session(bool is_admin, bool old_columns = false)
      : is_admin_(is_admin), old_columns_(old_columns) {}

  // What a client is told when it has logged in. `version` is what servers call server_version.
  static void welcome(std::string_view version, const wire::KeyData& key, std::string& out);

  // Consumes from the front of `in`; nothing while a command waits for its answer.
  Need on_bytes(std::string_view& in, std::string& out);
  const Command& command() const { return command_; }
  bool waiting() const { return waiting_; }
  // Precondition: waiting.
  void answer(const Answer& answer, std::string& out);

 private:
  struct Statement {
    std::string text;
  };
  struct Portal {
    Command command;
    Formats formats;
  };

  std::variant<Command, wire::ErrorReport> understand(std::string_view text) const;
  Need on_frame(const wire::Frame& frame, std::string& out);
  Need on_query(const wire::Frame& frame, std::string& out);
  void on_parse(const wire::Frame& frame, std::string& out);
  void on_bind(const wire::Frame& frame, std::string& out);
  void on_describe(const wire::Frame& frame, std::string& out);
  Need on_execute(const wire::Frame& frame, std::string& out);
  void on_close(const wire::Frame& frame, std::string& out);
  Need begin(Command command, bool simple, Formats formats, std::string& out);
  bool answer_here(std::string& out);
  void send_table(const Table& table, std::string& out) const;
  void finish(std::string& out) const;
  void fail(const wire::ErrorReport& report, std::string& out);

  bool is_admin_;
  bool old_columns_;
  bool waiting_ = false;
  bool simple_ = false;        // the command came as a Query
  bool skip_to_sync_ = false;  // an error in the extended protocol
  Command command_;
  Formats formats_;
  std::map<std::string, Statement, std::less<>> statements_;
  std::map<std::string, Portal, std::less<>> portals_;
};

}  // namespace dwspool::console
