#include "config/document.h"

#include <sstream>
#include <string>

#include <doctest/doctest.h>

namespace dwspool::config {
namespace {

// The tree in one line: {key: value, ...}, [item, ...], "text", null.
std::string shape(const TreeNode& node) {
  std::string text;
  switch (node.kind) {
    case TreeNode::Kind::null:
      return "null";
    case TreeNode::Kind::scalar:
      return '"' + node.text + '"';
    case TreeNode::Kind::list:
      for (const TreeNode& item : node.items) {
        text.append(text.empty() ? "" : ", ").append(shape(item));
      }
      return std::string("[").append(text).append("]");
    case TreeNode::Kind::map:
      for (const TreeEntry& entry : node.entries) {
        text.append(text.empty() ? "" : ", ").append(entry.key).append(": ");
        text.append(shape(entry.value));
      }
      return std::string("{").append(text).append("}");
  }
  return "?";
}

std::string shape_of(std::string_view text) {
  const DocumentResult result = parse_document(text);
  if (const auto* const failure = std::get_if<SyntaxError>(&result)) {
    return std::to_string(failure->line) + ": " + failure->message;
  }
  return shape(std::get<TreeNode>(result));
}

// "a2: &a2 [*a1, *a1]\n" for 2 and 2.
std::string anchored_list(int number, int count) {
  std::ostringstream line;
  line << 'a' << number << ": &a" << number << " [*a" << number - 1;
  for (int i = 1; i < count; ++i) line << ", *a" << number - 1;
  line << "]\n";
  return line.str();
}

TEST_CASE("trees") {
  struct Row {
    std::string_view text;
    std::string_view shape;
  };
  const Row rows[] = {
      {"", "null"},
      {"# nothing\n", "null"},
      {"---\n", "null"},
      {"word", "\"word\""},
      {"a: 1\nb: [x, 'y', \"z\"]\n", "{a: \"1\", b: [\"x\", \"y\", \"z\"]}"},
      {"a:\nb: ~\nc: null\nd: ''\ne: 'null'\n",
       "{a: null, b: null, c: null, d: \"\", e: \"null\"}"},
      {"a: 1\na: 2\n", "{a: \"1\", a: \"2\"}"},
      {"a: 007\nb: yes\nc: 1e3\n", "{a: \"007\", b: \"yes\", c: \"1e3\"}"},
      {"a: !!str 5\n", "{a: \"5\"}"},
      {"a: &x {b: 1}\nc: *x\n", "{a: {b: \"1\"}, c: {b: \"1\"}}"},
      {"a: &x 1\n*x : 2\n", "{a: \"1\", 1: \"2\"}"},
      {"a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n",
       "{a: {b: \"1\", c: \"2\"}, d: {b: \"1\", c: \"3\"}}"},
      {"a: &x {b: 1}\nc: &y {b: 2, d: 2}\ne: {<<: [*x, *y]}\n",
       "{a: {b: \"1\"}, c: {b: \"2\", d: \"2\"}, e: {b: \"1\", d: \"2\"}}"},
      {"a: &x {b: 1}\nc: &y {<<: *x}\nd: {<<: *y}\n",
       "{a: {b: \"1\"}, c: {b: \"1\"}, d: {b: \"1\"}}"},
      {"\xef\xbb\xbf"
       "a: \xc3\xa4\n",
       "{a: \"\xc3\xa4\"}"},
      {"a: 1\n...\n", "{a: \"1\"}"},
      {"a: 1\n...\n...\n# end", "{a: \"1\"}"},
      {"a: |+\n  x\n\n", "{a: \"x\n\n\"}"},
      {"a: |\n  x", "{a: \"x\n\"}"},
      {"a: 1\r\nb: 2\r\n", "{a: \"1\", b: \"2\"}"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(shape_of(row.text) == row.shape);
  }
}

TEST_CASE("texts that are refused") {
  struct Row {
    std::string_view text;
    std::string_view failure;
  };
  const Row rows[] = {
      {"a: b\nc: d: e\n", "2: not valid YAML: illegal map value"},
      {"a: [b\n", "1: not valid YAML: end of sequence flow not found"},
      {"a: 'b\n", "1: not valid YAML: illegal document indicator in scalar"},
      {"a: \"b", "1: not valid YAML: illegal document indicator in scalar"},
      {"a: 'b\nc: d'e\n", "2: not valid YAML: end of map not found"},
      {"a: 1\n---\nb: 2\n", "3: a second document begins here; write one only"},
      {"a: &x {b: *x}\n", "1: an alias stands inside the value that it names"},
      {"a: &x {<<: *x}\n", "1: an alias stands inside the value that it names"},
      {"a: {<<: 5}\n", "1: '<<' takes a mapping or a list of mappings"},
      {"a: {<<: [5]}\n", "1: '<<' takes a mapping or a list of mappings"},
      {"\n[a]: b\n", "2: a key must be a word, not a list"},
      {"{a: b}: c\n", "1: a key must be a word, not a mapping"},
      {"~: c\n", "1: a key must be a word, not nothing"},
      {"a: \x01\n", "1: a control character; write it as \\xNN in a text in double quotes"},
      {"a:\nb: c\x04"
       "d\n",
       "2: a control character; write it as \\xNN in a text in double quotes"},
      {"a:\n\n\xff\n", "3: not UTF-8"},
      {"a: \xc3", "1: not UTF-8"},
      {std::string_view("a\0\0\0", 4),
       "1: a control character; write it as \\xNN in a text in double quotes"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(shape_of(row.text) == row.failure);
  }
}

TEST_CASE("a refusal does not quote the text") {
  for (const std::string_view text :
       {"password: *s3cret", "password: !s3cret x", "password: &s3cret [",
        "password: \"s3cret\\q\"", "password: @s3cret", "password: `s3cret", "password: %s3cret",
        "%s3cret\n%YAML s3cret\n", "password: |s3cret", "password: \"\\us3cret\"",
        "password: s3cret: s3cret", "%TAG s3cret"}) {
    CAPTURE(text);
    CHECK(shape_of(text).find("s3cret") == std::string::npos);
  }
}

TEST_CASE("depth and size are bounded, aliases written out") {
  std::string deep_list;
  std::string deep_block;
  for (int i = 0; i < 40; ++i) {
    deep_list += '[';
    deep_block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  }
  CHECK(shape_of(deep_list) == "1: nested too deeply");
  CHECK(shape_of(deep_block) == "33: nested too deeply");
  CHECK(shape_of(std::string(100000, '[')) == "1: nested too deeply");
  CHECK(shape_of(std::string(100000, '{')) == "1: nested too deeply");

  std::string by_alias = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i) by_alias += anchored_list(i, 1);
  CHECK(shape_of(by_alias).ends_with(": nested too deeply"));

  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 12; ++i) bomb += anchored_list(i, 10);
  CHECK(shape_of(bomb).ends_with(": holds too much, with every alias written out"));

  std::string long_text = "a: &a " + std::string(1000000, 'x') + "\nb: [*a";
  for (int i = 0; i < 100; ++i) long_text += ", *a";
  CHECK(shape_of(long_text + "]\n") == "2: holds too much, with every alias written out");
}

TEST_CASE("the size of the file is bounded") {
  DocumentLimits limits;
  limits.bytes = std::size_t{1} << 20U;
  const DocumentResult result = parse_document("a: " + std::string(limits.bytes, 'x'), limits);
  REQUIRE(std::holds_alternative<SyntaxError>(result));
  CHECK(std::get<SyntaxError>(result).message == "larger than 1 MiB");
}

TEST_CASE("lines") {
  const DocumentResult result =
      parse_document("# comment\na:\n  b: 1\n  c:\n\n\nd:\n  - x\n  - y\n");
  const TreeNode& root = std::get<TreeNode>(result);
  REQUIRE(root.entries.size() == 2);
  CHECK(root.entries[0].line == 2);
  CHECK(root.entries[0].value.entries[0].line == 3);
  CHECK(root.entries[0].value.entries[1].value.line == 4);
  CHECK(root.entries[1].value.items[1].line == 9);
}

}  // namespace
}  // namespace dwspool::config
