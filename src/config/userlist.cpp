#include "config/userlist.h"

#include <optional>

#include "dwspool/base/text.h"

namespace dwspool::config {
namespace {

// Takes a text in quotes off the front; nothing if there is none.
std::optional<std::string> take_quoted(std::string_view& line) {
  while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
  if (!line.starts_with('"')) return std::nullopt;
  line.remove_prefix(1);
  std::string text;
  while (!line.empty()) {
    const char c = line.front();
    line.remove_prefix(1);
    if (c != '"') {
      text += c;
    } else if (line.starts_with('"')) {
      text += '"';
      line.remove_prefix(1);
    } else {
      return text;
    }
  }
  wipe(text);
  return std::nullopt;
}

}  // namespace

Result<std::vector<std::pair<std::string, Secret>>> parse_userlist(std::string_view text) {
  std::vector<std::pair<std::string, Secret>> users;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == ';' || line.front() == '#') continue;
    std::optional<std::string> name = take_quoted(line);
    std::optional<std::string> password = name ? take_quoted(line) : std::nullopt;
    if (!name || !password) {
      return Error{"line " + std::to_string(number) +
                   ": expected a name and a password, each in double quotes"};
    }
    users.emplace_back(std::move(*name), Secret(std::move(*password)));
  }
  return users;
}

}  // namespace dwspool::config
