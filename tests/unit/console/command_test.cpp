// What an administrator may say.
#include "dwspool/console/command.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::console {
namespace {

Command command(std::string_view text) {
  auto parsed = parse(text);
  const auto* found = std::get_if<Command>(&parsed);
  REQUIRE_MESSAGE(found != nullptr, text);
  return *found;
}

std::string refusal(std::string_view text) {
  auto parsed = parse(text);
  const auto* report = std::get_if<wire::ErrorReport>(&parsed);
  return report == nullptr ? "" : report->message;
}

TEST_CASE("SHOW, by either word, in any case, with or without a semicolon") {
  for (const char* text : {"SHOW POOLS", "show pools;", "  Select\tPools ; ", "sHoW pOOLS ;;"}) {
    CAPTURE(text);
    CHECK(command(text).verb == Verb::show);
    CHECK(command(text).what == Show::pools);
    CHECK(command(text).tag == "SHOW");
  }
  CHECK(command("show stats_totals").what == Show::stats_totals);
  CHECK(command("show pins").what == Show::pins);
  CHECK(command("show DateStyle").verb == Verb::show_client);
}

TEST_CASE("commands with and without a database") {
  CHECK(command("pause").argument.empty());
  CHECK(command("PAUSE Sales").argument == "Sales");
  CHECK(command("PAUSE \"with \"\"quotes\"\"\"").argument == "with \"quotes\"");
  CHECK(command("kill_client 17").argument == "17");
  CHECK(command("wait_close x").tag == "WAIT_CLOSE");
  CHECK(command("disable x").verb == Verb::disable);
  CHECK(command("shutdown").mode == StopMode::immediate);
  CHECK(command("shutdown wait_for_clients").mode == StopMode::wait_for_clients);
  CHECK(command("SHUTDOWN WAIT_FOR_SERVERS;").mode == StopMode::wait_for_servers);
}

TEST_CASE("SET") {
  for (const char* text :
       {"set max_client_conn = 7", "SET max_client_conn TO '7';", "set MAX_CLIENT_CONN='7'"}) {
    CAPTURE(text);
    CHECK(command(text).verb == Verb::set);
    CHECK(command(text).argument == "max_client_conn");
    CHECK(command(text).value == "7");
    CHECK(command(text).tag == "SET max_client_conn=7");
  }
  // What drivers say by themselves.
  for (const char* text :
       {"SET DateStyle = 'ISO, MDY'", "SET client_encoding TO 'UTF8'",
        "set session application_name = ''", "SET extra_float_digits = 3", "SET TIME ZONE 'UTC'",
        "BEGIN", "commit", "START TRANSACTION", "DISCARD ALL"}) {
    CAPTURE(text);
    CHECK(command(text).verb == Verb::ignored);
    CHECK_FALSE(command(text).needs_admin());
  }
  CHECK(command("end").tag == "COMMIT");
}

TEST_CASE("nothing at all") {
  CHECK(command("").verb == Verb::nothing);
  CHECK(command(" ; ").verb == Verb::nothing);
}

TEST_CASE("what is none is said to be none") {
  for (const char* text :
       {"wat", "show", "show wat", "show pools clients", "pause a b", "reload now", "set x",
        "set = 1", "show pools; show clients", "\"show\" pools", "pause 'open", "drop (table)",
        "shutdown gracefully", "set a = b c"}) {
    CAPTURE(text);
    CHECK(refusal(text) == "invalid command '" + std::string(text) + "', use SHOW HELP;");
  }
  CHECK(refusal("kill") == "a database is required");
  CHECK(refusal("kill_client").find("id is required") != std::string::npos);
}

TEST_CASE("who may look may not act") {
  for (const char* text : {"show pools", "show help", "show version", "show datestyle", "begin"}) {
    CHECK_FALSE(command(text).needs_admin());
  }
  for (const char* text :
       {"pause", "resume", "reload", "suspend", "shutdown", "kill x", "kill_client 1", "disable x",
        "enable x", "reconnect", "wait_close", "set max_client_conn=1", "show fds"}) {
    CAPTURE(text);
    CHECK(command(text).needs_admin());
  }
}

TEST_CASE("every command of SHOW HELP is one") {
  const std::string_view text = help();
  std::size_t at = 0;
  int commands = 0;
  while ((at = text.find("\tSHOW ", at)) != std::string_view::npos) {
    at += 6;
    const std::string_view line = text.substr(at, text.find('\n', at) - at);
    for (std::size_t i = 0; i <= line.size();) {
      const std::size_t end = std::min(line.find('|', i), line.size());
      CHECK(command("show " + std::string(line.substr(i, end - i))).verb == Verb::show);
      ++commands;
      i = end + 1;
    }
  }
  CHECK(commands > 20);
}

}  // namespace
}  // namespace dwspool::console
