// The command line.
#pragma once

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
struct PrintCommand {
  std::string text;
};
struct BadUsage {
  std::string message;
};
using Command =
    std::variant<RunCommand, TestConfigCommand, CheckCommand, TokenCommand, PrintCommand, BadUsage>;

Command parse_command_line(int argc, char** argv);

}  // namespace dwspool::app
