// The lexer comes to an end, covers what it reads, and recognition never runs deep.
#include <cstddef>
#include <cstdint>

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/quote.h"
#include "dwspool/sql/statement.h"

#include "fuzz/input.h"

using namespace dwspool;

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
  const std::string identifier = sql::quote_identifier(text);
  sql::Lexer quoted(identifier, true);
  fuzz::require(quoted.next().text.size() == identifier.size());
  return 0;
}
