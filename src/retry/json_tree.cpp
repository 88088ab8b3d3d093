#include "retry/json_tree.h"

#include <algorithm>
#include <limits>

#include "dwspool/base/text.h"

namespace dwspool::retry {
namespace {

// The four hexadecimal digits of a \u escape; only characters below U+0080 are written that way.
char escaped_character(std::string_view digits) {
  std::string bytes;
  return hex_decode(digits, bytes) && bytes.size() == 2 ? bytes[1] : '?';
}

// Finds values one behind the other.
class Reader {
 public:
  Reader(std::string_view text, std::vector<JsonNode>& nodes) : text_(text), nodes_(nodes) {}

  bool run() {
    if (!read_value({})) return false;
    while (!open_.empty()) {
      skip_space();
      if (at_ >= text_.size()) return false;
      const char c = text_[at_];
      if (c == '}' || c == ']') {
        if (open_.back().close != c) return false;
        ++at_;
        open_.pop_back();
      } else if (c == ',') {
        ++at_;
      } else if (!read_member()) {
        return false;
      }
    }
    skip_space();
    return at_ == text_.size();
  }

 private:
  struct Open {
    std::uint32_t node;
    std::uint32_t last_child;
    char close;
  };

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool read_member() {
    std::string_view key;
    if (open_.back().close == '}') {
      if (!read_string(key)) return false;
      skip_space();
      if (at_ >= text_.size() || text_[at_++] != ':') return false;
    }
    return read_value(key);
  }

  bool read_string(std::string_view& content) {
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    const std::size_t start = ++at_;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2U : 1U;
    if (at_ >= text_.size()) return false;
    content = text_.substr(start, at_ - start);
    ++at_;
    return true;
  }

  bool read_value(std::string_view key) {
    skip_space();
    if (at_ >= text_.size() || nodes_.size() >= std::numeric_limits<std::uint32_t>::max()) {
      return false;
    }
    const auto index = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back({.key = key, .text = {}});
    if (!open_.empty()) {
      Open& parent = open_.back();
      (parent.last_child == 0 ? nodes_[parent.node].child : nodes_[parent.last_child].next) = index;
      parent.last_child = index;
    }
    const char c = text_[at_];
    if (c == '{' || c == '[') {
      ++at_;
      open_.push_back({index, 0, c == '{' ? '}' : ']'});
      return true;
    }
    if (c == '"') return read_string(nodes_[index].text);
    const std::size_t start = at_;
    at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
    nodes_[index].text = text_.substr(start, at_ - start);
    return at_ > start;
  }

  std::string_view text_;
  std::vector<JsonNode>& nodes_;
  std::size_t at_ = 0;
  std::vector<Open> open_;
};

}  // namespace

std::string Json::string() const {
  const std::string_view raw = text();
  std::string result;
  result.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      result += raw[i];
      continue;
    }
    switch (raw[++i]) {
      case 'b':
        result += '\b';
        break;
      case 'f':
        result += '\f';
        break;
      case 'n':
        result += '\n';
        break;
      case 'r':
        result += '\r';
        break;
      case 't':
        result += '\t';
        break;
      case 'u':
        result += escaped_character(raw.substr(i + 1, 4));
        i += 4;
        break;
      default:
        result += raw[i];
        break;
    }
  }
  return result;
}

std::size_t Json::size() const {
  std::size_t count = 0;
  for (Json each = first(); each; each = Json(nodes_, (*nodes_)[each.at_].next)) ++count;
  return count;
}

Json Json::member(std::string_view name) const {
  for (const Json each : *this) {
    if (each.key() == name) return each;
  }
  return {};
}

bool JsonTree::read(std::string_view text) {
  nodes_.clear();
  nodes_.emplace_back();
  return Reader(text, nodes_).run();
}

}  // namespace dwspool::retry
