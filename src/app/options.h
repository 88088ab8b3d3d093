// The command line.
#pragma once

#include <chrono>
#include <string>
#include <variant>

namespace dwspool::app {

struct RunCommand {
  std::string config_file;
};
struct TestConfigCommand {
  std::string config_file;
};
struct CheckCommand {
  std::string config_file;
  bool json = false;
};
struct TokenCommand {
  bool purge = false;  // else install
  bool print = false;  // only say what would be run
  bool dws = false;    // print: for DWS
  std::string conninfo;
};
struct TopCommand {
  std::string config_file;  // one of these two
  std::string conninfo;
  bool once = false;
  bool batch = false;
  std::chrono::milliseconds interval{1000};
};
struct PrintCommand {
  std::string text;
};
struct BadUsage {
  std::string message;
};
using Command = std::variant<RunCommand, TestConfigCommand, CheckCommand, TokenCommand, TopCommand,
                             PrintCommand, BadUsage>;

Command parse_command_line(int argc, char** argv);

}  // namespace dwspool::app
