// The lexer comes to an end, covers what it reads, and recognition never runs deep.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/masked.h"
#include "dwspool/sql/quote.h"
#include "dwspool/sql/statement.h"

#include "fuzz/input.h"

using namespace dwspool;

namespace {

// Nothing is left of values, whatever the text is and wherever it ends.
void check_masked(std::string_view text) {
  constexpr std::size_t limit = 300;
  const std::string shown = sql::masked(text, limit);
  fuzz::require(shown.size() <= limit + 3);
  sql::Lexer lexer(shown, true);
  for (sql::Token token = lexer.next(); token.kind != sql::TokenKind::end; token = lexer.next()) {
    fuzz::require(token.kind != sql::TokenKind::string && token.kind != sql::TokenKind::number &&
                  token.kind != sql::TokenKind::dollar_string);
  }
}

// A secret between quotes stays there, however the server reads backslashes.
void check_secret(std::string_view before, std::string_view after) {
  constexpr std::string_view secret = "SECRET#";
  if (before.find('#') != std::string_view::npos || after.find('#') != std::string_view::npos) {
    return;
  }
  std::string literal = sql::quote_literal(std::string(before) + std::string(secret));
  literal += after;
  fuzz::require(sql::masked("select " + literal, 300).find(secret) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t flags = input.byte();
  const std::string_view text = input.rest();
  sql::Lexer lexer(text, (flags & 1U) != 0);
  std::size_t end = 0;
  while (true) {
    const sql::Token token = lexer.next();
    if (token.kind == sql::TokenKind::end || token.kind == sql::TokenKind::unclosed) break;
    const auto at = static_cast<std::size_t>(token.text.data() - text.data());
    fuzz::require(at >= end && !token.text.empty() && at + token.text.size() <= text.size());
    end = at + token.text.size();
  }
  const sql::Statement whole = sql::recognize(text, (flags & 1U) != 0, (flags & 2U) != 0, true);
  const sql::Statement brief = sql::recognize(text, (flags & 1U) != 0, (flags & 2U) != 0, false);
  // Structure does not depend on whether names are looked at, unless nothing can be told.
  if (!whole.effects.has(sql::Effect::unclear) && !brief.effects.has(sql::Effect::unclear)) {
    fuzz::require(whole.single == brief.single && whole.kind == brief.kind);
    if (brief.effects.has(sql::Effect::ends_transaction)) {
      fuzz::require(whole.effects.has(sql::Effect::ends_transaction));
    }
  }
  sql::identifier_of(text);
  // What is quoted is one token, whatever is in it.
  for (const bool conforming : {true, false}) {
    const std::string literal = sql::quote_literal(text);
    sql::Lexer quoted(literal, conforming);
    const sql::Token token = quoted.next();
    fuzz::require(token.kind == sql::TokenKind::string && token.text.size() == literal.size());
  }
  check_masked(text);
  check_secret(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
  const std::string identifier = sql::quote_identifier(text);
  sql::Lexer quoted(identifier, true);
  fuzz::require(quoted.next().text.size() == identifier.size());
  return 0;
}
