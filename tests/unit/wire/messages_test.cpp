#include "dwspool/wire/messages.h"

#include <functional>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/writer.h"

#include "support/cuts.h"

namespace dwspool::wire {
namespace {

using dwspool::testing::Exact;
using dwspool::testing::random_text;
using namespace std::string_literals;

// The body of the one message that `write` appends, whose type must be `type`.
template <class Write>
std::string body_of(char type, const Write& write) {
  std::string bytes = "before";
  write(bytes);
  std::string_view in = std::string_view(bytes).substr(6);
  REQUIRE(bytes.starts_with("before"));
  const FrameView view = peek_frame(in);
  REQUIRE(view.status == FrameStatus::complete);
  const Frame frame = take_frame(in, view);
  REQUIRE(in.empty());
  REQUIRE(frame.type == type);
  return std::string(frame.body());
}

// Every reader as one function from a body to a line; "-" when it refuses.
std::string parse_line(std::string_view body) {
  const auto m = read_parse(body);
  return m ? std::string(m->name) + "|" + std::string(m->query) + "|" + hex_encode(m->types) : "-";
}
std::string bind_line(std::string_view body) {
  const auto m = read_bind_prefix(body);
  return m ? std::string(m->portal) + "|" + std::string(m->statement) + "|" +
                 std::to_string(m->prefix_size)
           : "-";
}
std::string target_line(std::string_view body) {
  const auto m = read_target(body);
  return m ? m->kind + std::string("|") + std::string(m->name) : "-";
}
std::string query_line(std::string_view body) {
  const auto m = read_query(body);
  return m ? "|" + std::string(*m) : "-";
}
std::string parameter_line(std::string_view body) {
  const auto m = read_parameter_status(body);
  return m ? std::string(m->name) + "|" + std::string(m->value) : "-";
}
std::string key_line(std::string_view body) {
  const auto m = read_key_data(body);
  return m ? std::to_string(m->pid) + "|" + hex_encode(m->secret) : "-";
}
std::string ready_line(std::string_view body) {
  const auto m = read_ready_for_query(body);
  return m ? std::string(1, static_cast<char>(*m)) : "-";
}

using Line = std::string (*)(std::string_view);

}  // namespace

TEST_CASE("messages: what is written is read as it was") {
  CHECK(parse_line(body_of('P', [](std::string& out) {
          append_parse(out, "name", "select $1", "\0\2\0\0\0\x17\0\0\0\0"s);
        })) == "name|select $1|00020000001700000000");
  CHECK(parse_line(body_of('P', [](std::string& out) { append_parse(out, "", "", "\0\0"s); })) ==
        "||0000");
  CHECK(bind_line(body_of('B', [](std::string& out) { append_bind(out, "stmt"); })) == "|stmt|6");
  CHECK(target_line(body_of('C', [](std::string& out) { append_close(out, 'S', "stmt"); })) ==
        "S|stmt");
  CHECK(target_line(body_of('C', [](std::string& out) { append_close(out, 'P', ""); })) == "P|");
  CHECK(query_line(body_of('Q', [](std::string& out) { append_query(out, "select 1"); })) ==
        "|select 1");
  CHECK(query_line(body_of('Q', [](std::string& out) { append_query(out, ""); })) == "|");
  CHECK(parameter_line(body_of('S', [](std::string& out) {
          append_parameter_status(out, "TimeZone", "");
        })) == "TimeZone|");
  CHECK(read_command_tag(body_of('C', [](std::string& out) {
          append_command_complete(out, "INSERT 0 1");
        })) == "INSERT 0 1");
  for (const TxStatus status : {TxStatus::idle, TxStatus::in_transaction, TxStatus::failed}) {
    CHECK(read_ready_for_query(body_of(
              'Z', [&](std::string& out) { append_ready_for_query(out, status); })) == status);
  }
  for (std::size_t size = 4; size <= 256; ++size) {
    const std::string secret(size, static_cast<char>(255 - size % 256));
    CHECK(key_line(body_of('K', [&](std::string& out) {
            append_key_data(out, {0xfffffffe, secret});
          })) == "4294967294|" + hex_encode(secret));
  }
}

TEST_CASE("messages: the exact bytes of those that nobody here reads back") {
  struct Row {
    std::string name;
    std::function<void(std::string&)> write;
    std::string bytes;
  };
  const std::vector<Row> rows = {
      {"Bind", [](std::string& out) { append_bind(out, "s"); }, "B\0\0\0\x0d\0s\0\0\0\0\0\0\0"s},
      {"Execute", [](std::string& out) { append_execute(out); }, "E\0\0\0\x09\0\0\0\0\0"s},
      {"Sync", [](std::string& out) { append_sync(out); }, "S\0\0\0\4"s},
      {"Terminate", [](std::string& out) { append_terminate(out); }, "X\0\0\0\4"s},
      {"ParseComplete", [](std::string& out) { append_empty(out, '1'); }, "1\0\0\0\4"s},
      {"a password, as it is", [](std::string& out) { append_password(out, "pw\0"s); },
       "p\0\0\0\7pw\0"s},
      {"AuthenticationOk", [](std::string& out) { append_authentication(out, 0); },
       "R\0\0\0\x08\0\0\0\0"s},
      {"AuthenticationMD5Password",
       [](std::string& out) { append_authentication(out, 5, "\1\2\0\4"s); },
       "R\0\0\0\x0c\0\0\0\5\1\2\0\4"s},
      {"NegotiateProtocolVersion without options",
       [](std::string& out) { append_negotiate_protocol_version(out, protocol_3_0, {}); },
       "v\0\0\0\x0c\0\3\0\0\0\0\0\0"s},
      {"NegotiateProtocolVersion",
       [](std::string& out) {
         append_negotiate_protocol_version(out, protocol_3_0, {"_pq_.a", "_pq_.bc"});
       },
       "v\0\0\0\x1b\0\3\0\0\0\0\0\2_pq_.a\0_pq_.bc\0"s},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    std::string out = "x";
    row.write(out);
    CHECK(hex_encode(out) == hex_encode("x" + row.bytes));
  }
}

TEST_CASE("messages: a body that ends early or late is refused") {
  struct Row {
    std::string name;
    Line line;
    std::string body;
  };
  const std::vector<Row> rows = {
      {"Parse", parse_line, "n\0q\0\0\1\0\0\0\x17"s},
      {"Describe", target_line, "Sname\0"s},
      {"Query", query_line, "select\0"s},
      {"ParameterStatus", parameter_line, "name\0value\0"s},
      {"ReadyForQuery", ready_line, "I"s},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(row.line(Exact(row.body)) != "-");
    for (std::size_t n = 0; n < row.body.size(); ++n) {
      CAPTURE(n);
      CHECK(row.line(Exact(row.body.substr(0, n))) == "-");
    }
    CHECK(row.line(Exact(row.body + '\0')) == "-");
    CHECK(row.line(Exact(row.body + "x")) == "-");
  }
}

TEST_CASE("messages: Parse counts its types in 16 bits without a sign") {
  const std::string names = "\0\0"s;
  CHECK(parse_line(names + "\0\0"s) == "||0000");
  CHECK(parse_line(names + "\xff\xff"s + std::string(std::size_t{65535} * 4, '\0')) ==
        "||ffff" + std::string(std::size_t{65535} * 8, '0'));
  CHECK(parse_line(names + "\xff\xff"s + std::string(std::size_t{65535} * 4 - 1, '\0')) == "-");
  CHECK(parse_line(names + "\x80\0"s) == "-");
}

TEST_CASE("messages: the names of Bind are read as soon as they are there") {
  const std::string body = "port\0stmt\0\0\0\0\0\0\0"s;
  for (std::size_t n = 0; n <= body.size(); ++n) {
    CAPTURE(n);
    CHECK(bind_line(Exact(body.substr(0, n))) == (n < 10 ? "-" : "port|stmt|10"));
  }
  CHECK(bind_line("\0\0"s) == "||2");
}

TEST_CASE("messages: Describe and Close know two kinds of target") {
  for (int kind = 0; kind < 256; ++kind) {
    CAPTURE(kind);
    const std::string body = static_cast<char>(kind) + "name\0"s;
    CHECK((target_line(body) != "-") == (kind == 'S' || kind == 'P'));
  }
}

TEST_CASE("messages: Query ends at its NUL and has only one") {
  CHECK(query_line("select 1\0select 2\0"s) == "-");
  CHECK(query_line("select 1") == "-");
  CHECK(query_line("") == "-");
}

TEST_CASE("messages: key data has a pid and 4 to 256 bytes of secret") {
  for (std::size_t size = 0; size < 300; ++size) {
    CAPTURE(size);
    const bool good = size >= 8 && size <= 260;
    CHECK((key_line(Exact(std::string(size, '\x80'))) != "-") == good);
  }
}

TEST_CASE("messages: ReadyForQuery is one of three letters") {
  for (int letter = 0; letter < 256; ++letter) {
    CAPTURE(letter);
    const std::string body(1, static_cast<char>(letter));
    const bool good = letter == 'I' || letter == 'T' || letter == 'E';
    CHECK(ready_line(body) == (good ? body : "-"));
  }
  CHECK(ready_line("") == "-");
  CHECK(ready_line("I\0"s) == "-");  // GaussDB's enable_full_encryption
}

TEST_CASE("messages: a tag is read with or without its NUL") {
  CHECK(read_command_tag("COPY 3\0"s) == "COPY 3");
  CHECK(read_command_tag("COPY 3") == "COPY 3");
  CHECK(read_command_tag("\0rest"s).empty());
  CHECK(read_command_tag("").empty());
}

TEST_CASE("messages: readers survive bytes of any kind") {
  const Line lines[] = {parse_line,     bind_line, target_line, query_line,
                        parameter_line, key_line,  ready_line};
  std::mt19937 random(42);
  for (int round = 0; round < 20000; ++round) {
    const Exact body(round % 2 == 0
                         ? random_text(random, random() % 300)
                         : random_text(random, random() % 12, std::string_view("\0\0\0SP\1", 6)));
    for (const Line line : lines) REQUIRE_NOTHROW(static_cast<void>(line(body)));
    REQUIRE_NOTHROW(static_cast<void>(read_command_tag(body)));
  }
}

}  // namespace dwspool::wire
