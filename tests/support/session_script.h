// Conversations with a session, without a socket: what goes in is said, what comes out is
// expected, and every line can fail.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::testing {

inline std::string message(char type, std::string_view body = {}) {
  std::string out;
  wire::MessageWriter(out, type).bytes(body).end();
  return out;
}
inline std::string query(std::string_view sql) {
  std::string out;
  wire::append_query(out, sql);
  return out;
}
inline std::string parse(std::string_view name, std::string_view sql) {
  std::string out;
  wire::append_parse(out, name, sql, std::string_view("\0\0", 2));
  return out;
}
inline std::string bind(std::string_view portal, std::string_view statement) {
  std::string out;
  wire::MessageWriter(out, 'B').cstring(portal).cstring(statement).u16(0).u16(0).u16(0).end();
  return out;
}
inline std::string describe(char kind, std::string_view name) {
  std::string out;
  wire::MessageWriter(out, 'D').u8(static_cast<std::uint8_t>(kind)).cstring(name).end();
  return out;
}
inline std::string close(char kind, std::string_view name) {
  std::string out;
  wire::append_close(out, kind, name);
  return out;
}
inline std::string execute() {
  std::string out;
  wire::append_execute(out);
  return out;
}
inline std::string sync() {
  return message('S');
}
inline std::string flush() {
  return message('H');
}
inline std::string terminate() {
  return message('X');
}
inline std::string complete(std::string_view tag) {
  std::string out;
  wire::append_command_complete(out, tag);
  return out;
}
inline std::string ready(char status) {
  return message('Z', std::string(1, status));
}
inline std::string row(std::string_view value) {
  std::string out;
  wire::MessageWriter(out, 'D')
      .u16(1)
      .u32(static_cast<std::uint32_t>(value.size()))
      .bytes(value)
      .end();
  return out;
}
inline std::string parameter(std::string_view name, std::string_view value) {
  std::string out;
  wire::append_parameter_status(out, name, value);
  return out;
}
inline std::string error(std::string_view sqlstate, std::string_view text = "an error",
                         std::string_view severity = "ERROR") {
  std::string out;
  wire::MessageWriter(out, 'E')
      .bytes("S")
      .cstring(severity)
      .bytes("V")
      .cstring(severity)
      .bytes("C")
      .cstring(sqlstate)
      .bytes("M")
      .cstring(text)
      .u8(0)
      .end();
  return out;
}
inline std::string copy_in() {
  return message('G', std::string("\0\0\1\0\0", 5));
}

// The types of the messages in `bytes`, with what identifies the more interesting ones:
// "Z:I", "E:08006", "C:SELECT 1", "Q:select 1", "S:TimeZone=UTC".
std::string summary(std::string_view bytes, bool from_backend);

// One client's session and the backends it is given. Without `replay` nothing is kept of it, as if
// it were a bare Session.
class SessionScript {
 public:
  explicit SessionScript(PoolMode mode = PoolMode::automatic, session::SettingSet startup = {},
                         Dialect dialect = Dialect::postgres,
                         std::optional<retry::ReplayOptions> replay = {});

  // The tally of all steps.
  std::uint32_t queries = 0;
  std::uint32_t transactions = 0;
  std::uint32_t errors = 0;
  std::vector<session::ReplayNote> notes;
  std::optional<retry::Refusal> sample;
  retry::Refusal unprotected = retry::Refusal::none;

  // What stands at the front of the client's input that the session left there.
  std::string unread;

  // Steps. Each feeds the bytes as cut() says, and collects the output of all parts.
  SessionScript& client(std::string_view bytes);
  SessionScript& server(std::string_view bytes);
  SessionScript& grant();  // a backend of the pool
  SessionScript& grant(session::Backend& backend);
  SessionScript& lose_backend(std::string_view cause = "the cable was cut");
  SessionScript& acquire_fails(std::string_view sqlstate);
  SessionScript& cancel_while_waiting();
  SessionScript& drain();
  // The session goes on as another process would have it go on. False if it cannot be moved.
  bool move();
  SessionScript& wait(Duration time);  // and do what is due then
  // What the shell does behind a release: input, as far as there is any.
  SessionScript& go_on();

  // The log-in, over: the session is idle.
  SessionScript& logged_in();

  // What the last steps have given, since the last expect of its kind.
  SessionScript& expect(session::Next next);
  SessionScript& to_client(std::string_view expected);  // as summary()
  SessionScript& to_server(std::string_view expected);
  SessionScript& silent() { return to_client("").to_server(""); }

  // How input is cut: 0 whole, 1 byte by byte, else by a generator with this seed.
  void cut(unsigned seed) { cut_ = seed; }

  session::ReplayedSession& session() { return *session_; }
  session::ReplayContext& replay() { return *replay_; }
  TimePoint now() const { return now_; }
  session::Backend& backend() { return *backend_; }
  session::Backend make_backend();
  std::string raw_to_server() const { return last_server_; }
  std::string raw_to_client() const { return last_client_; }
  session::WelcomeCache& welcome() { return welcome_; }

 private:
  void take();
  std::size_t piece(std::size_t left);

  session::PreparedTable statements_;
  session::Interner<session::SettingSet> settings_;
  session::Interner<session::ReportedSet> reported_;
  session::WelcomeCache welcome_;
  session::SessionContext context_;
  session::Output out_;
  std::unique_ptr<session::Backend> own_backend_;
  session::Backend* backend_ = nullptr;
  std::unique_ptr<session::ReplayContext> replay_;
  std::unique_ptr<session::ReplayedSession> session_;
  TimePoint now_{std::chrono::hours(1)};
  Dialect dialect_;
  session::Next next_ = session::Next::need_input;
  std::string to_client_;
  std::string to_server_;
  std::string last_server_;
  std::string last_client_;
  std::string server_unread_;
  unsigned cut_ = 0;
  std::uint64_t moves_ = 0;
  std::uint64_t random_ = 1;
};

// Runs the script whole, byte by byte and at random cuts: the outcome must be the same.
template <class Script>
void with_all_cuts(Script&& script) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    CAPTURE(seed);
    script(seed);
  }
}

}  // namespace dwspool::testing
