// SET, RESET and what else changes settings.
#include <optional>
#include <utility>
#include <vector>

#include "dwspool/base/text.h"

#include "sql/recognizer.h"

namespace dwspool::sql {
namespace {

constexpr std::size_t max_changes = 64;  // plain SETs in one text; more are not followed

// Whether the token is a literal that is its inner text, character by character.
bool is_bare_literal(const Token& token) {
  return token.kind == TokenKind::string && token.text.starts_with('\'') &&
         token.inner.find_first_of("'\\") == std::string_view::npos;
}

// What `select set_config(...), ...` changes; nullopt if it says anything else.
std::optional<std::vector<PlainChange>> read_set_config(std::string_view statement,
                                                        bool standard_conforming_strings) {
  Lexer lexer(statement, standard_conforming_strings);
  Token token = lexer.next();  // SELECT
  const auto take = [&](auto&& is_wanted) {
    const Token taken = std::exchange(token, lexer.next());
    return is_wanted(taken) ? std::optional(taken) : std::nullopt;
  };
  const auto take_kind = [&](TokenKind kind) {
    return take([=](const Token& taken) { return taken.kind == kind; }).has_value();
  };
  std::vector<PlainChange> changes;
  token = lexer.next();
  while (true) {
    if (token.is("pg_catalog")) {
      token = lexer.next();
      if (!take([](const Token& taken) { return taken.text == "."; })) return std::nullopt;
    }
    if (!take([](const Token& taken) { return taken.is("set_config"); })) return std::nullopt;
    if (!take_kind(TokenKind::left_parenthesis)) return std::nullopt;
    const std::optional<Token> name = take(is_bare_literal);
    if (!name || !take_kind(TokenKind::comma)) return std::nullopt;
    const std::optional<Token> value = take(is_bare_literal);
    if (!value || !take_kind(TokenKind::comma)) return std::nullopt;
    const std::optional<Token> local = take([](const Token& taken) {
      return is_any(taken, {"true", "false"});
    });
    if (!local || !take_kind(TokenKind::right_parenthesis)) return std::nullopt;
    if (local->is("false")) {
      changes.push_back({.kind = StatementKind::set,
                         .name = name->inner,
                         .value = value->inner,
                         .is_literal = true});
    }
    if (token.is("as")) {
      token = lexer.next();
      if (!take_kind(TokenKind::word)) return std::nullopt;
    }
    if (token.kind == TokenKind::end) return changes;
    if (!take_kind(TokenKind::comma)) return std::nullopt;
  }
}

}  // namespace

// SELECT, which matters here if it calls set_config.
StatementKind Recognizer::read_select(int depth) {
  const std::size_t start = offset(token_);
  const Effects before = result_.effects;
  skip_statement(depth);
  if (depth > 0 || blocks_ > 0 || before.has(Effect::changes_setting) ||
      !result_.effects.has(Effect::changes_setting)) {
    return StatementKind::other;
  }
  const std::string_view statement = text_.substr(start, offset(token_) - start);
  const auto changes = read_set_config(statement, standard_conforming_strings_);
  if (!changes || result_.changes.size() + changes->size() > max_changes) {
    return StatementKind::other;
  }
  result_.effects.remove(bit(Effect::changes_setting));
  result_.changes.insert(result_.changes.end(), changes->begin(), changes->end());
  return StatementKind::other;
}

StatementKind Recognizer::read_set(int depth) {
  advance();
  if (token_.is("local")) return other(depth);  // ends with the transaction
  if (is_any(token_, {"transaction", "constraints"})) return other(depth);
  if (token_.is("session")) {
    advance();
    if (token_.is("characteristics")) return read_characteristics(depth);
    if (token_.is("authorization")) return read_identity(depth, "session_authorization");
  }
  if (token_.is("role")) return read_identity(depth, "role");
  const Token first = token_;
  const std::size_t name_start = offset(token_);
  std::size_t name_end = name_start;
  if (!read_name(name_end)) return other(depth, Effect::changes_setting);
  if (token_.is("to") || token_.kind == TokenKind::equals) {
    advance();
    return read_value(depth, text_.substr(name_start, name_end - name_start));
  }
  if (first.is("time") && token_.is("zone")) {
    advance();
    return read_value(depth, "timezone");
  }
  if (first.is("schema")) return read_value(depth, "search_path");
  if (first.is("names")) {
    if (!ends_statement(token_)) return read_value(depth, "client_encoding");
    return plain({.kind = StatementKind::reset,
                  .name = "client_encoding",
                  .value = {},
                  .reset_by_set = true});
  }
  if (first.is("xml") && token_.is("option")) {
    advance();
    return read_value(depth, "xmloption");
  }
  return other(depth, Effect::changes_setting);  // SET x FROM CURRENT, and what is unknown
}

// The rest of the statement.
StatementKind Recognizer::read_value(int depth, std::string_view name) {
  if (ends_statement(token_)) return other(depth, Effect::changes_setting);
  const std::size_t value_start = offset(token_);
  std::size_t value_end = value_start;
  while (!ends_statement(token_)) {
    value_end = offset(token_) + token_.text.size();
    advance();
  }
  const std::string_view value = text_.substr(value_start, value_end - value_start);
  const bool reset = equals_ignore_case(value, "default") ||
                     (name == "timezone" && equals_ignore_case(value, "local"));
  return plain({.kind = reset ? StatementKind::reset : StatementKind::set,
                .name = name,
                .value = value,
                .reset_by_set = reset});
}

// SET ROLE and SET SESSION AUTHORIZATION. DWS has a PASSWORD behind the name: that is not kept
// here, and so cannot be carried.
StatementKind Recognizer::read_identity(int depth, std::string_view setting) {
  advance();
  if (token_.is("to") || token_.kind == TokenKind::equals) advance();
  const Token who = token_;
  if (who.kind != TokenKind::word && who.kind != TokenKind::quoted_identifier &&
      who.kind != TokenKind::string) {
    return other(depth, Effect::changes_identity);
  }
  advance();
  if (!ends_statement(token_)) return other(depth, Effect::changes_identity);
  const bool reset = who.is("default");
  return plain({.kind = reset ? StatementKind::reset : StatementKind::set,
                .name = setting,
                .value = who.text,
                .reset_by_set = reset});
}

// SET SESSION CHARACTERISTICS AS TRANSACTION mode: several at once are not followed.
StatementKind Recognizer::read_characteristics(int depth) {
  advance();
  if (!token_.is("as")) return other(depth, Effect::changes_setting);
  advance();
  if (!token_.is("transaction")) return other(depth, Effect::changes_setting);
  advance();
  Modes modes;
  if (ends_statement(token_) || !read_transaction_mode(modes) || !ends_statement(token_)) {
    return other(depth, Effect::changes_setting);
  }
  PlainChange change;
  if (!modes.isolation.empty()) {
    change.name = "default_transaction_isolation";
    change.value = modes.isolation;
  } else if (!modes.read_only.empty()) {
    change.name = "default_transaction_read_only";
    change.value = modes.read_only;
  } else {
    change.name = "default_transaction_deferrable";
    change.value = modes.deferrable;
  }
  return plain(change);
}

StatementKind Recognizer::read_reset(int depth) {
  advance();
  if (token_.is("role")) return read_reset_of(depth, "role");
  if (token_.is("session")) {
    advance();
    if (!token_.is("authorization")) return other(depth, Effect::changes_identity);
    return read_reset_of(depth, "session_authorization");
  }
  if (token_.is("time")) {
    advance();
    if (!token_.is("zone")) return other(depth, Effect::changes_setting);
    return read_reset_of(depth, "timezone");
  }
  if (token_.is("all")) {
    advance();
    if (!ends_statement(token_)) return other(depth, Effect::changes_setting);
    return plain({.kind = StatementKind::reset_all, .name = {}, .value = {}});
  }
  if (token_.is("transaction")) return other(depth, Effect::changes_setting);
  const std::size_t name_start = offset(token_);
  std::size_t name_end = name_start;
  if (!read_name(name_end) || !ends_statement(token_)) {
    return other(depth, Effect::changes_setting);
  }
  return plain({.kind = StatementKind::reset,
                .name = text_.substr(name_start, name_end - name_start),
                .value = {}});
}

// Behind the last word of a name that is more than one word, or a keyword.
StatementKind Recognizer::read_reset_of(int depth, std::string_view setting) {
  advance();
  if (!ends_statement(token_)) return other(depth, Effect::changes_setting);
  return plain({.kind = StatementKind::reset, .name = setting, .value = {}});
}

StatementKind Recognizer::plain(const PlainChange& change) {
  // In a block it may be made or not.
  if (blocks_ > 0 || result_.changes.size() == max_changes) {
    result_.effects.add(Effect::changes_setting);
  } else {
    result_.changes.push_back(change);
  }
  return change.kind;
}

}  // namespace dwspool::sql
