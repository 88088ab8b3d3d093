// The console as a database: messages in, messages out.
#include "dwspool/console/session.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/writer.h"

#include "dwspool/console/show.h"

namespace dwspool::console {
namespace {

using Need = Session::Need;

// The types of the messages, with the code of an error and the tag of a CommandComplete.
std::string told(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const wire::Frame frame = wire::take_frame(bytes, wire::peek_frame(bytes));
    if (!text.empty()) text += ' ';
    text += frame.type;
    if (frame.type == 'E') text += '(' + std::string(wire::read_error(frame.body()).sqlstate) + ')';
    if (frame.type == 'C') text += '(' + std::string(wire::read_command_tag(frame.body())) + ')';
  }
  return text;
}

std::string query(std::string_view sql) {
  std::string bytes;
  wire::append_query(bytes, sql);
  return bytes;
}

std::string parse_message(std::string_view name, std::string_view sql) {
  std::string bytes;
  wire::append_parse(bytes, name, sql, std::string_view("\0\0", 2));
  return bytes;
}

std::string bind(std::string_view portal, std::string_view statement, bool binary = false) {
  std::string bytes;
  wire::MessageWriter message(bytes, wire::frontend::bind);
  message.cstring(portal).cstring(statement).u16(0).u16(0).u16(1).u16(binary ? 1 : 0).end();
  return bytes;
}

std::string describe(char kind, std::string_view name) {
  std::string bytes;
  wire::MessageWriter(bytes, wire::frontend::describe)
      .u8(static_cast<std::uint8_t>(kind))
      .cstring(name)
      .end();
  return bytes;
}

std::string execute(std::string_view portal = {}) {
  std::string bytes;
  wire::append_execute(bytes, portal);
  return bytes;
}

std::string sync() {
  std::string bytes;
  wire::append_sync(bytes);
  return bytes;
}

struct Talk {
  explicit Talk(bool admin = true) : session(admin) {}

  Need say(const std::string& bytes) {
    input += bytes;
    return go_on();
  }
  Need go_on() {
    std::string_view rest = input;
    const Need need = session.on_bytes(rest, output);
    input = rest;
    return need;
  }
  void answer(const Answer& what) { session.answer(what, output); }
  std::string heard() { return told(std::exchange(output, {})); }

  Session session;
  std::string input;
  std::string output;
};

Table version() {
  Facts facts;
  facts.version = "dwspool 1";
  return show(Show::version, facts);
}

TEST_CASE("a query waits for its answer, and the next one for the first") {
  Talk talk;
  CHECK(talk.say(query("show version") + query("reload")) == Need::command);
  CHECK(talk.session.command().what == Show::version);
  CHECK(talk.heard().empty());
  CHECK(talk.go_on() == Need::input);
  talk.answer(version());
  CHECK(talk.heard() == "T D C(SHOW) Z");
  CHECK(talk.go_on() == Need::command);
  talk.answer(Done{});
  CHECK(talk.heard() == "C(RELOAD) Z");
  CHECK(talk.go_on() == Need::input);
}

TEST_CASE("messages may come in any pieces") {
  Talk talk;
  const std::string bytes = query("show version");
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    CHECK(talk.say(bytes.substr(i, 1)) == Need::input);
  }
  CHECK(talk.say(bytes.substr(bytes.size() - 1)) == Need::command);
}

TEST_CASE("what is answered at once") {
  Talk talk(false);
  CHECK(talk.say(query("") + query("begin") + query("set datestyle = 'x'") +
                 query("show timezone") + query("show help") + query("wat") + query("pause")) ==
        Need::input);
  CHECK(talk.heard() ==
        "I Z C(BEGIN) Z N C(SET) Z T D C(SHOW) Z N C(SHOW) Z E(42601) Z E(42501) Z");
}

