#include "dwspool/sql/masked.h"

#include <algorithm>
#include <array>

#include "dwspool/base/text.h"

#include "dwspool/sql/lexer.h"

namespace dwspool::sql {
namespace {

// In what begins with one of these, a secret can only stand as a literal.
constexpr auto harmless = std::to_array<std::string_view>(
    {"select", "insert", "update", "delete", "with", "merge", "values", "explain", "table", "fetch",
     "begin", "start", "commit", "end", "rollback", "truncate", "analyze", "vacuum", "declare"});

// Behind one of these in anything else, it can stand as a word or a quoted identifier, too.
constexpr auto announcing = std::to_array<std::string_view>(
    {"password", "identified", "encrypted", "unencrypted", "secret"});

template <class Words>
bool is_one_of(const Token& token, const Words& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return token.is(word); });
}

constexpr bool is_value(TokenKind kind) {
  return kind == TokenKind::string || kind == TokenKind::dollar_string ||
         kind == TokenKind::number || kind == TokenKind::unclosed;
}

// Whether nobody can say where it ends but who knows standard_conforming_strings.
bool is_ambiguous(const Token& token) {
  if (token.kind != TokenKind::string || token.text.find('\\') == std::string_view::npos) {
    return false;
  }
  return to_lower(token.text.front()) != 'e';
}

class Writer {
 public:
  explicit Writer(std::size_t limit) : limit_(limit) {}

  // False when there is no room for it.
  bool add(std::string_view text, bool spaced) {
    const std::size_t wanted = text.size() + (spaced && !out_.empty() ? 1 : 0);
    if (out_.size() + wanted > limit_) {
      cut();
      return false;
    }
    if (spaced && !out_.empty()) out_ += ' ';
    out_ += text;
    return true;
  }
  void cut() { out_ += "..."; }
  std::string take() { return std::move(out_); }

 private:
  std::size_t limit_;
  std::string out_;
};

}  // namespace

std::string masked(std::string_view text, std::size_t limit) {
  Lexer lexer(text, true);
  Writer writer(limit);
  const char* end = text.data();  // of the last token
  bool first = true;              // of its statement
  bool defines = false;           // it may hold a secret as a word
  bool assigns = false;           // SET, ALTER
  bool assigned = false;          // behind = or TO in one of those
  bool after_value = false;
  bool comma_waits = false;
  for (Token token = lexer.next(); token.kind != TokenKind::end; token = lexer.next()) {
    const bool spaced = token.text.data() != end;
    end = token.text.data() + token.text.size();
    if (token.kind == TokenKind::semicolon) {
      first = true;
      defines = assigns = assigned = after_value = comma_waits = false;
      if (!writer.add(token.text, false)) break;
      continue;
    }
    if (assigned) continue;  // until the statement ends
    if (is_value(token.kind)) {
      if (!comma_waits && !writer.add("?", spaced)) break;
      comma_waits = false;
      after_value = true;
      if (is_ambiguous(token)) {
        writer.cut();
        break;
      }
      continue;
    }
    if (token.kind == TokenKind::comma && after_value) {
      after_value = false;
      comma_waits = true;
      continue;
    }
    if (comma_waits && !writer.add(",", false)) break;
    after_value = comma_waits = false;
    if (!writer.add(token.text, spaced)) break;
    if (first) {
      assigns = token.is("set") || token.is("alter");
      defines = token.kind == TokenKind::word && !is_one_of(token, harmless);
      first = false;
    } else if (defines && is_one_of(token, announcing)) {
      writer.cut();
      break;
    } else if (assigns && (token.kind == TokenKind::equals || token.is("to"))) {
      if (!writer.add("?", true)) break;
      assigned = true;
    }
  }
  return writer.take();
}

}  // namespace dwspool::sql
