#include "config/expand.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

namespace dwspool::config {
namespace {

std::optional<std::string> some_variables(const std::string& name) {
  static const std::map<std::string, std::string> variables = {
      {"HOST", "cn1"}, {"EMPTY", ""}, {"_x9", "low"}, {"MONEY", "${HOST} $$ $"}};
  const auto found = variables.find(name);
  if (found == variables.end()) return std::nullopt;
  return found->second;
}

TEST_CASE("variables are put in") {
  struct Row {
    std::string_view text;
    std::string_view expanded;
  };
  const Row rows[] = {
      {"", ""},
      {"plain", "plain"},
      {"${HOST}", "cn1"},
      {"a${HOST}b${HOST}", "acn1bcn1"},
      {"${_x9}", "low"},
      {"${EMPTY}", ""},
      {"${EMPTY:-x}", "x"},
      {"${UNSET:-}", ""},
      {"${UNSET:-a:-b $c}", "a:-b $c"},
      {"${HOST:-x}", "cn1"},
      {"$$", "$"},
      {"$${HOST}", "${HOST}"},
      {"$$$${HOST}", "$${HOST}"},
      {"$$${HOST}", "$cn1"},
      {"$", "$"},
      {"$HOST", "$HOST"},
      {"}", "}"},
      {"SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5", "SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"},
      {"${MONEY}", "${HOST} $$ $"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<std::string> expanded = expand(row.text, some_variables);
    REQUIRE(expanded);
    CHECK(*expanded == row.expanded);
  }
}

TEST_CASE("an unset variable is named, and nothing else of the text") {
  const Result<std::string> expanded = expand("s3cret${UNSET}s3cret", some_variables);
  REQUIRE_FALSE(expanded);
  CHECK(expanded.error().message ==
        "the environment variable UNSET is not set; set it, or write a default: ${UNSET:-...}");
}

TEST_CASE("what is no variable is refused without being quoted") {
  for (const std::string_view text :
       {"s3cret${", "s3cret${HOST", "${}", "${9s3cret}", "${s3cret-x}", "${s3cret.x}",
        "${:-s3cret}", "${s3cret }", "${${HOST}}"}) {
    CAPTURE(text);
    const Result<std::string> expanded = expand(text, some_variables);
    REQUIRE_FALSE(expanded);
    CHECK(expanded.error().message.find("s3cret") == std::string::npos);
  }
}

TEST_CASE("the environment of the process") {
  CHECK_FALSE(environment_variable("DWSPOOL_TEST_UNSET_VARIABLE"));
  REQUIRE(environment_variable("PATH"));
}

}  // namespace
}  // namespace dwspool::config
