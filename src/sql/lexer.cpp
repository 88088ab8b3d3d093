#include "dwspool/sql/lexer.h"

#include <array>

#include "dwspool/base/text.h"

namespace dwspool::sql {
namespace {

// What a byte can be, for one look-up instead of five comparisons.
enum : std::uint8_t { word_start = 1, word_part = 2, digit = 4, space = 8, plain = 16 };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const char c = static_cast<char>(i);
    std::uint8_t bits = 0;
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || i >= 0x80;
    const bool is_digit = c >= '0' && c <= '9';
    if (letter) bits |= word_start | word_part;
    if (is_digit) bits |= digit | word_part;
    if (c == '$') bits |= word_part;
    if (is_space(c)) bits |= space;
    // Neither begins a word nor a quotation nor a comment, nor ends a statement.
    if (!letter && c != '\'' && c != '"' && c != '$' && c != ';' && c != '-' && c != '/') {
      bits |= plain;
    }
    classes[i] = bits;
  }
  return classes;
}
constexpr std::array<std::uint8_t, 256> classes = make_classes();

constexpr std::uint8_t class_of(char c) {
  return classes[static_cast<unsigned char>(c)];
}
constexpr bool is_word_start(char c) {
  return (class_of(c) & word_start) != 0;
}
constexpr bool is_digit(char c) {
  return (class_of(c) & digit) != 0;
}
constexpr bool is_word_part(char c) {
  return (class_of(c) & word_part) != 0;
}

}  // namespace

bool Token::is(std::string_view lower) const {
  return kind == TokenKind::word && equals_ignore_case(text, lower);
}

Token Lexer::take(TokenKind kind, std::size_t start, std::size_t end) {
  at_ = end;
  return Token{kind, text_.substr(start, end - start), {}};
}

// False when a comment does not end.
bool Lexer::skip_space_and_comments() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (is_space(c)) {
      ++at_;
      continue;
    }
    if (c == '-' && text_.substr(at_, 2) == "--") {
      const std::size_t end = text_.find_first_of("\n\r", at_);
      at_ = end == std::string_view::npos ? text_.size() : end + 1;
      continue;
    }
    if (c == '/' && text_.substr(at_, 2) == "/*") {
      int depth = 1;
      at_ += 2;
      while (depth > 0) {
        if (at_ + 1 >= text_.size()) return false;
        if (text_[at_] == '*' && text_[at_ + 1] == '/') {
          --depth;
          at_ += 2;
        } else if (text_[at_] == '/' && text_[at_ + 1] == '*') {
          ++depth;
          at_ += 2;
        } else {
          ++at_;
        }
      }
      continue;
    }
    break;
  }
  return true;
}

// A quotation whose opening quote is at `open`. Adjacent literals that a newline joins come as
// two tokens, which matters to nobody here.
Token Lexer::quoted(std::size_t start, std::size_t open, char quote, bool escapes) {
  std::size_t i = open + 1;
  while (i < text_.size()) {
    const char c = text_[i];
    if (c == '\\' && escapes) {
      i += 2;
    } else if (c == quote) {
      if (i + 1 < text_.size() && text_[i + 1] == quote) {
        i += 2;
      } else {
        Token token =
            take(quote == '"' ? TokenKind::quoted_identifier : TokenKind::string, start, i + 1);
        token.inner = text_.substr(open + 1, i - open - 1);
        return token;
      }
    } else {
      ++i;
    }
  }
  return take(TokenKind::unclosed, start, text_.size());
}

// `start` is at a '$': a parameter, a dollar quotation or a stray character.
Token Lexer::dollar(std::size_t start) {
  std::size_t i = start + 1;
  if (i < text_.size() && is_digit(text_[i])) {
    while (i < text_.size() && is_digit(text_[i])) ++i;
    return take(TokenKind::parameter, start, i);
  }
  if (i < text_.size() && is_word_start(text_[i])) {
    while (i < text_.size() && is_word_part(text_[i]) && text_[i] != '$') ++i;
  }
  if (i >= text_.size() || text_[i] != '$') return take(TokenKind::other, start, start + 1);
  const std::string_view tag = text_.substr(start, i + 1 - start);
  const std::size_t body = i + 1;
  const std::size_t close = text_.find(tag, body);
  if (close == std::string_view::npos) return take(TokenKind::unclosed, start, text_.size());
  Token token = take(TokenKind::dollar_string, start, close + tag.size());
  token.inner = text_.substr(body, close - body);
  return token;
}

