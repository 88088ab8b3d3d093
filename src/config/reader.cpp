#include "config/reader.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "dwspool/base/result.h"
#include "dwspool/base/text.h"

#include "config/files.h"
#include "config/units.h"

namespace dwspool::config {
namespace {

constexpr std::size_t max_complaints = 200;
constexpr std::size_t max_name = 63;
constexpr std::size_t max_items = 1000;
constexpr std::size_t max_secret_file = std::size_t{64} << 10U;

// One step of a key path; quoted where it would be unclear without.
std::string step(std::string_view key) {
  const bool clear =
      !key.empty() && key.size() <= max_name && std::all_of(key.begin(), key.end(), [](char c) {
        const char lower = to_lower(c);
        return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '*';
      });
  return clear ? std::string(key) : '"' + printable(key, max_name) + '"';
}

std::string join(std::string_view path, std::string_view next) {
  return path.empty() ? std::string(next) : std::string(path) + '.' + std::string(next);
}

std::string quoted(std::string_view text) {
  return '\'' + printable(text, max_name) + '\'';
}

// The value as it is written in the file: never what a variable stood for.
std::string found(const TreeNode& node) {
  std::string text = ", found " + quoted(node.text);
  if (node.text.find('$') != std::string::npos) text += " (as written, before expansion)";
  return text;
}

std::string one_of(const std::vector<std::string_view>& words) {
  std::string text = "expected ";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

}  // namespace

void Report::add(const Place& place, std::string message) {
  if (complaints_.size() >= max_complaints) {
    ++left_out_;
    return;
  }
  complaints_.push_back({file_, place.line, place.key, std::move(message)});
}

std::vector<Complaint> Report::take() {
  std::stable_sort(complaints_.begin(), complaints_.end(),
                   [](const Complaint& a, const Complaint& b) { return a.line < b.line; });
  if (left_out_ > 0) {
    complaints_.push_back({file_, 0, "", std::to_string(left_out_) + " complaints more"});
  }
  return std::move(complaints_);
}

std::optional<std::string> read_text(Reading& reading, const Item& item,
                                     std::string_view expected) {
  if (item.node->kind != TreeNode::Kind::scalar) {
    reading.report.add(item.place, "expected " + std::string(expected) + ", found " +
                                       std::string(describe(item.node->kind)));
    return std::nullopt;
  }
  Result<std::string> text = expand(item.node->text, reading.variables);
  if (!text) {
    reading.report.add(item.place, text.error().message);
    return std::nullopt;
  }
  return std::move(*text);
}

bool check_name(Reading& reading, const Place& place, std::string_view name) {
  std::string problem;
  if (name.empty()) problem = "a name is not empty";
  if (name.size() > max_name) {
    problem = "a name has at most 63 bytes, this one has " + std::to_string(name.size());
  }
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f) problem = "a name has no control characters";
  }
  if (problem.empty()) return true;
  reading.report.add(place, std::move(problem));
  return false;
}

Section::Section(Reading& reading, const TreeNode* node, Place place, std::string pattern)
    : reading_(reading),
      node_(node),
      place_(std::move(place)),
      pattern_(std::move(pattern)),
      complaints_before_(reading.report.count()) {
  if (node_ == nullptr || node_->kind == TreeNode::Kind::null) {
    node_ = nullptr;
  } else if (node_->kind != TreeNode::Kind::map) {
    complain("expected keys with values, found " + std::string(describe(node_->kind)));
    node_ = nullptr;
  } else {
    refuse_duplicates();
  }
}

void Section::refuse_duplicates() {
  std::unordered_map<std::string_view, int> lines;
  for (const TreeEntry& entry : node_->entries) {
    const auto [first, is_new] = lines.emplace(entry.key, entry.line);
    if (is_new) continue;
    reading_.report.add({join(place_.key, step(entry.key)), entry.line},
                        "written twice, first in line " + std::to_string(first->second));
  }
}

const TreeEntry* Section::find(std::string_view key) const {
  if (node_ == nullptr) return nullptr;
  const auto entry = std::find_if(node_->entries.begin(), node_->entries.end(),
                                  [&](const TreeEntry& each) { return each.key == key; });
  return entry == node_->entries.end() ? nullptr : &*entry;
}

Place Section::place_of(std::string_view key) const {
  const TreeEntry* const entry = find(key);
  return {join(place_.key, step(key)), entry == nullptr ? place_.line : entry->line};
}

std::string Section::pattern_of(std::string_view key) const {
  return join(pattern_, key);
}

const TreeNode* Section::ask(std::string_view key) {
  reading_.known.insert(pattern_of(key));
  if (std::find(asked_.begin(), asked_.end(), key) == asked_.end()) asked_.emplace_back(key);
  const TreeEntry* const entry = find(key);
  return entry == nullptr ? nullptr : &entry->value;
}

bool Section::has(std::string_view key) {
  return ask(key) != nullptr;
}

Item Section::item(std::string_view key) {
  return {ask(key), place_of(key)};
}

Section Section::section(std::string_view key) {
  return {reading_, ask(key), place_of(key), pattern_of(key)};
}

Section Section::section_of(const Item& item, std::string_view key) const {
  return {reading_, item.node, item.place, pattern_of(key) + "[]"};
}

void Section::complain(std::string_view key, std::string message) {
  reading_.report.add(place_of(key), std::move(message));
}

void Section::complain(const Item& item, std::string message) {
  reading_.report.add(item.place, std::move(message));
}

void Section::complain(std::string message) {
  reading_.report.add(place_, std::move(message));
}

