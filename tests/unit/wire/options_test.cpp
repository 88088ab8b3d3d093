#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/startup.h"

#include "support/cuts.h"

namespace dwspool::wire {
namespace {

using dwspool::testing::Exact;
using dwspool::testing::random_text;

// "name=value name=value !switch"
std::string describe(const ParsedOptions& options) {
  std::string line;
  for (const auto& [name, value] : options.settings) line += name + "=" + value + "|";
  if (!options.bad_switch.empty()) line += "!" + options.bad_switch;
  return line;
}
std::string parse(std::string_view text) {
  const Exact exact(text);
  return describe(parse_options(exact));
}

// The same once more, in another way: as pg_split_opts and process_postgres_switches of
// PostgreSQL's postinit.c and postgres.c do it, for the two switches that name a setting.
std::string as_the_server(const std::string& text) {
  std::vector<std::string> words;
  const char* at = text.c_str();
  const auto is_blank = [](char c) {
    return std::string_view(" \t\n\v\f\r").find(c) != std::string_view::npos;
  };
  while (*at != '\0') {
    while (*at != '\0' && is_blank(*at)) ++at;
    if (*at == '\0') break;
    std::string word;
    bool escaped = false;
    while (*at != '\0' && (escaped || !is_blank(*at))) {
      if (!escaped && *at == '\\') {
        escaped = true;
      } else {
        escaped = false;
        word += *at;
      }
      ++at;
    }
    words.push_back(word);
  }
  std::string line;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string rest;
    if (words[i] == "-c") {
      if (i + 1 == words.size()) return line + "!-c";
      rest = words[i + 1];
    } else if (words[i].rfind("-c", 0) == 0 || words[i].rfind("--", 0) == 0) {
      rest = words[i].substr(2);
    } else {
      return line + "!" + (words[i].empty() ? "\\" : words[i]);
    }
    std::string name;
    std::size_t n = 0;
    for (; n < rest.size() && rest[n] != '='; ++n) name += rest[n] == '-' ? '_' : rest[n];
    if (n == rest.size() || n == 0) return line + "!" + words[i];
    line += name + "=" + rest.substr(n + 1) + "|";
    if (words[i] == "-c") ++i;
  }
  return line;
}

}  // namespace

TEST_CASE("options: switches that set something") {
  struct Row {
    std::string text;
    std::string outcome;
  };
  const std::vector<Row> rows = {
      {"", ""},
      {" \t\n\v\f\r ", ""},
      {"-c a=b", "a=b|"},
      {"-ca=b", "a=b|"},
      {"--a=b", "a=b|"},
      {"  -c   a=b   -cc=d\t--e=f\n", "a=b|c=d|e=f|"},
      {"-c a=", "a=|"},
      {"-c a==", "a==|"},
      {"-c a=b=c", "a=b=c|"},
      {"--search-path=x-y", "search_path=x-y|"},
      {"-c search-path=x", "search_path=x|"},
      {"-c my.setting=1", "my.setting=1|"},
      {"-c a=1 -c a=2", "a=1|a=2|"},
      {"-c a=-c", "a=-c|"},
      {"-c geqo=off --work-mem=64MB", "geqo=off|work_mem=64MB|"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse(row.text) == row.outcome);
    CHECK(as_the_server(row.text) == row.outcome);
  }
}

TEST_CASE("options: a backslash takes the next character as it is") {
  struct Row {
    std::string text;
    std::string outcome;
  };
  const std::vector<Row> rows = {
      {R"(-c search_path=a,\ b)", "search_path=a, b|"},
      {R"(-c a=\\)", R"(a=\|)"},
      {R"(-c a=\\\ b)", R"(a=\ b|)"},
      {R"(-c\ a=b)", " a=b|"},  // whether there can be a setting of that name is for others
      {R"(-c a\=b)", "a=b|"},
      {R"(\-c a=b)", "a=b|"},
      {R"(-c a=b\)", "a=b|"},
      {"-c a=x\\\ty", "a=x\ty|"},
      {"-c a=x\\\ny", "a=x\ny|"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse(row.text) == row.outcome);
    CHECK(as_the_server(row.text) == row.outcome);
  }
}

TEST_CASE("options: whatever is not understood is named, what came before it is kept") {
  struct Row {
    std::string text;
    std::string outcome;
  };
  const std::vector<Row> rows = {
      {"-c", "!-c"},
      {"-c a=b -c", "a=b|!-c"},
      {"-c =", "!-c"},  // CVE-2026-107349 of PgBouncer: it never came back from this
      {"-c =b", "!-c"},
      {"-c a", "!-c"},
      {"-c -c a=b", "!-c"},
      {"-c=b", "!-c=b"},
      {"-ca", "!-ca"},
      {"--", "!--"},
      {"--=", "!--="},
      {"--a", "!--a"},
      {"-d 5", "!-d"},
      {"-d5", "!-d5"},
      {"-", "!-"},
      {"=", "!="},
      {"a=b", "!a=b"},
      {"-C a=b", "!-C"},
      {"--a=b stray --c=d", "a=b|!stray"},
      {"\\", "!\\"},
      {"-c a=b \\", "a=b|!\\"},
      {"\\\\", "!\\"},
      {"\\ ", "! "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse(row.text) == row.outcome);
    CHECK(as_the_server(row.text) == row.outcome);
  }
}

TEST_CASE("options: random texts are split as the server splits them, and always to an end") {
  std::mt19937 random(107349);
  for (int round = 0; round < 100000; ++round) {
    const std::string text = random_text(random, random() % 16, "-c =\\ab \t");
    CAPTURE(text);
    const ParsedOptions options = parse_options(text);
    REQUIRE(describe(options) == as_the_server(text));
    for (const auto& [name, value] : options.settings) {
      REQUIRE_FALSE(name.empty());
      REQUIRE(name.find_first_of("-=") == std::string::npos);
    }
  }
}

TEST_CASE("options: long texts of one character, and bytes of all kinds") {
  for (const char c : {'-', 'c', '=', '\\', ' ', 'a', '\xff'}) {
    CAPTURE(c);
    const std::string text(65536, c);
    CHECK(describe(parse_options(text)) == as_the_server(text));
  }
  std::string many;
  for (int i = 0; i < 5000; ++i) many += " -c a=b";
  CHECK(parse_options(many).settings.size() == 5000);
  std::mt19937 random(8);
  for (int round = 0; round < 2000; ++round) {
    const Exact text(random_text(random, random() % 200));
    CHECK_NOTHROW(static_cast<void>(parse_options(text)));
  }
}

}  // namespace dwspool::wire
