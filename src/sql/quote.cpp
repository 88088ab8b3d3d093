#include "dwspool/sql/quote.h"

#include <array>

#include "dwspool/base/text.h"

namespace dwspool::sql {
namespace {

// Settings flagged GUC_LIST_QUOTE in PostgreSQL, and DWS's synonym of search_path.
constexpr std::array<std::string_view, 6> identifier_lists = {"search_path",
                                                              "current_schema",
                                                              "temp_tablespaces",
                                                              "local_preload_libraries",
                                                              "session_preload_libraries",
                                                              "unix_socket_directories"};

bool is_identifier_list(std::string_view name) {
  for (const std::string_view known : identifier_lists) {
    if (equals_ignore_case(name, known)) return true;
  }
  return false;
}

// The items of an identifier list as the server stores it: `"$user", public`.
std::string quote_identifier_list(std::string_view value) {
  std::string out;
  std::size_t i = 0;
  while (i < value.size()) {
    if (is_space(value[i]) || value[i] == ',') {
      ++i;
      continue;
    }
    std::string item;
    if (value[i] == '"') {
      ++i;
      while (i < value.size()) {
        if (value[i] == '"') {
          if (i + 1 < value.size() && value[i + 1] == '"') {
            ++i;
          } else {
            break;
          }
        }
        item += value[i++];
      }
      ++i;
    } else {
      while (i < value.size() && value[i] != ',' && !is_space(value[i])) {
        item += to_lower(value[i++]);
      }
    }
    if (!out.empty()) out += ", ";
    out += quote_identifier(item);
  }
  return out.empty() ? "''" : out;
}

}  // namespace

std::string quote_identifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string quote_literal(std::string_view value) {
  std::string quoted;
  if (value.find('\\') != std::string_view::npos) quoted += 'E';
  quoted += '\'';
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + '\'';
}

std::string identifier_of(std::string_view written) {
  std::string name;
  bool quoted = false;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const char c = written[i];
    if (c == '"') {
      if (quoted && i + 1 < written.size() && written[i + 1] == '"') {
        name += '"';
        ++i;
      } else {
        quoted = !quoted;
      }
    } else if (quoted) {
      name += c;
    } else if (!is_space(c)) {
      name += to_lower(c);
    }
  }
  return name;
}

std::string setting_value(std::string_view name, std::string_view value) {
  return is_identifier_list(name) ? quote_identifier_list(value) : quote_literal(value);
}

bool is_setting_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  bool at_start = true;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool later = (c >= '0' && c <= '9') || c == '$';
    if (c == '.') {
      if (at_start) return false;
      at_start = true;
      continue;
    }
    if (!letter && (at_start || !later)) return false;
    at_start = false;
  }
  return !at_start;
}

}  // namespace dwspool::sql