TEST_CASE("the extended protocol") {
  Talk talk;
  CHECK(talk.say(parse_message("s", "show version") + describe('S', "s") + bind("", "s") +
                 describe('P', "") + execute() + sync()) == Need::command);
  CHECK(talk.heard() == "1 t T 2 T");
  talk.answer(version());
  CHECK(talk.heard() == "D C(SHOW)");
  CHECK(talk.go_on() == Need::input);
  CHECK(talk.heard() == "Z");
  // A statement may be used again, and one without rows says so.
  CHECK(talk.say(parse_message("", "reload") + describe('S', "") + bind("", "") + execute() +
                 bind("p", "s") + execute("p") + sync()) == Need::command);
  CHECK(talk.heard() == "1 t n 2");
  talk.answer(Done{});
  CHECK(talk.go_on() == Need::command);
  talk.answer(version());
  CHECK(talk.go_on() == Need::input);
  CHECK(talk.heard() == "C(RELOAD) 2 D C(SHOW) Z");
}

TEST_CASE("after an error the rest is skipped up to Sync") {
  Talk talk(false);
  CHECK(talk.say(parse_message("", "wat") + bind("", "") + execute() + sync()) == Need::input);
  CHECK(talk.heard() == "E(42601) Z");
  CHECK(talk.say(parse_message("", "pause") + bind("", "") + execute() + execute() + sync()) ==
        Need::input);
  CHECK(talk.heard() == "1 2 E(42501) Z");
  CHECK(talk.say(bind("", "missing") + sync() + execute("missing") + sync() +
                 describe('P', "missing") + sync()) == Need::input);
  CHECK(talk.heard() == "E(26000) Z E(34000) Z E(34000) Z");
}

TEST_CASE("an answer that is an error") {
  Talk talk;
  wire::ErrorReport report;
  report.sqlstate = "55000";
  report.message = "already suspended/paused";
  CHECK(talk.say(query("pause")) == Need::command);
  talk.answer(report);
  CHECK(talk.heard() == "E(55000) Z");
  CHECK(talk.say(parse_message("", "pause") + bind("", "") + execute() + execute() + sync()) ==
        Need::command);
  talk.answer(report);
  CHECK(talk.go_on() == Need::input);
  CHECK(talk.heard() == "1 2 E(55000) Z");
}

TEST_CASE("what makes no sense ends the connection") {
  for (const std::string& bytes :
       {std::string("F\0\0\0\4", 5), std::string("Q\0\0\0\3", 5), std::string("Q\0\1\1\1", 5)}) {
    Talk talk;
    CHECK(talk.say(bytes) == Need::close);
    CHECK(talk.heard() == "E(08P01)");
  }
  Talk talk;
  CHECK(talk.say(std::string("X\0\0\0\4", 5)) == Need::close);
  CHECK(talk.heard().empty());
}

TEST_CASE("numbers in binary") {
  const std::vector<Column> columns = {
      {"a", Type::int4}, {"b", Type::int8}, {"c", Type::numeric}, {"d", Type::text}};
  std::string out;
  append_data_row(out, columns, {"258", "4294967296", "123450000", std::nullopt}, {true});
  const std::string expected = std::string("D\0\0\0\x2e\0\4", 7) +
                               std::string("\0\0\0\4\0\0\1\2", 8) +
                               std::string("\0\0\0\x8\0\0\0\1\0\0\0\0", 12) +
                               std::string("\0\0\0\x0e\0\3\0\2\0\0\0\0\0\1\x09\x29\0\0", 18) +
                               std::string("\xff\xff\xff\xff", 4);
  CHECK(out.size() == expected.size() + 0);
  CHECK(out.substr(5) == expected.substr(5));
  out.clear();
  append_data_row(out, std::vector<Column>{{"n", Type::numeric}}, {"0"}, {true});
  CHECK(out.substr(7) == std::string("\0\0\0\x8\0\0\0\0\0\0\0\0", 12));
  const auto numeric = [](std::string value) {
    std::string row;
    append_data_row(row, std::vector<Column>{{"n", Type::numeric}}, {std::move(value)}, {true});
    return row.substr(11);
  };
  CHECK(numeric("0.750000") == std::string("\0\2\xff\xff\0\0\0\6\x1d\x4c\0\0", 12));
  CHECK(numeric("12345.5") == std::string("\0\3\0\1\0\0\0\1\0\1\x09\x29\x13\x88", 14));
}

}  // namespace
}  // namespace dwspool::console