Token Lexer::word(std::size_t start) {
  std::size_t i = start + 1;
  while (i < text_.size() && is_word_part(text_[i])) ++i;
  if (i < text_.size()) {
    const std::size_t length = i - start;
    const char first = to_lower(text_[start]);
    if (text_[i] == '\'' && length == 1) {
      if (first == 'e') return quoted(start, i, '\'', true);
      if (first == 'b' || first == 'x') return quoted(start, i, '\'', false);
      if (first == 'n') return quoted(start, i, '\'', backslash_escapes_);
    }
    if (text_[i] == '&' && length == 1 && first == 'u' && i + 1 < text_.size() &&
        (text_[i + 1] == '\'' || text_[i + 1] == '"')) {
      return quoted(start, i + 1, text_[i + 1], false);
    }
  }
  return take(TokenKind::word, start, i);
}

// The next token that the visitor wants to see; false at the end of the statement, which is left
// to next().
bool Lexer::next_interesting(const std::array<bool, 26>& letters, Token& token) {
  const char* const begin = text_.data();
  const char* const end = begin + text_.size();
  const char* p = begin + at_;
  while (p < end) {
    const std::uint8_t kind = class_of(*p);
    if ((kind & plain) != 0) {
      ++p;
      continue;
    }
    at_ = static_cast<std::size_t>(p - begin);
    if ((kind & word_start) != 0) {
      const char* q = p + 1;
      while (q < end && is_word_part(*q)) ++q;
      const std::ptrdiff_t length = q - p;
      if (length == 1 && q < end && (*q == '\'' || *q == '&')) {
        token = word(at_);  // perhaps E'...' or U&"..."
        if (token.kind == TokenKind::quoted_identifier) return true;
        if (token.kind == TokenKind::unclosed) break;
        p = begin + at_;
        continue;
      }
      const char first = to_lower(*p);
      if (length >= 4 && first >= 'a' && first <= 'z' &&
          letters[static_cast<std::size_t>(first - 'a')]) {
        token = take(TokenKind::word, at_, at_ + static_cast<std::size_t>(length));
        return true;
      }
      p = q;
      continue;
    }
    switch (*p) {
      case ';':
        return false;
      case '-':
      case '/':
        if (!skip_space_and_comments()) {
          at_ = static_cast<std::size_t>(p - begin);  // next() will say that it is unclosed
          return false;
        }
        if (begin + at_ == p) ++at_;  // an operator
        break;
      case '\'':
        token = quoted(at_, at_, '\'', backslash_escapes_);
        break;
      case '"':
        token = quoted(at_, at_, '"', false);
        if (token.kind == TokenKind::quoted_identifier) return true;
        break;
      default:  // '$'
        token = dollar(at_);
        if (token.kind == TokenKind::dollar_string) return true;
        break;
    }
    if (token.kind == TokenKind::unclosed) {
      unclosed_ = true;
      return false;
    }
    p = begin + at_;
  }
  at_ = text_.size();
  return false;
}

Token Lexer::next() {
  if (unclosed_) return Token{TokenKind::unclosed, {}, {}};
  const std::size_t before = at_;
  if (!skip_space_and_comments()) return take(TokenKind::unclosed, before, text_.size());
  if (at_ >= text_.size()) return {};
  const std::size_t start = at_;
  const char c = text_[start];
  if (is_word_start(c)) return word(start);
  if (is_digit(c) || (c == '.' && start + 1 < text_.size() && is_digit(text_[start + 1]))) {
    std::size_t i = start + 1;
    while (i < text_.size() && (is_word_part(text_[i]) || text_[i] == '.')) ++i;
    return take(TokenKind::number, start, i);
  }
  switch (c) {
    case '\'':
      return quoted(start, start, '\'', backslash_escapes_);
    case '"':
      return quoted(start, start, '"', false);
    case '$':
      return dollar(start);
    case ';':
      return take(TokenKind::semicolon, start, start + 1);
    case '(':
      return take(TokenKind::left_parenthesis, start, start + 1);
    case ')':
      return take(TokenKind::right_parenthesis, start, start + 1);
    case ',':
      return take(TokenKind::comma, start, start + 1);
    case '=':
      return take(TokenKind::equals, start, start + 1);
    default:
      return take(TokenKind::other, start, start + 1);
  }
}

}  // namespace dwspool::sql
