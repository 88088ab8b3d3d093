#include "dwspool/retry/commit_token.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "dwspool/base/text.h"

#include "dwspool/sql/lexer.h"
#include "dwspool/sql/quote.h"
#include "dwspool/sql/statement.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "dwspool/retry/decision.h"
#include "dwspool/retry/facts.h"
#include "dwspool/retry/unit_log.h"

namespace dwspool::retry {
namespace {

constexpr Duration asks_again_after = std::chrono::minutes{1};

// What begins with these writes; no grammar is needed to know that.
constexpr std::array<std::string_view, 9> writing_words = {
    "insert", "update", "delete", "merge", "truncate", "create", "alter", "drop", "grant"};

bool begins_with_write(std::string_view text) {
  const sql::Token first = sql::Lexer(text, true).next();
  return std::any_of(writing_words.begin(), writing_words.end(),
                     [&](std::string_view word) { return first.is(word); });
}

// By far the most frequent, and found without taking the log apart.
bool some_text_writes(std::string_view log) {
  while (!log.empty()) {
    const wire::FrameView view = wire::peek_frame(log);
    if (view.status != wire::FrameStatus::complete) return false;
    const wire::Frame frame = wire::take_frame(log, view);
    if (frame.type == wire::frontend::query) {
      const auto text = wire::read_query(frame.body());
      if (text && begins_with_write(*text)) return true;
    } else if (frame.type == wire::frontend::parse) {
      const auto message = wire::read_parse(frame.body());
      if (message && begins_with_write(message->query)) return true;
    } else if (frame.type == wire::frontend::copy_data) {
      return true;
    }
  }
  return false;
}

// One SELECT without parentheses calls nothing and has no other statement in it, and whatever else
// it may do has a word of its own. No grammar is needed to know that either, and it would take
// twenty times as long.
bool only_selects(std::string_view text) {
  using sql::TokenKind;
  if (text.find('\\') != std::string_view::npos) return false;  // what a string is, depends
  sql::Lexer lexer(text, true);
  if (!lexer.next().is("select")) return false;
  while (true) {
    const sql::Token token = lexer.next();
    switch (token.kind) {
      case TokenKind::end:
        return true;
      case TokenKind::semicolon:
        return lexer.next().kind == TokenKind::end;
      case TokenKind::word:
        if (token.is("into") || token.is("for")) return false;
        break;
      case TokenKind::left_parenthesis:
      case TokenKind::right_parenthesis:
      case TokenKind::dollar_string:
      case TokenKind::unclosed:
        return false;
      case TokenKind::quoted_identifier:
      case TokenKind::string:
      case TokenKind::number:
      case TokenKind::parameter:
      case TokenKind::comma:
      case TokenKind::equals:
      case TokenKind::other:
        break;
    }
  }
}

// Also not by its effects: the beginning and the end of a transaction, and SHOW.
bool is_plainly_harmless(std::string_view text) {
  if (only_selects(text)) return true;
  const sql::Statement seen = sql::recognize(text);
  return seen.is_only(sql::StatementKind::begin) || seen.is_only(sql::StatementKind::commit) ||
         seen.is_only(sql::StatementKind::rollback) || seen.is_only(sql::StatementKind::show);
}

bool says_read_only(std::string_view text) {
  return to_lower(text).find("read only") != std::string::npos;
}

}  // namespace

std::string_view to_string(TokenVerdict verdict) {
  switch (verdict) {
    case TokenVerdict::committed:
      return "committed";
    case TokenVerdict::aborted:
      return "aborted";
    case TokenVerdict::unknown:
      break;
  }
  return "unknown";
}

std::string_view to_string(TokenUse use) {
  switch (use) {
    case TokenUse::sent:
      return "sent";
    case TokenUse::unavailable:
      return "unavailable";
    case TokenUse::refused:
      return "refused";
    case TokenUse::none:
      break;
  }
  return "none";
}

std::string TokenSource::next(TimePoint now) {
  const auto wall = now.time_since_epoch() + since_1970_at_0;
  const auto second = std::chrono::duration_cast<std::chrono::seconds>(wall).count();
  return prefix + '/' + std::to_string(second) + '/' + std::to_string(++last_);
}

std::optional<bool> TokenSource::available(TimePoint now) const {
  if (state_ == State::good) return true;
  if (state_ == State::bad && now < ask_again_) return false;
  return {};
}

void TokenSource::note_unavailable(TimePoint now) {
  state_ = State::bad;
  ask_again_ = now + asks_again_after;
}

std::string token_insert(std::string_view token) {
  return "INSERT INTO dwspool.commit_token (token) VALUES (" + sql::quote_literal(token) + ")";
}

std::string token_question() {
  return "SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c, "
         "pg_catalog.pg_proc p WHERE n.nspname = 'dwspool' AND c.relnamespace = n.oid AND "
         "c.relname = 'commit_token' AND p.pronamespace = n.oid AND p.proname = 'outcome' AND "
         "pg_catalog.has_schema_privilege(n.oid, 'usage') AND "
         "pg_catalog.has_any_column_privilege(c.oid, 'insert') AND "
         "pg_catalog.has_function_privilege(p.oid, 'execute')";
}

std::string outcome_question(std::string_view token) {
  return "SELECT dwspool.outcome(" + sql::quote_literal(token) + ")";
}

TokenVerdict read_outcome(std::string_view value) {
  for (const TokenVerdict verdict : {TokenVerdict::committed, TokenVerdict::aborted}) {
    if (value == to_string(verdict)) return verdict;
  }
  return TokenVerdict::unknown;
}

bool cannot_be_asked(std::string_view sqlstate) {
  return sqlstate.starts_with("42") || sqlstate.starts_with("3F") || sqlstate.starts_with("22");
}

bool may_have_written(
    std::string_view log,
    const std::function<std::optional<std::string>(std::string_view name)>& known) {
  if (some_text_writes(log)) return true;
  const std::vector<UnitTexts> units = texts_of(log, known);
  const bool harmless = std::all_of(units.begin(), units.end(), [](const UnitTexts& unit) {
    return std::all_of(unit.texts.begin(), unit.texts.end(),
                       [](const auto& text) { return text && is_plainly_harmless(*text); });
  });
  if (harmless) return false;
  bool read_only = false;
  bool calls = false;
  for (const UnitTexts& unit : units) {
    for (const std::optional<std::string>& text : unit.texts) {
      if (!text) return true;
      const TextFacts facts = understand(*text);
      if (!facts.understood) return true;
      if (facts.begins_transaction() || facts.only_light()) {
        read_only = read_only || says_read_only(*text);
      }
      for (const StatementFacts& statement : facts.statements) {
        switch (statement.nature) {
          case Nature::control:
          case Nature::light:
            break;
          case Nature::read:
          case Nature::copy_out:
          case Nature::cursor:
            calls = calls || !statement.functions.empty();
            break;
          case Nature::write:
          case Nature::copy_in:
          case Nature::not_transactional:
          case Nature::unknown:
            return true;
        }
      }
    }
  }
  return calls && !read_only;
}

}  // namespace dwspool::retry
