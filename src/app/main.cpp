// dwspool: nothing clever.
#include <cstdio>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "dwspool/config/load.h"

#include "app/check.h"
#include "app/options.h"
#include "app/serve.h"
#include "app/token.h"
#include "app/top.h"

namespace {

constexpr int exit_usage = 2;
constexpr int exit_bad_config = 3;

// Null when the file is bad; everything that is wrong has been printed then.
const dwspool::config::Config* load(const std::string& file, dwspool::config::LoadResult& result) {
  result = dwspool::config::load_file(file);
  if (const auto* complaints = std::get_if<std::vector<dwspool::config::Complaint>>(&result)) {
    for (const dwspool::config::Complaint& complaint : *complaints) {
      std::fprintf(stderr, "%s\n", complaint.text().c_str());
    }
    return nullptr;
  }
  return std::get_if<dwspool::config::Config>(&result);
}

int top(const dwspool::app::TopCommand& command) {
  using namespace dwspool;
  app::ConnectionParameters parameters;
  std::string problem;
  if (command.config_file.empty()) {
    if (app::read_conninfo(command.conninfo, parameters, problem)) {
      return app::top(command, std::move(parameters));
    }
    std::fprintf(stderr, "dwspool top: %s\n", problem.c_str());
    return exit_usage;
  }
  config::LoadResult result;
  const config::Config* const config = load(command.config_file, result);
  if (config == nullptr) return exit_bad_config;
  if (app::console_of(*config, parameters, problem)) {
    return app::top(command, std::move(parameters));
  }
  std::fprintf(stderr, "dwspool top: %s\n", problem.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace dwspool;
  const app::Command command = app::parse_command_line(argc, argv);
  if (const auto* print = std::get_if<app::PrintCommand>(&command)) {
    std::fputs(print->text.c_str(), stdout);
    return 0;
  }
  if (const auto* bad = std::get_if<app::BadUsage>(&command)) {
    std::fprintf(stderr, "dwspool: %s (dwspool --help)\n", bad->message.c_str());
    return exit_usage;
  }
  if (const auto* token = std::get_if<app::TokenCommand>(&command)) return app::token(*token);
  if (const auto* command_top = std::get_if<app::TopCommand>(&command)) return top(*command_top);
  config::LoadResult result;
  if (const auto* test = std::get_if<app::TestConfigCommand>(&command)) {
    if (load(test->config_file, result) == nullptr) return exit_bad_config;
    std::printf("%s: good\n", test->config_file.c_str());
    return 0;
  }
  if (const auto* check = std::get_if<app::CheckCommand>(&command)) {
    const config::Config* config = load(check->config_file, result);
    return config != nullptr ? app::check(*config, check->json) : exit_bad_config;
  }
  const config::Config* config = load(std::get<app::RunCommand>(command).config_file, result);
  return config != nullptr ? app::serve(*config) : exit_bad_config;
}
