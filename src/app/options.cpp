#include "app/options.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "app/version.h"

namespace dwspool::app {
namespace {

constexpr std::string_view usage =
    "dwspool - connection pooler with replay for GaussDB(DWS) and PostgreSQL\n"
    "\n"
    "  dwspool --config FILE                 serve\n"
    "  dwspool --config FILE --test-config   say what is wrong with FILE, or that it is well\n"
    "  dwspool check --config FILE [--json]  try every coordinator, and the running dwspool\n"
    "  dwspool top CONNINFO                  what a dwspool is doing, by its console; q quits\n"
    "  dwspool top --config FILE             the same, of the dwspool of this configuration\n"
    "          [--interval SECONDS]          how often, 1 if nothing is said\n"
    "          [--once | --batch]            as text: once, or again and again\n"
    "  dwspool token install CONNINFO        create the table of commit tokens, see doc/replay.md\n"
    "  dwspool token install --print[=dws]   only print the SQL, for PostgreSQL or DWS\n"
    "  dwspool token purge CONNINFO          delete the tokens of more than two days\n"
    "  dwspool --version\n"
    "  dwspool --help\n";

Command parse_token(const std::vector<std::string_view>& words) {
  TokenCommand command;
  const auto asks = [](std::string_view word) { return word == "--help" || word == "-h"; };
  if (std::any_of(words.begin(), words.end(), asks)) return PrintCommand{std::string(usage)};
  if (words.size() < 2 || (words[1] != "install" && words[1] != "purge")) {
    return BadUsage{"dwspool token install or dwspool token purge"};
  }
  command.purge = words[1] == "purge";
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (!command.purge && (word == "--print" || word == "--print=dws")) {
      command.print = true;
      command.dws = word != "--print";
    } else if (command.conninfo.empty() && !word.starts_with("-")) {
      command.conninfo = word;
    } else {
      return BadUsage{"unknown argument: " + std::string(word)};
    }
  }
  if (!command.print && command.conninfo.empty()) {
    return BadUsage{"no connection given: dwspool token " + std::string(words[1]) +
                    " 'host=... dbname=... user=...'"};
  }
  return command;
}

std::optional<std::chrono::milliseconds> parse_interval(std::string_view text) {
  double seconds = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failure != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  if (!(seconds >= 0.1 && seconds <= 3600)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

Command parse_top(const std::vector<std::string_view>& words) {
  TopCommand command;
  for (std::size_t i = 1; i < words.size(); ++i) {
    std::string_view word = words[i];
    std::string_view value;
    const bool wants_value = word == "--config" || word == "-c" || word == "--interval";
    if (wants_value) {
      if (i + 1 == words.size()) return BadUsage{std::string(word) + " wants a value"};
      value = words[++i];
    } else if (const std::size_t equals = word.find('=');
               word.starts_with("--") && equals != std::string_view::npos) {
      value = word.substr(equals + 1);
      word = word.substr(0, equals);
    }
    if (word == "--help" || word == "-h") return PrintCommand{std::string(usage)};
    if (word == "--config" || word == "-c") {
      command.config_file = value;
    } else if (word == "--interval") {
      const auto interval = parse_interval(value);
      if (!interval) return BadUsage{"--interval wants seconds, from 0.1 to 3600"};
      command.interval = *interval;
    } else if (word == "--once" && value.empty()) {
      command.once = true;
    } else if (word == "--batch" && value.empty()) {
      command.batch = true;
    } else if (command.conninfo.empty() && !word.starts_with("-")) {
      command.conninfo = word;
    } else {
      return BadUsage{"unknown argument: " + std::string(words[i])};
    }
  }
  if (command.config_file.empty() == command.conninfo.empty()) {
    return BadUsage{"dwspool top wants --config FILE, or 'host=... port=... user=...'"};
  }
  return command;
}

}  // namespace

Command parse_command_line(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  bool test = false;
  bool check = false;
  bool json = false;
  std::string file;
  if (!words.empty() && words.front() == "token") return parse_token(words);
  if (!words.empty() && words.front() == "top") return parse_top(words);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--help" || word == "-h") return PrintCommand{std::string(usage)};
    if (word == "--version" || word == "-V") {
      return PrintCommand{"dwspool " + std::string(version) + "\n"};
    }
    if (word == "--test-config") {
      test = true;
    } else if (word == "check" && i == 0) {
      check = true;
    } else if (word == "--json" && check) {
      json = true;
    } else if (word == "--config" || word == "-c") {
      if (i + 1 == words.size()) return BadUsage{"--config wants the name of a file"};
      file = words[++i];
    } else if (word.starts_with("--config=")) {
      file = word.substr(std::string_view("--config=").size());
    } else {
      return BadUsage{"unknown argument: " + std::string(word)};
    }
  }
  if (file.empty()) return BadUsage{"no configuration given: dwspool --config FILE"};
  if (check) return CheckCommand{file, json};
  if (test) return TestConfigCommand{file};
  return RunCommand{file};
}

}  // namespace dwspool::app