std::optional<std::string> Section::text(std::string_view key, std::string_view expected) {
  const Item value = item(key);
  if (value.node == nullptr) return std::nullopt;
  return read_text(reading_, value, expected);
}

std::optional<std::string> Section::name(std::string_view key) {
  std::optional<std::string> value = text(key, "a name");
  if (value && !check_name(reading_, place_of(key), *value)) return std::nullopt;
  return value;
}

std::optional<bool> Section::boolean(std::string_view key) {
  static const std::vector<std::string_view> words = {"false", "true"};
  const std::optional<std::size_t> index = word(key, words);
  if (!index) return std::nullopt;
  return *index == 1;
}

std::optional<std::uint64_t> Section::whole_number(std::string_view key, NumberRange range) {
  const std::optional<std::string> written = text(key, "a whole number");
  if (!written) return std::nullopt;
  Result<std::uint64_t> number = parse_whole_number(*written);
  if (number && *number >= range.min && *number <= range.max) return *number;
  complain(key, "expected a whole number from " + std::to_string(range.min) + " to " +
                    std::to_string(range.max) + found(*ask(key)));
  return std::nullopt;
}

std::optional<Duration> Section::duration(std::string_view key, DurationRange range) {
  const std::optional<std::string> written = text(key, "a duration");
  if (!written) return std::nullopt;
  Result<Duration> value = parse_duration(*written);
  if (!value) {
    complain(key, value.error().message + found(*ask(key)));
    return std::nullopt;
  }
  if (range.or_zero && *value == Duration::zero()) return *value;
  if (*value >= range.min && *value <= range.max) return *value;
  complain(key, "expected a duration from " + format_duration(range.min) + " to " +
                    format_duration(range.max) + (range.or_zero ? ", or 0" : "") +
                    found(*ask(key)));
  return std::nullopt;
}

std::optional<std::size_t> Section::word(std::string_view key,
                                         const std::vector<std::string_view>& words) {
  const std::string expected = one_of(words);
  const std::optional<std::string> written = text(key, expected.substr(expected.find(' ') + 1));
  if (!written) return std::nullopt;
  const auto match = std::find(words.begin(), words.end(), *written);
  if (match != words.end()) return static_cast<std::size_t>(match - words.begin());
  complain(key, expected + found(*ask(key)));
  return std::nullopt;
}

std::optional<Secret> Section::secret(std::string_view key) {
  const std::string file_key = std::string(key) + "_file";
  const bool from_file = has(file_key);
  if (!has(key)) {
    if (!from_file) return std::nullopt;
    return checked_secret(file_key, secret_file(file_key));
  }
  if (from_file) {
    complain(file_key, "stands beside '" + std::string(key) + "'; write one of the two");
  }
  return checked_secret(key, text(key));
}

std::optional<std::string> Section::secret_file(std::string_view key) {
  const std::optional<std::string> path = text(key, "the name of a file");
  if (!path) return std::nullopt;
  Result<std::string> content =
      read_file(resolve_path(*path, reading_.report.file()), max_secret_file);
  if (!content) {
    complain(key, "cannot read " + quoted(ask(key)->text) + ": " + content.error().message);
    return std::nullopt;
  }
  if (content->ends_with('\n')) content->pop_back();
  if (content->ends_with('\r')) content->pop_back();
  return std::move(*content);
}

std::optional<Secret> Section::checked_secret(std::string_view key,
                                              std::optional<std::string> value) {
  if (!value) return std::nullopt;
  if (value->find('\0') != std::string::npos) {
    wipe(*value);
    complain(key, "holds a zero byte, which no password has");
    return std::nullopt;
  }
  if (!value->empty()) return Secret(std::move(*value));
  complain(key, "is empty; leave the key out where no password is meant");
  return std::nullopt;
}

std::vector<Item> Section::list(std::string_view key) {
  const Item whole = item(key);
  std::vector<Item> items;
  if (whole.node == nullptr || whole.node->kind == TreeNode::Kind::null) return items;
  if (whole.node->kind != TreeNode::Kind::list) {
    complain(key, "expected a list, found " + std::string(describe(whole.node->kind)));
    return items;
  }
  if (whole.node->items.size() > max_items) {
    complain(key, "has more than " + std::to_string(max_items) + " entries");
    return items;
  }
  for (const TreeNode& node : whole.node->items) {
    items.push_back(
        {&node, {whole.place.key + '[' + std::to_string(items.size()) + ']', node.line}});
  }
  return items;
}

std::vector<Named> Section::named(std::string_view key) {
  std::vector<Named> entries;
  const Section whole = section(key);
  if (whole.node_ == nullptr) return entries;
  for (const TreeEntry& entry : whole.node_->entries) {
    Place place{join(whole.place_.key, step(entry.key)), entry.line};
    if (!check_name(reading_, place, entry.key)) continue;
    entries.push_back({entry.key, {&entry.value, std::move(place)}});
  }
  return entries;
}

Section Section::section_of(const Named& entry, std::string_view key) const {
  return {reading_, entry.item.node, entry.item.place, pattern_of(key) + ".*"};
}

void Section::refuse_unknown() {
  if (node_ == nullptr) return;
  for (const TreeEntry& entry : node_->entries) {
    if (std::find(asked_.begin(), asked_.end(), entry.key) != asked_.end()) continue;
    const std::string_view guess = nearest(entry.key, asked_);
    reading_.report.add(
        {join(place_.key, step(entry.key)), entry.line},
        guess.empty() ? "unknown key" : "unknown key; did you mean '" + std::string(guess) + "'?");
  }
}

}  // namespace dwspool::config
