#include "app/options.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::app {
namespace {

Command parse(std::vector<std::string> words) {
  std::string program = "dwspool";
  std::vector<char*> argv = {program.data()};
  for (std::string& word : words) argv.push_back(word.data());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

// "run f", "test f", "check f", "print", or what is wrong.
std::string text(const Command& command) {
  if (const auto* run = std::get_if<RunCommand>(&command)) return "run " + run->config_file;
  if (const auto* test = std::get_if<TestConfigCommand>(&command)) {
    return "test " + test->config_file;
  }
  if (const auto* check = std::get_if<CheckCommand>(&command)) {
    return "check " + check->config_file + (check->json ? " json" : "");
  }
  if (const auto* token = std::get_if<TokenCommand>(&command)) {
    return std::string(token->purge ? "purge" : "install") + (token->print ? " print" : "") +
           (token->dws ? " dws" : "") + ' ' + token->conninfo;
  }
  if (const auto* top = std::get_if<TopCommand>(&command)) {
    return "top " + top->config_file + top->conninfo + (top->once ? " once" : "") +
           (top->batch ? " batch" : "") + ' ' + std::to_string(top->interval.count());
  }
  if (std::holds_alternative<PrintCommand>(command)) return "print";
  return std::get<BadUsage>(command).message;
}

}  // namespace

TEST_CASE("command lines") {
  struct Row {
    std::vector<std::string> words;
    std::string meaning;
  };
  const std::vector<Row> rows = {
      {{"--config", "f"}, "run f"},
      {{"-c", "f"}, "run f"},
      {{"--config=f"}, "run f"},
      {{"check", "-c", "f", "--json"}, "check f json"},
      {{"-c", "f", "--json"}, "unknown argument: --json"},
      {{"--config=a=b"}, "run a=b"},
      {{"--config", "a", "--config", "b"}, "run b"},
      {{"--config", "--test-config"}, "run --test-config"},  // a name may look like anything
      {{"--config", "f", "--test-config"}, "test f"},
      {{"--test-config", "-c", "f"}, "test f"},
      {{"check", "--config", "f"}, "check f"},
      {{"check", "-c", "f", "--test-config"}, "check f"},
      {{"--help"}, "print"},
      {{"check", "-h"}, "print"},
      {{"-c", "f", "--version"}, "print"},
      {{"-V", "nonsense"}, "print"},
      {{"top", "host=a user=b"}, "top host=a user=b 1000"},
      {{"top", "-c", "f", "--once"}, "top f once 1000"},
      {{"top", "--config=f", "--batch", "--interval", "0.5"}, "top f batch 500"},
      {{"top", "--interval=60", "host=a"}, "top host=a 60000"},
      {{"top", "host=a", "-h"}, "print"},
      {{"top"}, "dwspool top wants --config FILE, or 'host=... port=... user=...'"},
      {{"top", "host=a", "-c", "f"},
       "dwspool top wants --config FILE, or 'host=... port=... user=...'"},
      {{"top", "host=a", "--interval", "0"}, "--interval wants seconds, from 0.1 to 3600"},
      {{"top", "host=a", "--interval", "nan"}, "--interval wants seconds, from 0.1 to 3600"},
      {{"top", "host=a", "--interval", "1s"}, "--interval wants seconds, from 0.1 to 3600"},
      {{"top", "host=a", "--interval"}, "--interval wants a value"},
      {{"top", "host=a", "--once=1"}, "unknown argument: --once=1"},
      {{"top", "host=a", "host=b"}, "unknown argument: host=b"},
      {{}, "no configuration given: dwspool --config FILE"},
      {{"--config="}, "no configuration given: dwspool --config FILE"},
      {{"--config", ""}, "no configuration given: dwspool --config FILE"},
      {{"check"}, "no configuration given: dwspool --config FILE"},
      {{"--test-config"}, "no configuration given: dwspool --config FILE"},
      {{"--config"}, "--config wants the name of a file"},
      {{"-c", "f", "check"}, "unknown argument: check"},
      {{"token", "install", "dbname=a"}, "install dbname=a"},
      {{"token", "install", "--print"}, "install print "},
      {{"token", "install", "--print=dws"}, "install print dws "},
      {{"token", "purge", "dbname=a"}, "purge dbname=a"},
      {{"token", "--help"}, "print"},
      {{"token"}, "dwspool token install or dwspool token purge"},
      {{"token", "drop"}, "dwspool token install or dwspool token purge"},
      {{"token", "install"},
       "no connection given: dwspool token install 'host=... dbname=... user=...'"},
      {{"token", "purge", "--print"}, "unknown argument: --print"},
      {{"token", "install", "a", "b"}, "unknown argument: b"},
      {{"f"}, "unknown argument: f"},
      {{"--confi", "f"}, "unknown argument: --confi"},
      {{"-c", "f", ""}, "unknown argument: "},
  };
  for (const Row& row : rows) {
    std::string line;
    for (const std::string& word : row.words) line += word + ' ';
    CAPTURE(line);
    CHECK(text(parse(row.words)) == row.meaning);
  }
}

TEST_CASE("what is printed") {
  const auto printed = [](const char* word) { return std::get<PrintCommand>(parse({word})).text; };
  CHECK(printed("--version").starts_with("dwspool "));
  CHECK(printed("--version").ends_with("\n"));
  for (const char* part :
       {"--config FILE", "--test-config", "check", "token install", "--version"}) {
    CHECK(printed("--help").find(part) != std::string::npos);
  }
}

}  // namespace dwspool::app
