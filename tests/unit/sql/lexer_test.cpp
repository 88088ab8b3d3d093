#include "dwspool/sql/lexer.h"

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/sql/statement.h"

namespace dwspool::sql {
namespace {

std::string tokens(std::string_view text, bool conforming = true) {
  Lexer lexer(text, conforming);
  std::string seen;
  while (true) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::end) return seen;
    if (!seen.empty()) seen += '|';
    seen += token.text;
    if (token.kind == TokenKind::unclosed) return seen + "!";
  }
}

}  // namespace

TEST_CASE("text is cut where PostgreSQL cuts it") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"select 1", "select|1"},
      {"", ""},
      {"  \t\n", ""},
      {"select 'it''s'", "select|'it''s'"},
      {"e'a\\'b' x", "e'a\\'b'|x"},
      {"'a\\' x", "'a\\'|x"},
      {"U&'a\\' x", "U&'a\\'|x"},
      {"u&\"a\"\"b\" x", "u&\"a\"\"b\"|x"},
      {"N'x' b'01' X'ff'", "N'x'|b'01'|X'ff'"},
      {"\"a b\".c", "\"a b\"|.|c"},
      {"$$a;b$$;", "$$a;b$$|;"},
      {"$t$a$$b$t$ x", "$t$a$$b$t$|x"},
      {"$1+$22", "$1|+|$22"},
      {"a$b$c", "a$b$c"},
      {"-- note\nx", "x"},
      {"-- note\rx", "x"},
      {"/* a /* b */ c */ x", "x"},
      {"1.5e10 .5 1", "1.5e10|.5|1"},
      {"a-b", "a|-|b"},
      {"a--b", "a"},
      {"a/b", "a|/|b"},
      {"f(x,y);", "f|(|x|,|y|)|;"},
      {"größe", "größe"},
      {"'open", "'open!"},
      {"\"open", "\"open!"},
      {"$$open", "$$open!"},
      {"/* open", "/* open!"},
      {"$ x", "$|x"},
      {"$a x", "$|a|x"},
  };
  for (const auto& row : cases) {
    CAPTURE(row.first);
    CHECK(tokens(row.first) == row.second);
  }
}

TEST_CASE("without standard_conforming_strings a backslash escapes everywhere") {
  CHECK(tokens("'a\\' x' y", false) == "'a\\' x'|y");
  CHECK(tokens("'a\\' y", true) == "'a\\'|y");
}

TEST_CASE("any text comes to an end") {
  std::mt19937 random(7);
  static constexpr std::string_view alphabet = "abETuU&'\"$1;-/*\n\\ ().,=\x80";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    const std::size_t length = random() % 40;
    for (std::size_t i = 0; i < length; ++i) text += alphabet[random() % alphabet.size()];
    CAPTURE(text);
    for (const bool conforming : {true, false}) {
      Lexer lexer(text, conforming);
      std::size_t count = 0;
      while (true) {
        const Token token = lexer.next();
        if (token.kind == TokenKind::end || token.kind == TokenKind::unclosed) break;
        REQUIRE(++count <= text.size());
      }
      recognize(text, conforming);  // must come to an end as well
      recognize(text, conforming, false, false);
    }
  }
}

}  // namespace dwspool::sql
