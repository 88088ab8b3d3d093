// ErrorResponse and NoticeResponse: those of servers are read field by field, those of dwspool
// are written so that every client understands them.
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "support/cuts.h"

namespace dwspool::wire {
namespace {

using dwspool::testing::Exact;
using dwspool::testing::random_text;
using namespace std::string_literals;

// "severity|sqlstate|message|detail|hint"
std::string read(std::string_view body) {
  const Exact exact(body);
  const ErrorFields fields = read_error(exact);
  return std::string(fields.severity) + "|" + std::string(fields.sqlstate) + "|" +
         std::string(fields.message) + "|" + std::string(fields.detail) + "|" +
         std::string(fields.hint);
}

std::string body_of(std::string_view message, char type) {
  const FrameView view = peek_frame(message);
  REQUIRE(view.status == FrameStatus::complete);
  REQUIRE(view.type == type);
  const Frame frame = take_frame(message, view);
  REQUIRE(message.empty());
  return std::string(frame.body());
}

}  // namespace

TEST_CASE("error: fields are found by their letters") {
  struct Row {
    std::string name;
    std::string body;
    std::string outcome;
  };
  const std::vector<Row> rows = {
      {"PostgreSQL", "SFATAL\0VFATAL\0C28P01\0Mno\0Dd\0Hh\0Fauth.c\0L1\0Rauth\0\0"s,
       "FATAL|28P01|no|d|h"},
      {"localised severity", "SFEHLER\0VERROR\0C42601\0Mm\0\0"s, "ERROR|42601|m||"},
      {"V in front of S", "VERROR\0SFEHLER\0C42601\0Mm\0\0"s, "ERROR|42601|m||"},
      {"no V, as GaussDB", "SERROR\0c12345\0Mm\0C08006\0dPOOLER\0\0"s, "ERROR|08006|m||"},
      {"an empty V", "SERROR\0V\0C08006\0Mm\0\0"s, "ERROR|08006|m||"},
      {"no severity at all", "C57P01\0Mm\0\0"s, "|57P01|m||"},
      {"no code", "SERROR\0VERROR\0Mm\0\0"s, "ERROR||m||"},
      {"no message", "SERROR\0VERROR\0C57P01\0\0"s, "ERROR|57P01|||"},
      {"GaussDB's put_line: only m", "mtext\0\0"s, "||||"},
      {"nothing but the terminator", "\0"s, "||||"},
      {"nothing", "", "||||"},
      {"empty texts", "S\0V\0C\0M\0D\0H\0\0"s, "||||"},
      {"c and d are neither C nor D", "c1\0dPOOLER\0\0"s, "||||"},
      {"unknown letters", "SERROR\0\x01x\0\xffy\0zz\0C08006\0\0"s, "ERROR|08006|||"},
      {"of a letter given twice the last counts", "Ma\0Mb\0\0"s, "||b||"},
      {"fields behind the terminator do not count", "Ma\0\0\0C08006\0\0"s, "||a||"},
      {"no terminator", "SERROR\0C08006\0Mm\0"s, "ERROR|08006|m||"},
      {"a text that does not end is none", "SERROR\0C08006\0Mm"s, "ERROR|08006|||"},
      {"a letter at the end", "SERROR\0C"s, "ERROR||||"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(read(row.body) == row.outcome);
  }
}

TEST_CASE("error: with any one field missing the others are found") {
  const std::vector<std::string> fields = {"SERROR\0"s, "VERROR\0"s, "C08006\0"s,
                                           "Mtext\0"s,  "Dmore\0"s,  "Htry\0"s};
  const std::vector<std::string> expected = {
      "ERROR|08006|text|more|try", "ERROR|08006|text|more|try", "ERROR||text|more|try",
      "ERROR|08006||more|try",     "ERROR|08006|text||try",     "ERROR|08006|text|more|"};
  for (std::size_t missing = 0; missing < fields.size(); ++missing) {
    CAPTURE(missing);
    std::string forwards;
    std::string backwards;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i == missing) continue;
      forwards += fields[i];
      backwards = fields[i] + backwards;
    }
    CHECK(read(forwards + '\0') == expected[missing]);
    CHECK(read(backwards + '\0') == expected[missing]);
  }
}

