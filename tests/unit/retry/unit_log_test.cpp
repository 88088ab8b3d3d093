#include "dwspool/retry/unit_log.h"

#include <string>

#include <doctest/doctest.h>

#include "support/session_script.h"

namespace dwspool::retry {
namespace {

using namespace testing;  // the messages of a client

// "unit:QPB copy:d rest:P", by the types of the messages.
std::string pieces_of(std::string_view log) {
  std::string text;
  while (!log.empty()) {
    const LogPiece piece = first_piece(log);
    REQUIRE_FALSE(piece.bytes.empty());
    CHECK(piece.bytes.data() == log.data());
    if (!text.empty()) text += ' ';
    text += piece.kind == LogPiece::Kind::unit   ? "unit:"
            : piece.kind == LogPiece::Kind::copy ? "copy:"
                                                 : "rest:";
    std::string_view left = piece.bytes;
    while (!left.empty()) {
      const wire::FrameView view = wire::peek_frame(left);
      text += view.type;
      left.remove_prefix(view.status == wire::FrameStatus::complete ? view.total : left.size());
    }
    log.remove_prefix(piece.bytes.size());
  }
  return text;
}

// "select 1,?; ...": each unit's texts.
std::string texts(const std::string& log) {
  std::string text;
  bool first_unit = true;
  for (const UnitTexts& unit : texts_of(log, [](std::string_view name) {
         return name == "old" ? std::optional<std::string>("select old") : std::nullopt;
       })) {
    if (!first_unit) text += "; ";
    first_unit = false;
    bool first = true;
    for (const auto& each : unit.texts) {
      if (!first) text += ',';
      first = false;
      text += each.value_or("?");
    }
    if (unit.copies) text += " +copy";
    if (!unit.complete) text += " ...";
  }
  return text;
}

TEST_CASE("unit log: cut into units, COPY data and the rest") {
  CHECK(pieces_of(query("a") + query("b")) == "unit:Q unit:Q");
  const std::string batch = parse("", "a") + bind("", "") + execute();
  CHECK(pieces_of(batch + sync() + batch + sync()) == "unit:PBES unit:PBES");
  CHECK(pieces_of(batch + flush()) == "rest:PBEH");
  CHECK(pieces_of(batch + query("b") + parse("", "c")) == "unit:PBEQ rest:P");
  CHECK(pieces_of(message('F', "x")) == "unit:F");
  const std::string data = message('d', "1\n");
  CHECK(pieces_of(query("copy") + data + data + message('c') + query("a")) ==
        "unit:Q copy:ddc unit:Q");
  CHECK(pieces_of(query("copy") + data + message('f', std::string("no\0", 3))) == "unit:Q copy:df");
  // Of the last message only the beginning is there.
  CHECK(pieces_of(query("a") + query("long").substr(0, 7)) == "unit:Q rest:Q");
  CHECK(pieces_of(query("a") + message('d', "long").substr(0, 6)) == "unit:Q copy:d");
}

TEST_CASE("unit log: what is missing of the last message") {
  const std::string whole = parse("", "a") + query("long");
  CHECK(missing_at_end(whole) == 0);
  for (std::size_t missing = 1; missing <= 5; ++missing) {
    CHECK(missing_at_end(std::string_view(whole).substr(0, whole.size() - missing)) == missing);
  }
  CHECK(missing_at_end("Q\0") == 0);  // without its length nobody knows
}

TEST_CASE("unit log: the texts of what is run") {
  CHECK(texts(query("select 1") + query("select 2")) == "select 1; select 2");
  CHECK(texts(parse("", "select 1") + bind("", "") + execute() + sync()) == "select 1");
  CHECK(texts(parse("p", "select 1") + sync() + bind("", "p") + execute() + execute() + sync()) ==
        "; select 1,select 1");
  CHECK(texts(bind("", "old") + execute() + sync()) == "select old");
  CHECK(texts(bind("", "unheard of") + execute() + sync()) == "?");
  CHECK(texts(execute() + sync()) == "?");
  // What "old" stands for now tells nothing about what it stood for when it was bound.
  CHECK(texts(bind("", "old") + execute() + sync() + close('S', "old") + parse("old", "b") +
              bind("", "old") + execute() + sync()) == "?; b");
  // A Query takes the unnamed statement with it.
  CHECK(texts(parse("", "select 1") + sync() + query("a") + bind("", "") + execute() + sync()) ==
        "; a; ?");
  // A name that is prepared anew means the new text from then on.
  CHECK(texts(parse("p", "a") + bind("", "p") + execute() + sync() + parse("p", "b") +
              bind("", "p") + execute() + sync()) == "a; b");
  CHECK(texts(message('F', "x")) == "?");
  CHECK(texts(query("copy t from stdin") + message('d', "1\n") + message('c') + query("a")) ==
        "copy t from stdin +copy; a");
  CHECK(texts(parse("", "a") + bind("", "") + execute()) == "a ...");
  CHECK(texts(query("a") + query("long one").substr(0, 8)) == "a; ? ...");
  CHECK(texts("").empty());
}

}  // namespace
}  // namespace dwspool::retry
