#include "dwspool/sql/fingerprint.h"

#include "dwspool/base/text.h"

#include "dwspool/sql/lexer.h"

namespace dwspool::sql {
namespace {

constexpr std::size_t longest_read = std::size_t{64} << 10U;

// FNV-1a.
class Hash {
 public:
  void add(char c) { value_ = (value_ ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL; }
  std::uint64_t value() const { return value_ == 0 ? 1 : value_; }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325ULL;
};

constexpr bool stands_for_value(TokenKind kind) {
  return kind == TokenKind::string || kind == TokenKind::dollar_string ||
         kind == TokenKind::number || kind == TokenKind::parameter || kind == TokenKind::unclosed;
}

}  // namespace

std::uint64_t fingerprint(std::string_view text) {
  Lexer lexer(text.substr(0, longest_read), true);
  Hash hash;
  bool value_before = false;  // "1"
  bool list_goes_on = false;  // "1,"
  for (Token token = lexer.next(); token.kind != TokenKind::end; token = lexer.next()) {
    if (stands_for_value(token.kind)) {
      if (!list_goes_on) hash.add('?');
      value_before = true;
      list_goes_on = false;
      continue;
    }
    if (token.kind == TokenKind::comma && value_before) {
      value_before = false;
      list_goes_on = true;
      continue;
    }
    if (list_goes_on) hash.add(',');
    value_before = list_goes_on = false;
    const bool folds = token.kind == TokenKind::word;
    for (const char c : token.text) hash.add(folds ? to_lower(c) : c);
    hash.add(' ');
  }
  return hash.value();
}

}  // namespace dwspool::sql
