// The recognition of one text, statement by statement (see statement.h).
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/name_set.h"
#include "dwspool/sql/statement.h"

namespace dwspool::sql {

inline bool is_any(const Token& token, std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) {
    if (token.is(word)) return true;
  }
  return false;
}

inline bool ends_statement(const Token& token) {
  return token.kind == TokenKind::semicolon || token.kind == TokenKind::end ||
         token.kind == TokenKind::unclosed;
}

class Recognizer {
 public:
  Recognizer(std::string_view text, bool standard_conforming_strings, bool names_matter,
             const NameSet* also)
      : text_(text),
        standard_conforming_strings_(standard_conforming_strings),
        names_matter_(names_matter),
        also_(also),
        lexer_(text, standard_conforming_strings) {
    advance();
  }

  // `depth`: how many dollar quotations the text is inside of.
  Statement run(int depth);

 private:
  // Transaction modes, as values of default_transaction_isolation and its like; empty: not named.
  struct Modes {
    std::string_view isolation;
    std::string_view read_only;
    std::string_view deferrable;
  };

  void advance() { token_ = lexer_.next(); }

  // statement.cpp
  void skip_statement(int depth);
  void skip_in_body(int depth);
  void note_token(const Token& token, int depth);
  void note_word(const Token& token);
  void note(std::string_view name);
  void note_temporary(const Token& token);
  bool follows(const Token& token, std::initializer_list<std::string_view> words) const;
  void note_body(const Token& token, int depth);
  StatementKind other(int depth) {
    skip_statement(depth);
    return StatementKind::other;
  }
  StatementKind other(int depth, Effect effect) {
    result_.effects.add(effect);
    return other(depth);
  }
  StatementKind read_statement(int depth);
  StatementKind read_begin(int depth);
  StatementKind read_block(int depth);
  bool read_transaction_mode(Modes& modes);
  StatementKind read_end(int depth, StatementKind kind);
  StatementKind read_discard(int depth);
  StatementKind read_deallocate(int depth);
  StatementKind read_prepare(int depth);
  StatementKind read_execute(int depth);
  bool read_name(std::size_t& end);
  std::size_t offset(const Token& token) const {
    return token.text.empty() ? text_.size()
                              : static_cast<std::size_t>(token.text.data() - text_.data());
  }

  // setting_statements.cpp
  StatementKind read_select(int depth);
  StatementKind read_set(int depth);
  StatementKind read_value(int depth, std::string_view name);
  StatementKind read_identity(int depth, std::string_view setting);
  StatementKind read_characteristics(int depth);
  StatementKind read_reset(int depth);
  StatementKind read_reset_of(int depth, std::string_view setting);
  StatementKind plain(const PlainChange& change);

  std::string_view text_;
  bool standard_conforming_strings_;
  bool names_matter_;
  const NameSet* also_;
  Lexer lexer_;
  Token token_;
  Statement result_;
  int blocks_ = 0;
};

}  // namespace dwspool::sql
