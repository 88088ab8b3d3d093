#include "retry/guess.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "dwspool/base/text.h"

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/quote.h"
#include "dwspool/sql/statement.h"

#include "retry/known_functions.h"
#include "retry/statement_facts.h"

namespace dwspool::retry {
namespace {

using sql::Token;
using sql::TokenKind;

// libpg_query walks its tree by calling itself, some 160 bytes of stack for a level of operators
// and 1 kB for a subquery, and has no limit of its own: 1+1+1+... nests as deep as it is long.
constexpr std::size_t deepest = 1000;

bool is_any_of(const Token& token, const auto& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return token.is(word); });
}

// How a statement begins that is nothing worse than a write, if it is alone.
constexpr std::array<std::string_view, 8> writing = {"select", "with",   "values", "insert",
                                                     "update", "delete", "merge",  "truncate"};
// DDL is, for tables and views.
constexpr std::array<std::string_view, 3> defining = {"create", "alter", "drop"};
constexpr std::array<std::string_view, 9> before_object = {
    "or", "replace", "global", "local", "temp", "temporary", "unlogged", "volatile", "foreign"};
constexpr std::array<std::string_view, 2> plain_objects = {"table", "view"};

// Words that a parenthesis may follow without being a call's.
constexpr std::array<std::string_view, 62> no_calls = {
    "add",        "all",    "and",       "any",     "array",     "as",         "between",
    "bit",        "by",     "case",      "char",    "character", "check",      "column",
    "constraint", "dec",    "decimal",   "default", "distinct",  "distribute", "else",
    "except",     "exists", "filter",    "float",   "from",      "group",      "hash",
    "having",     "in",     "interval",  "is",      "key",       "like",       "limit",
    "list",       "minus",  "not",       "number",  "numeric",   "nvarchar2",  "on",
    "or",         "over",   "partition", "range",   "returning", "row",        "select",
    "set",        "some",   "than",      "then",    "time",      "timestamp",  "union",
    "unique",     "using",  "values",    "varchar", "varchar2",  "when"};
// Behind these stands the name of a relation.
constexpr std::array<std::string_view, 10> before_relation = {
    "exists",    "index",      "into",  "only", "partition",
    "recursive", "references", "table", "view", "with"};

// Names that stand before a parenthesis.
class Calls {
 public:
  void note(const Token& token) {
    const bool name = token.kind == TokenKind::word || token.kind == TokenKind::quoted_identifier;
    if (name) {
      if (!dotted_) {
        schema_.clear();
        keyword_before_ = is_any_of(last_, before_relation);
      } else {
        schema_ = std::move(name_);
      }
      name_ = sql::identifier_of(token.text);
      keyword_ = token.kind == TokenKind::word && is_any_of(token, no_calls);
      has_name_ = true;
    } else if (token.kind == TokenKind::left_parenthesis && has_name_ && !keyword_ &&
               !keyword_before_) {
      names_.push_back({schema_ == "pg_catalog" ? std::string() : schema_, name_});
    }
    dotted_ = has_name_ && token.text == ".";
    if (!name && !dotted_) has_name_ = false;
    last_ = token;
  }
  const std::vector<FunctionName>& names() const { return names_; }

 private:
  std::vector<FunctionName> names_;
  std::string schema_;
  std::string name_;
  Token last_;
  bool has_name_ = false;
  bool dotted_ = false;
  bool keyword_ = false;
  bool keyword_before_ = false;
};

// The nature by the first words, for a text of one statement.
Nature by_first_words(sql::Lexer lexer) {
  Token token = lexer.next();
  while (token.kind == TokenKind::left_parenthesis) token = lexer.next();
  if (is_any_of(token, writing)) return Nature::write;
  if (!is_any_of(token, defining)) return Nature::unknown;
  do {
    token = lexer.next();
  } while (is_any_of(token, before_object));
  return is_any_of(token, plain_objects) ? Nature::write : Nature::unknown;
}

}  // namespace

StatementFacts guess(std::string_view sql, bool standard_conforming_strings,
                     bool encoding_is_safe) {
  StatementFacts facts;
  const sql::Statement statement =
      sql::recognize(sql, standard_conforming_strings, encoding_is_safe);
  facts.ends_transaction = statement.effects.has(sql::Effect::ends_transaction);
  facts.begins_transaction = statement.effects.has(sql::Effect::begins_transaction);
  sql::Lexer lexer(sql, standard_conforming_strings);
  const bool readable = !statement.effects.has(sql::Effect::unclear) && !facts.ends_transaction &&
                        !facts.begins_transaction;
  if (readable && statement.single) facts.nature = by_first_words(lexer);
  facts.session_effect =
      (statement.effects.bits() & sql::binding_effects) != 0 || !statement.changes.empty();

  Calls calls;
  for (Token token = lexer.next();
       token.kind != TokenKind::end && token.kind != TokenKind::unclosed; token = lexer.next()) {
    if (token.is("concurrently")) facts.nature = Nature::unknown;
    calls.note(token);
  }
  for (const FunctionName& name : calls.names()) {
    facts.external = facts.external || acts_outside(name);
    facts.session_effect = facts.session_effect || acts_on_session(name);
    if (!is_harmless(name)) facts.functions.push_back(written(name));
  }
  sort_names(facts.functions);
  return facts;
}

bool is_shallow(std::string_view sql) {
  // Of each open parenthesis, and outside of all: how much stands in it since the last comma.
  std::vector<std::size_t> chains = {0};
  std::size_t depth = 0;
  sql::Lexer lexer(sql, true);
  while (true) {
    const Token token = lexer.next();
    switch (token.kind) {
      case TokenKind::end:
        return true;
      case TokenKind::unclosed:
        return false;
      case TokenKind::left_parenthesis:
        chains.push_back(0);
        ++depth;
        break;
      case TokenKind::right_parenthesis:
        if (chains.size() > 1) {
          depth -= chains.back() + 1;
          chains.pop_back();
        }
        break;
      case TokenKind::comma:
      case TokenKind::semicolon:
        depth -= chains.back();
        chains.back() = 0;
        break;
      case TokenKind::word:
        if (token.is("and") || token.is("or")) {
          depth -= chains.back();
          chains.back() = 0;
          break;
        }
        [[fallthrough]];
      case TokenKind::equals:
      case TokenKind::other:
        ++chains.back();
        ++depth;
        break;
      case TokenKind::quoted_identifier:
      case TokenKind::string:
      case TokenKind::dollar_string:
      case TokenKind::number:
      case TokenKind::parameter:
        break;
    }
    if (depth > deepest) return false;
  }
}

}  // namespace dwspool::retry
