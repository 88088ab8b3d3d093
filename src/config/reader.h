// A strict reader over a document: it knows where it is, turns values into types, and complains
// about everything that it was not asked for.
//
// Every key that a Section is asked for is thereby a known key; there is no second list of keys.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/secret.h"
#include "dwspool/base/time.h"

#include "dwspool/config/load.h"

#include "config/document.h"
#include "config/expand.h"

namespace dwspool::config {

// What a complaint is about.
struct Place {
  std::string key;  // "clusters.main.coordinators[1]"
  int line = 0;
};

// The complaints about one file.
class Report {
 public:
  explicit Report(std::string file) : file_(std::move(file)) {}

  // The message must not hold a secret.
  void add(const Place& place, std::string message);
  std::size_t count() const { return complaints_.size() + left_out_; }
  const std::string& file() const { return file_; }

  // In the order of the file. A file that is no configuration at all could draw one for every
  // line: only the first few hundred are kept.
  std::vector<Complaint> take();

 private:
  std::string file_;
  std::vector<Complaint> complaints_;
  std::size_t left_out_ = 0;
};

// What all sections of one file share.
struct Reading {
  explicit Reading(std::string file) : report(std::move(file)) {}

  Report report;
  VariableLookup variables = environment_variable;
  // The keys asked for so far, with '*' for a name and "[]" for an item.
  std::set<std::string, std::less<>> known;
};

// One value, for which no type has been asked yet.
struct Item {
  const TreeNode* node = nullptr;
  Place place;
};

// An entry of a mapping from names to whatever.
struct Named {
  std::string name;
  Item item;
};

struct NumberRange {
  std::uint64_t min = 0;
  std::uint64_t max = 0;
};

struct DurationRange {
  Duration min;
  Duration max;
  bool or_zero = false;  // 0 has a meaning of its own
};

// The type of a value that may stand in an optional.
template <class Target>
struct ValueType {
  using Type = Target;
};
template <class Value>
struct ValueType<std::optional<Value>> {
  using Type = Value;
};

template <class Value>
struct Choice {
  std::string_view word;
  Value value;
};

// The text of a scalar with its variables put in. Complains about other kinds of node, saying
// what was `expected`, and returns nothing.
std::optional<std::string> read_text(Reading& reading, const Item& item, std::string_view expected);

// A name as PostgreSQL takes it: not empty, at most 63 bytes, no control characters. False after
// a complaint.
bool check_name(Reading& reading, const Place& place, std::string_view name);

// One mapping of the file. All methods that read return nothing, or leave their target alone,
// when the key is not there, and also when they have complained about its value.
class Section {
 public:
  // `node` may be null or a null node: nothing is written there. `pattern` is the place with '*'
  // and "[]" for names and items.
  Section(Reading& reading, const TreeNode* node, Place place, std::string pattern);

  const Place& place() const { return place_; }
  // Where `key` is written, or would be.
  Place place_of(std::string_view key) const;
  bool has(std::string_view key);
  // The number of complaints has not grown since this section was begun.
  bool clean() const { return reading_.report.count() == complaints_before_; }
  void complain(std::string_view key, std::string message);
  void complain(std::string message);
  void complain(const Item& item, std::string message);

  // The value itself; null when it is absent.
  const TreeNode* ask(std::string_view key);
  Item item(std::string_view key);
  Section section(std::string_view key);

  std::optional<std::string> text(std::string_view key, std::string_view expected = "a text");
  std::optional<std::string> name(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::uint64_t> whole_number(std::string_view key, NumberRange range);
  std::optional<Duration> duration(std::string_view key, DurationRange range);
  // Of `key`, or what the file named under `key`_file holds, without the newline at its end.
  std::optional<Secret> secret(std::string_view key);

  // `range` must lie within what the target can hold.
  template <class Target>
  void number(std::string_view key, NumberRange range, Target& target) {
    if (const auto value = whole_number(key, range)) {
      target = static_cast<typename ValueType<Target>::Type>(*value);
    }
  }
  template <class Target>
  void duration(std::string_view key, DurationRange range, Target& target) {
    if (const auto value = duration(key, range)) target = *value;
  }
  void text_into(std::string_view key, std::string& target) {
    if (auto value = text(key)) target = std::move(*value);
  }
  void name_into(std::string_view key, std::string& target) {
    if (auto value = name(key)) target = std::move(*value);
  }
  template <class Value, std::size_t Count, class Target>
  void choice(std::string_view key, const std::array<Choice<Value>, Count>& choices,
              Target& target) {
    std::vector<std::string_view> words;
    words.reserve(Count);
    for (const auto& each : choices) words.push_back(each.word);
    if (const auto index = word(key, words)) target = choices[*index].value;
  }

  // The items of a list; complains about anything but a list.
  std::vector<Item> list(std::string_view key);
  // An item out of list(key) as a text.
  std::optional<std::string> text_of(const Item& item, std::string_view expected) {
    return read_text(reading_, item, expected);
  }
  // An item out of list(key) as a section.
  Section section_of(const Item& item, std::string_view key) const;

  // The entries of a mapping of names. Complains about what can be no name, and leaves it out.
  std::vector<Named> named(std::string_view key);
  // An entry out of named(key) as a section.
  Section section_of(const Named& entry, std::string_view key) const;

  // To be called when all has been asked for: what is left is unknown.
  void refuse_unknown();

 private:
  const TreeEntry* find(std::string_view key) const;
  void refuse_duplicates();
  std::string pattern_of(std::string_view key) const;
  std::optional<std::size_t> word(std::string_view key, const std::vector<std::string_view>& words);
  std::optional<std::string> secret_file(std::string_view key);
  std::optional<Secret> checked_secret(std::string_view key, std::optional<std::string> value);

  Reading& reading_;
  const TreeNode* node_;  // a map, or null
  Place place_;
  std::string pattern_;
  std::size_t complaints_before_;
  std::vector<std::string> asked_;
};

}  // namespace dwspool::config
