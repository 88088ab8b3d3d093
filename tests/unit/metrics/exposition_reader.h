// Reads Prometheus' text format the way a scraper does, and is strict about it: what it does not
// understand fails the test.
#pragma once

#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

namespace dwspool::metrics::test {

using LabelSet = std::map<std::string, std::string>;

class Exposition {
 public:
  explicit Exposition(std::string_view text) {
    REQUIRE(!text.empty());
    REQUIRE(text.back() == '\n');
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      read_line(text.substr(0, end));
      text.remove_prefix(end + 1);
    }
  }

  bool has(const std::string& name, const LabelSet& labels = {}) const {
    return samples_.count({name, labels}) != 0;
  }
  double value(const std::string& name, const LabelSet& labels = {}) const {
    const auto found = samples_.find({name, labels});
    if (found == samples_.end()) FAIL("no sample of ", name);
    return found->second;
  }
  const std::map<std::pair<std::string, LabelSet>, double>& samples() const { return samples_; }
  const std::map<std::string, std::string>& types() const { return types_; }

 private:
  void read_line(std::string_view line) {
    CAPTURE(std::string(line));
    if (line.substr(0, 7) == "# HELP ") {
      const std::string name = take_name(line.substr(7));
      CHECK(line.size() > 7 + name.size() + 1);
      CHECK(helps_.insert(name).second);
    } else if (line.substr(0, 7) == "# TYPE ") {
      const std::string name = take_name(line.substr(7));
      family_ = name;
      CHECK(helps_.count(name) == 1);
      CHECK(types_.emplace(name, line.substr(7 + name.size() + 1)).second);
    } else {
      read_sample(line);
    }
  }

  void read_sample(std::string_view line) {
    const std::string name = take_name(line);
    CHECK(name.substr(0, family_.size()) == family_);  // a family's samples stay together
    line.remove_prefix(name.size());
    LabelSet labels;
    if (line.front() == '{') labels = take_labels(line);
    REQUIRE(line.substr(0, 1) == " ");
    const std::string number(line.substr(1));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    REQUIRE(!number.empty());
    REQUIRE(*end == '\0');
    CHECK_MESSAGE(samples_.emplace(std::pair(name, labels), value).second, "twice: ", name);
  }

  static std::string take_name(std::string_view text) {
    std::size_t size = 0;
    while (size < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[size])) != 0 || text[size] == '_')) {
      ++size;
    }
    REQUIRE(size > 0);
    return std::string(text.substr(0, size));
  }

  static LabelSet take_labels(std::string_view& line) {
    LabelSet labels;
    do {
      line.remove_prefix(1);  // the brace or the comma
      const std::string name = take_name(line);
      line.remove_prefix(name.size());
      REQUIRE(line.substr(0, 2) == "=\"");
      line.remove_prefix(2);
      CHECK(labels.emplace(name, take_value(line)).second);
    } while (line.substr(0, 1) == ",");
    REQUIRE(line.substr(0, 1) == "}");
    line.remove_prefix(1);
    return labels;
  }

  // Up to and with the closing quote.
  static std::string take_value(std::string_view& line) {
    std::string value;
    while (true) {
      REQUIRE(!line.empty());
      char c = line.front();
      line.remove_prefix(1);
      if (c == '"') return value;
      if (c == '\\') {
        REQUIRE(!line.empty());
        c = line.front();
        line.remove_prefix(1);
        const bool known = c == 'n' || c == '\\' || c == '"';
        REQUIRE(known);
        if (c == 'n') c = '\n';
      }
      value += c;
    }
  }

  std::map<std::pair<std::string, LabelSet>, double> samples_;
  std::map<std::string, std::string> types_;
  std::set<std::string> helps_;
  std::string family_;
};

}  // namespace dwspool::metrics::test
