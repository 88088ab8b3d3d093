#include "app/options.h"

#include <algorithm>
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

}  // namespace

Command parse_command_line(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  bool test = false;
  bool check = false;
  bool json = false;
  std::string file;
  if (!words.empty() && words.front() == "token") return parse_token(words);
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
