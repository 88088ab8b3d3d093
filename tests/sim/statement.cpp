// Reading the few forms of statements that the simulated clients and dwspool use.
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "sim/model.h"

namespace dwspool::sim {
namespace {

struct Words {
  // Lower case, identifiers and strings without their quotes.
  std::vector<std::string> words;

  bool starts(std::initializer_list<std::string_view> expected) const {
    if (words.size() < expected.size()) return false;
    std::size_t i = 0;
    for (const std::string_view word : expected) {
      if (words[i++] != word) return false;
    }
    return true;
  }
  const std::string& at(std::size_t i) const {
    static const std::string none;
    return i < words.size() ? words[i] : none;
  }
};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '/';
}

Words cut(std::string_view text) {
  Words result;
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const std::size_t end = text.find(c, i + 1);
      const std::size_t last = end == std::string_view::npos ? text.size() : end;
      result.words.emplace_back(text.substr(i + 1, last - i - 1));
      i = last + 1;
    } else if (is_word(c)) {
      std::string word;
      for (; i < text.size() && is_word(text[i]); ++i) {
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
      }
      result.words.push_back(std::move(word));
    } else {
      ++i;
    }
  }
  return result;
}

void take_number(Statement& statement, const std::string& word) {
  statement.parameter = word == "$1";
  if (!statement.parameter) statement.number = std::strtoull(word.c_str(), nullptr, 10);
}

Statement make(Op op, const std::string& name = {}, const std::string& value = {}) {
  Statement statement;
  statement.op = op;
  statement.name = name;
  statement.value = value;
  return statement;
}

Statement numbered(Op op, const std::string& word) {
  Statement statement = make(op);
  take_number(statement, word);
  return statement;
}

Statement read_select(const Words& w) {
  const std::string& what = w.at(1);
  if (what == "pg_catalog" && w.at(2) == "pg_terminate_backend") {
    // "... WHERE pid OPERATOR(pg_catalog.=) 1234 ..."
    const auto where = std::find(w.words.begin(), w.words.end(), "where");
    const auto behind = static_cast<std::size_t>(where - w.words.begin()) + 4;
    return make(Op::end_process, {}, w.at(behind));
  }
  if (what == "pg_catalog") return make(Op::ask_tokens);
  if (what == "dwspool")
    return make(w.at(2) == "look" ? Op::look_outcome : Op::outcome, {}, w.at(3));
  if (what == "id") return numbered(Op::select_row, w.words.back());
  if (what == "fail") return numbered(Op::fail, w.at(2));
  if (what == "put") return numbered(Op::insert_by_call, w.at(2));
  if (what == "pg_sleep") return numbered(Op::sleep, w.at(2));
  if (what == "pg_advisory_lock") return numbered(Op::lock, w.at(2));
  if (what == "pg_advisory_unlock") return numbered(Op::unlock, w.at(2));
  if (what == "pg_advisory_unlock_all") return make(Op::unlock_all);
  if (what == "session_state") return make(Op::session_state);
  return numbered(Op::select_echo, what);
}

Statement read_set(const Words& w) {
  if (w.starts({"set", "session", "authorization"})) return make(Op::set_authorization);
  const bool local = w.at(1) == "local";
  const std::size_t name = local ? 2 : 1;
  if (w.at(name + 1) != "to") return make(Op::unknown);
  if (w.at(name + 2) == "default") return make(Op::reset, w.at(name), "default");
  return make(local ? Op::set_local : Op::set, w.at(name), w.at(name + 2));
}

}  // namespace

Statement read_statement(std::string_view text) {
  const Words w = cut(text);
  const std::string& first = w.at(0);
  if (first.empty()) return make(Op::empty);
  if (first == "select") return read_select(w);
  if (first == "insert" && w.at(2) == "dwspool") {
    return make(Op::insert_token, {}, w.words.back());
  }
  if (first == "insert") {
    return numbered(w.at(2) == "doomed" ? Op::insert_doomed : Op::insert, w.words.back());
  }
  if (first == "begin") return make(Op::begin, {}, "BEGIN");
  if (first == "start") return make(Op::begin, {}, "START TRANSACTION");
  if (first == "commit" || first == "end") return make(Op::commit);
  if (first == "rollback" || first == "abort") {
    return w.at(1) == "to" ? make(Op::rollback_to, w.at(2)) : make(Op::rollback);
  }
  if (first == "savepoint") return make(Op::savepoint, w.at(1));
  if (first == "release") return make(Op::release, w.at(1));
  if (first == "set") return read_set(w);
  if (first == "reset") return w.at(1) == "all" ? make(Op::reset_all) : make(Op::reset, w.at(1));
  if (first == "show") return make(Op::show, w.at(1));
  if (first == "discard") return make(Op::discard_all);
  if (first == "close") return make(Op::close_all);
  if (first == "deallocate") {
    return w.at(1) == "all" ? make(Op::deallocate_all) : make(Op::deallocate, w.at(1));
  }
  if (first == "prepare") {
    Statement statement = make(Op::prepare, w.at(1));
    take_number(statement, w.words.back());
    return statement;
  }
  if (first == "execute") return make(Op::execute, w.at(1));
  if (first == "create") return make(Op::temporary, w.at(3));
  if (first == "copy") return make(Op::copy_in);
  return make(Op::unknown);
}

std::vector<std::string_view> split_statements(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(';');
    const std::string_view part = text.substr(0, end);
    if (part.find_first_not_of(" \n") != std::string_view::npos) parts.push_back(part);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

bool has_rows(const Statement& statement) {
  switch (statement.op) {
    case Op::select_echo:
    case Op::select_row:
    case Op::fail:
    case Op::insert_by_call:
    case Op::sleep:
    case Op::show:
    case Op::execute:
    case Op::lock:
    case Op::unlock:
    case Op::unlock_all:
    case Op::session_state:
    case Op::ask_tokens:
    case Op::end_process:
    case Op::outcome:
    case Op::look_outcome:
      return true;
    default:
      return false;
  }
}

}  // namespace dwspool::sim
