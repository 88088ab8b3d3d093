#include "app/options.h"

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
    "  dwspool --version\n"
    "  dwspool --help\n";

}  // namespace

Command parse_command_line(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  bool test = false;
  bool check = false;
  bool json = false;
  std::string file;
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
