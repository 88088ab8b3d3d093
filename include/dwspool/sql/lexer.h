// A lexer for SQL as PostgreSQL and GaussDB(DWS) read it: comments (nested), quoting, dollar
// quoting, E'' and U&'' strings, and what standard_conforming_strings changes. It knows no
// grammar. PostgreSQL documentation, "Lexical Structure".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dwspool::sql {

enum class TokenKind : std::uint8_t {
  end,
  word,               // keyword or identifier, not quoted
  quoted_identifier,  // "..." or U&"..."
  string,             // '...' in any of its forms
  dollar_string,      // $tag$...$tag$; inner() is what is between the tags
  number,
  parameter,  // $1
  semicolon,
  left_parenthesis,
  right_parenthesis,
  comma,
  equals,
  other,    // any other operator character
  unclosed  // a comment or quotation that does not end; nothing follows
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;   // as written
  std::string_view inner;  // dollar_string, string, quoted_identifier: without the quotes

  // Whether this is the unquoted word `lower`, in any case. `lower` must be in lower case.
  bool is(std::string_view lower) const;
};

class Lexer {
 public:
  // The views in tokens point into `text`. With standard_conforming_strings off a backslash
  // escapes in every string, not just in E''.
  Lexer(std::string_view text, bool standard_conforming_strings)
      : text_(text), backslash_escapes_(!standard_conforming_strings) {}

  Token next();

  // Skips the rest of the text if no semicolon is in it but perhaps a last one, so that this is
  // the last statement.
  bool skip_last_statement() {
    const std::size_t semicolon = text_.find(';', at_);
    if (semicolon < text_.size() - 1 && semicolon != std::string_view::npos) return false;
    at_ = text_.size();
    return true;
  }

  // Skips the rest of a statement, up to its semicolon (which next() then gives) or the end, and
  // calls `visit` with every token on the way that could matter: dollar quotations, quoted
  // identifiers, and words of four letters or more whose first letter `letters` has (lower
  // case, in an array of 26). This is where the time of recognition goes, hence a loop of its own.
  template <class Visit>
  void skip_statement(const std::array<bool, 26>& letters, Visit&& visit) {
    Token token;
    while (next_interesting(letters, token)) visit(token);
  }

 private:
  bool next_interesting(const std::array<bool, 26>& letters, Token& token);
  bool skip_space_and_comments();
  Token quoted(std::size_t start, std::size_t open, char quote, bool escapes);
  Token dollar(std::size_t start);
  Token word(std::size_t start);
  Token take(TokenKind kind, std::size_t start, std::size_t end);

  std::string_view text_;
  std::size_t at_ = 0;
  bool backslash_escapes_;
  bool unclosed_ = false;
};

}  // namespace dwspool::sql
