#include "dwspool/sql/statement.h"

#include <array>
#include <initializer_list>

#include "dwspool/base/text.h"

#include "sql/binding_names.h"
#include "sql/recognizer.h"

namespace dwspool::sql {
namespace {

constexpr int max_nesting = 4;  // dollar quotations inside dollar quotations
constexpr int max_blocks = 64;  // BEGINs of blocks in one text; each is one call deeper

// The word that ends right before `at`, white space aside.
std::string_view word_before(std::string_view text, std::size_t at) {
  while (at > 0 && is_space(text[at - 1])) --at;
  std::size_t start = at;
  while (start > 0 && !is_space(text[start - 1]) && text[start - 1] != '(' &&
         text[start - 1] != ';') {
    --start;
  }
  return text.substr(start, at - start);
}

}  // namespace

Statement Recognizer::run(int depth) {
  int statements = 0;
  while (token_.kind != TokenKind::end && token_.kind != TokenKind::unclosed) {
    if (token_.kind == TokenKind::semicolon) {
      advance();
      continue;
    }
    ++statements;
    const StatementKind kind = read_statement(depth);
    if (statements == 1) result_.kind = kind;
  }
  if (token_.kind == TokenKind::unclosed) result_.effects.add(Effect::unclear);
  result_.single = statements <= 1;
  if (result_.is_only(StatementKind::begin)) result_.effects.add(Effect::only_begins);
  return std::move(result_);
}

// Reads up to the end of the statement, noting names on the way.
void Recognizer::skip_statement(int depth) {
  if (ends_statement(token_)) return;
  if (depth > 0) {
    skip_in_body(depth);
    return;
  }
  if (!names_matter_ && lexer_.skip_last_statement()) {
    advance();
    return;
  }
  note_token(token_, depth);
  const auto& letters = also_ == nullptr ? interesting : also_->letters();
  lexer_.skip_statement(letters, [&](const Token& token) { note_token(token, depth); });
  advance();
}

// In a block of PL/pgSQL statements also begin behind these words.
void Recognizer::skip_in_body(int depth) {
  while (!ends_statement(token_)) {
    if (is_any(token_, {"begin", "then", "else", "loop"})) {
      advance();
      return;
    }
    note_token(token_, depth);
    advance();
  }
}

void Recognizer::note_token(const Token& token, int depth) {
  if (token.kind == TokenKind::dollar_string) {
    note_body(token, depth);
  } else if (token.kind == TokenKind::quoted_identifier) {
    note(token.inner);
  } else if (token.kind == TokenKind::word) {
    note_word(token);
  }
}

void Recognizer::note_word(const Token& token) {
  switch (token.text.size()) {
    case 4:
      if (token.is("temp")) note_temporary(token);
      if (token.is("drop")) result_.effects.add(Effect::may_free);
      if (token.is("hold") && follows(token, {"with"})) {
        result_.effects.add(Effect::held_cursor);
      }
      break;
    case 8:
      if (token.is("volatile")) note_temporary(token);
      break;
    case 9:
      if (token.is("temporary")) note_temporary(token);
      break;
    default:
      break;
  }
  note(token.text);
}

void Recognizer::note(std::string_view name) {
  note_name(name, result_.effects);
  if (also_ != nullptr && also_->contains(name)) result_.effects.add(Effect::configured);
}

void Recognizer::note_temporary(const Token& token) {
  if (follows(token, {"create", "into", "local", "global", "replace", "volatile"})) {
    result_.effects.add(Effect::temporary_object);
  }
}

// Whether one of these words stands before; where comments could hide it, it is taken to.
bool Recognizer::follows(const Token& token, std::initializer_list<std::string_view> words) const {
  const auto at = static_cast<std::size_t>(token.text.data() - text_.data());
  const std::string_view so_far = text_.substr(0, at);
  if (so_far.find("--") != std::string_view::npos || so_far.find("/*") != std::string_view::npos) {
    return true;
  }
  const std::string_view before = word_before(text_, at);
  for (const std::string_view word : words) {
    if (equals_ignore_case(before, word)) return true;
  }
  return false;
}

// What stands between dollar quotes may be a DO block's or a function's body. It is read for
// what binds the session; whether it ends a transaction only the server can tell.
void Recognizer::note_body(const Token& token, int depth) {
  if (depth >= max_nesting) {
    result_.effects.add(Effect::unclear);
    return;
  }
  const Statement body =
      Recognizer(token.inner, standard_conforming_strings_, true, also_).run(depth + 1);
  Effects inner = body.effects;
  if (!body.changes.empty()) inner.add(Effect::changes_setting);
  // Prose in quotes need not lex as SQL, and a DECLARE section is full of "name := value".
  inner.remove(bit(Effect::unclear) | bit(Effect::discards_all) | bit(Effect::unlistens_all) |
               bit(Effect::deallocates_all) | bit(Effect::closes_all) | bit(Effect::unlocks_all));
  result_.effects.merge(inner);
}

StatementKind Recognizer::read_statement(int depth) {
  const Token first = token_;
  if (first.kind != TokenKind::word) return other(depth);
  // The first word of the statement decides; what is common comes first.
  switch (to_lower(first.text[0])) {
    case 's':
      if (first.is("select")) return read_select(depth);
      if (first.is("set")) return read_set(depth);
      if (first.is("show")) {
        skip_statement(depth);
        return StatementKind::show;
      }
      if (first.is("start")) return read_begin(depth);
      if (first.is("savepoint")) return other(depth, Effect::savepoint);
      break;
    case 'b':
      if (first.is("begin")) return read_begin(depth);
      break;
    case 'c':
      if (first.is("commit")) return read_end(depth, StatementKind::commit);
      if (first.is("close")) {
        advance();
        result_.effects.add(token_.is("all") ? Effect::closes_all : Effect::may_free);
      }
      break;
    case 'e':
      if (first.is("end")) return read_end(depth, StatementKind::commit);
      if (first.is("execute")) return read_execute(depth);
      break;
    case 'r':
      if (first.is("rollback")) return read_end(depth, StatementKind::rollback);
      if (first.is("reset")) return read_reset(depth);
      if (first.is("release")) return other(depth, Effect::savepoint);
      break;
    case 'a':
      if (first.is("abort")) return read_end(depth, StatementKind::rollback);
      if (first.is("alter")) {
        advance();
        if (token_.is("session")) {  // DWS: ALTER SESSION SET ...
          advance();
          return token_.is("set") ? read_set(depth) : other(depth, Effect::changes_setting);
        }
      }
      break;
    case 'd':
      if (first.is("deallocate")) return read_deallocate(depth);
      if (first.is("discard")) return read_discard(depth);
      break;
    case 'l':
      if (first.is("listen")) return other(depth, Effect::listens);
      if (first.is("load")) return other(depth, Effect::loads_module);
      break;
    case 'p':
      if (first.is("prepare")) return read_prepare(depth);
      break;
    case 'u':
      if (first.is("unlisten")) {
        advance();
        result_.effects.add(token_.text == "*" ? Effect::unlistens_all : Effect::may_free);
      }
      break;
    default:
      break;
  }
  return other(depth);
}

// BEGIN [WORK | TRANSACTION] [mode [[,] mode ...]] and START TRANSACTION [...]. Anything else
// behind BEGIN (an anonymous block of DWS, a slip of the pen) is for the server to judge.
StatementKind Recognizer::read_begin(int depth) {
  result_.effects.add(Effect::begins_transaction);
  const bool start = token_.is("start");
  advance();
  if (start && !token_.is("transaction")) return other(depth);
  if (is_any(token_, {"work", "transaction"})) advance();
  bool comma = false;
  Modes modes;
  while (!ends_statement(token_)) {
    if (!read_transaction_mode(modes)) return read_block(depth);
    comma = token_.kind == TokenKind::comma;
    if (comma) advance();
  }
  if (!modes.read_only.empty()) result_.effects.add(Effect::names_access_mode);
  return comma ? StatementKind::other : StatementKind::begin;
}

// BEGIN of a block: what follows is a statement of its own.
StatementKind Recognizer::read_block(int depth) {
  if (ends_statement(token_)) return StatementKind::other;
  if (++blocks_ > max_blocks) return other(depth, Effect::unclear);
  read_statement(depth);
  return StatementKind::other;
}

bool Recognizer::read_transaction_mode(Modes& modes) {
  const auto take = [&](std::string_view& mode, std::string_view value) {
    mode = value;
    advance();
    return true;
  };
  if (token_.is("isolation")) {
    advance();
    if (!token_.is("level")) return false;
    advance();
    if (token_.is("serializable")) return take(modes.isolation, "serializable");
    if (token_.is("repeatable")) {
      advance();
      return token_.is("read") && take(modes.isolation, "'repeatable read'");
    }
    if (!token_.is("read")) return false;
    advance();
    if (token_.is("committed")) return take(modes.isolation, "'read committed'");
    return token_.is("uncommitted") && take(modes.isolation, "'read uncommitted'");
  }
  if (token_.is("read")) {
    advance();
    if (token_.is("only")) return take(modes.read_only, "on");
    return token_.is("write") && take(modes.read_only, "off");
  }
  const bool negated = token_.is("not");
  if (negated) advance();
  return token_.is("deferrable") && take(modes.deferrable, negated ? "off" : "on");
}

StatementKind Recognizer::read_discard(int depth) {
  advance();
  if (!token_.is("all")) return other(depth);
  result_.effects.add(Effect::discards_all);
  advance();
  return ends_statement(token_) ? StatementKind::discard_all : other(depth);
}

// COMMIT, END, ROLLBACK and ABORT with their optional words.
StatementKind Recognizer::read_end(int depth, StatementKind kind) {
  advance();
  if (is_any(token_, {"work", "transaction"})) advance();
  if (token_.is("to")) return other(depth, Effect::savepoint);
  result_.effects.add(Effect::ends_transaction);
  if (token_.is("and")) {
    advance();
    if (!token_.is("no")) return other(depth);  // AND CHAIN
    advance();
    if (!token_.is("chain")) return other(depth);
    advance();
  }
  if (!ends_statement(token_)) return other(depth);  // PREPARED, or an error
  return kind;
}

StatementKind Recognizer::read_deallocate(int depth) {
  advance();
  if (token_.is("prepare")) advance();
  if (token_.is("all")) {
    result_.effects.add(Effect::deallocates_all);
    return other(depth);
  }
  result_.effects.add(Effect::deallocates);
  result_.effects.add(Effect::may_free);
  const std::size_t name_start = offset(token_);
  std::size_t name_end = name_start;
  if (!read_name(name_end) || !ends_statement(token_)) return other(depth);
  result_.name = text_.substr(name_start, name_end - name_start);
  return StatementKind::deallocate;
}

// PREPARE name [(type, ...)] AS statement.
StatementKind Recognizer::read_prepare(int depth) {
  advance();
  if (token_.is("transaction")) return other(depth, Effect::ends_transaction);
  result_.effects.add(Effect::prepares);
  const Token name = token_;
  if (name.kind != TokenKind::word && name.kind != TokenKind::quoted_identifier) {
    return other(depth);
  }
  advance();
  for (int open = 0; token_.kind == TokenKind::left_parenthesis || open > 0; advance()) {
    if (ends_statement(token_)) return StatementKind::other;
    if (token_.kind == TokenKind::left_parenthesis) ++open;
    if (token_.kind == TokenKind::right_parenthesis) --open;
  }
  if (!token_.is("as")) return other(depth);
  advance();
  const std::size_t begin = offset(token_);
  skip_statement(depth);
  result_.name = name.text;
  result_.body = text_.substr(begin, offset(token_) - begin);
  return depth == 0 ? StatementKind::prepare : StatementKind::other;
}

// EXECUTE name [(value, ...)]. In PL/pgSQL it runs whatever text it is given.
StatementKind Recognizer::read_execute(int depth) {
  result_.effects.add(Effect::prepares);
  advance();
  const Token name = token_;
  skip_statement(depth);
  const bool named = name.kind == TokenKind::word || name.kind == TokenKind::quoted_identifier;
  if (!named || depth > 0) return StatementKind::other;
  result_.name = name.text;
  return StatementKind::execute;
}

// identifier ['.' identifier]; leaves `end` behind it. No space is expected around the dot.
bool Recognizer::read_name(std::size_t& end) {
  while (true) {
    if (token_.kind != TokenKind::word && token_.kind != TokenKind::quoted_identifier) {
      return false;
    }
    end = offset(token_) + token_.text.size();
    advance();
    if (token_.text != ".") return true;
    advance();
  }
}

Statement recognize(std::string_view text, bool standard_conforming_strings, bool encoding_is_safe,
                    bool names_matter, const NameSet* also) {
  Statement statement = Recognizer(text, standard_conforming_strings, names_matter, also).run(0);
  if (!encoding_is_safe && text.find('\\') != std::string_view::npos) {
    for (const char c : text) {
      if (static_cast<unsigned char>(c) >= 0x80) {
        statement.effects.add(Effect::unclear);
        statement.kind = StatementKind::other;
        break;
      }
    }
  }
  return statement;
}

bool hides_backslash(std::string_view encoding) {
  static constexpr std::array<std::string_view, 8> unsafe = {
      "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "WIN949"};
  for (const std::string_view name : unsafe) {
    if (equals_ignore_case(encoding, name)) return true;
  }
  return false;
}

}  // namespace dwspool::sql