TEST_CASE("error: a body that is cut anywhere gives the fields that are complete") {
  const std::string body = "SFATAL\0VFATAL\0C57P03\0Mnot now\0Dd\0Hh\0\0"s;
  const auto seen = [&](std::size_t n, std::string_view field, std::string_view text) {
    return n >= body.find(std::string(field) + std::string(text) + '\0') + text.size() + 2
               ? std::string(text)
               : ""s;
  };
  for (std::size_t n = 0; n <= body.size(); ++n) {
    CAPTURE(n);
    CHECK(read(body.substr(0, n)) == seen(n, "S", "FATAL") + "|" + seen(n, "C", "57P03") + "|" +
                                         seen(n, "M", "not now") + "|" + seen(n, "D", "d") + "|" +
                                         seen(n, "H", "h"));
  }
}

TEST_CASE("error: what is fatal") {
  CHECK(read_error("SFATAL\0\0"s).is_fatal());
  CHECK(read_error("SPANIC\0\0"s).is_fatal());
  CHECK_FALSE(read_error("SERROR\0\0"s).is_fatal());
  CHECK_FALSE(read_error("SFATAL\0VERROR\0\0"s).is_fatal());
  CHECK_FALSE(read_error("Sfatal\0\0"s).is_fatal());
  CHECK_FALSE(read_error(""s).is_fatal());
}

TEST_CASE("error: readers survive bytes of any kind") {
  std::mt19937 random(6666);
  for (int round = 0; round < 20000; ++round) {
    const Exact body(random_text(random, random() % 60, std::string_view("\0\0SVCMDHcdm\xff", 12)));
    REQUIRE_NOTHROW(static_cast<void>(read_error(body)));
  }
}

TEST_CASE("report: severity decides the type, and is said both ways") {
  struct Row {
    Severity severity;
    char type;
    std::string text;
  };
  const std::vector<Row> rows = {{Severity::notice, 'N', "NOTICE"},
                                 {Severity::warning, 'N', "WARNING"},
                                 {Severity::error, 'E', "ERROR"},
                                 {Severity::fatal, 'E', "FATAL"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const ErrorReport report{row.severity, "08006", "text", "detail", "hint", "function"};
    const std::string body = body_of(encode(report), row.type);
    CHECK(body ==
          "S" + row.text + "\0V"s + row.text + "\0C08006\0Mtext\0Ddetail\0Hhint\0Rfunction\0\0"s);
    CHECK(read(body) == row.text + "|08006|text|detail|hint");
  }
}

TEST_CASE("report: empty fields are left out") {
  CHECK(body_of(encode({}), 'E') == "SERROR\0VERROR\0\0"s);
  CHECK(body_of(encode({Severity::error, "08006", "text", "", "", ""}), 'E') ==
        "SERROR\0VERROR\0C08006\0Mtext\0\0"s);
}

TEST_CASE("report: a NUL ends its own text and not the message") {
  const ErrorReport report{Severity::error, "08\0X"s,      "text\0C57014\0"s,
                           "\0"s,           "hint\0\0\0"s, "\0"s};
  CHECK(body_of(encode(report), 'E') == "SERROR\0VERROR\0C08\0Mtext\0D\0Hhint\0R\0\0"s);
}

TEST_CASE("report: one appended behind the other") {
  std::string out = "before";
  append_report(out, {Severity::notice, "00000", "a", "", "", ""});
  append_report(out, {Severity::fatal, "57P01", "b", "", "", ""});
  CHECK(out == "before" + encode({Severity::notice, "00000", "a", "", "", ""}) +
                   encode({Severity::fatal, "57P01", "b", "", "", ""}));
}

}  // namespace dwspool::wire
