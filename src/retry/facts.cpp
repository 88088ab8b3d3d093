#include "dwspool/retry/facts.h"

#include <algorithm>
#include <memory>

#include <pg_query.h>

#include "dwspool/sql/statement.h"

#include "retry/guess.h"
#include "retry/json_tree.h"
#include "retry/statement_facts.h"

namespace dwspool::retry {
namespace {

struct FreeResult {
  void operator()(PgQueryParseResult* result) const {
    pg_query_free_parse_result(*result);
    delete result;
  }
};

bool parse(const std::string& text, TextFacts& facts) {
  const std::unique_ptr<PgQueryParseResult, FreeResult> result(
      new PgQueryParseResult(pg_query_parse(text.c_str())));
  if (result->error != nullptr || result->parse_tree == nullptr) return false;
  JsonTree tree;
  if (!tree.read(result->parse_tree)) return false;
  for (const Json each : tree.root().member("stmts")) {
    facts.statements.push_back(read_statement(each.member("stmt")));
  }
  return true;
}

bool any_above_ascii(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

// Whether the parser would read the text as the server does.
bool is_for_parser(std::string_view sql, bool standard_conforming_strings, bool encoding_is_safe) {
  if (sql.size() > longest_parsed || sql.find('\0') != std::string_view::npos) return false;
  if (!standard_conforming_strings && sql.find('\\') != std::string_view::npos) return false;
  if (!encoding_is_safe && any_above_ascii(sql)) return false;
  return is_shallow(sql);
}

}  // namespace

TextFacts understand(std::string_view sql, bool standard_conforming_strings,
                     bool encoding_is_safe) {
  TextFacts facts;
  if (is_for_parser(sql, standard_conforming_strings, encoding_is_safe)) {
    facts.understood = parse(std::string(sql), facts);
  }
  if (!facts.understood) {
    facts.statements.clear();
    facts.statements.push_back(sql.size() > longest_read
                                   ? StatementFacts()
                                   : guess(sql, standard_conforming_strings, encoding_is_safe));
  }
  return facts;
}

bool TextFacts::only_reads() const {
  return understood &&
         std::all_of(statements.begin(), statements.end(), [](const StatementFacts& each) {
           const bool harmless = each.nature == Nature::read || each.nature == Nature::light;
           return harmless && !each.external && !each.session_effect;
         });
}

bool TextFacts::only_light() const {
  return understood &&
         std::all_of(statements.begin(), statements.end(), [](const StatementFacts& each) {
           return each.nature == Nature::light && !each.external && !each.session_effect;
         });
}

bool TextFacts::ends_transaction() const {
  return std::any_of(statements.begin(), statements.end(),
                     [](const StatementFacts& each) { return each.ends_transaction; });
}

bool TextFacts::begins_transaction() const {
  return std::any_of(statements.begin(), statements.end(),
                     [](const StatementFacts& each) { return each.begins_transaction; });
}

bool TextFacts::external() const {
  return std::any_of(statements.begin(), statements.end(),
                     [](const StatementFacts& each) { return each.external; });
}

bool TextFacts::session_effect() const {
  return std::any_of(statements.begin(), statements.end(),
                     [](const StatementFacts& each) { return each.session_effect; });
}

std::string_view to_string(Nature nature) {
  switch (nature) {
    case Nature::control:
      return "control";
    case Nature::light:
      return "light";
    case Nature::read:
      return "read";
    case Nature::write:
      return "write";
    case Nature::copy_in:
      return "copy_in";
    case Nature::copy_out:
      return "copy_out";
    case Nature::cursor:
      return "cursor";
    case Nature::not_transactional:
      return "not_transactional";
    case Nature::unknown:
      break;
  }
  return "unknown";
}

}  // namespace dwspool::retry
