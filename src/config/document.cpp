#include "config/document.h"

#include <algorithm>
#include <array>
#include <exception>
#include <sstream>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace dwspool::config {
namespace {

// Leaves the parser from inside its callbacks; caught in parse_document.
struct Refused : std::exception {
  Refused(int at, std::string_view why) : error{at, std::string(why)} {}
  const char* what() const noexcept override { return error.message.c_str(); }
  SyntaxError error;
};

int line_of(const YAML::Mark& mark) {
  return mark.is_null() ? 0 : mark.line + 1;
}

constexpr std::string_view merge_key = "<<";

// Builds the tree out of the parser's events. An alias becomes a copy of what it names, so the
// tree has no cycles and no sharing; the budget keeps the copies from growing without bound.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const DocumentLimits& limits) : limits_(limits) {}

  TreeNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    TreeNode node;
    node.line = line_of(mark);
    spend(node, open_.size());
    attach(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(mark, tag);
    TreeNode node;
    node.kind = TreeNode::Kind::scalar;
    node.line = line_of(mark);
    node.text = value;
    spend(node, open_.size());
    attach(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    if (found == anchored_.end()) {
      throw Refused(line_of(mark), "an alias stands inside the value that it names");
    }
    TreeNode copy = found->second;
    copy.line = line_of(mark);
    spend(copy, open_.size());
    attach(std::move(copy), YAML::NullAnchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, TreeNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, TreeNode::Kind::map);
  }
  void OnMapEnd() override {
    merge(open_.back().node);
    close();
  }

 private:
  // A list or a map whose end has not come yet.
  struct Open {
    TreeNode node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    bool has_key = false;  // of a map: the key has come, its value has not
    std::string key;
    int key_line = 0;
  };

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            TreeNode::Kind kind) {
    check_tag(mark, tag);
    Open next;
    next.node.kind = kind;
    next.node.line = line_of(mark);
    next.anchor = anchor;
    spend(next.node, open_.size());
    open_.push_back(std::move(next));
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    attach(std::move(done.node), done.anchor);
  }

  void attach(TreeNode node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      spend(node, open_.size());
      anchored_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    // A value that is not there is reported by the parser at the next thing in the file.
    if (node.kind == TreeNode::Kind::null) node.line = std::min(node.line, line_before(parent));
    if (parent.node.kind == TreeNode::Kind::list) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      if (node.kind != TreeNode::Kind::scalar) {
        throw Refused(node.line, "a key must be a word, not " + std::string(describe(node.kind)));
      }
      parent.has_key = true;
      parent.key = std::move(node.text);
      parent.key_line = node.line;
    } else {
      parent.has_key = false;
      parent.node.entries.push_back({std::move(parent.key), parent.key_line, std::move(node)});
    }
  }

  // Where the next value of `parent` begins at the latest, if there is nothing to it.
  static int line_before(const Open& parent) {
    if (parent.has_key) return parent.key_line;
    const std::vector<TreeNode>& items = parent.node.items;
    return items.empty() ? parent.node.line : items.back().line + 1;
  }

  // `<<: *base` and `<<: [*one, *two]`: keys that the map does not have itself, the first wins.
  static void merge(TreeNode& map) {
    std::vector<TreeEntry> merged;
    std::unordered_set<std::string> present;
    bool any = false;
    for (const TreeEntry& entry : map.entries) {
      any = any || entry.key == merge_key;
      present.insert(entry.key);
    }
    if (!any) return;
    for (TreeEntry& entry : map.entries) {
      if (entry.key != merge_key) {
        merged.push_back(std::move(entry));
        continue;
      }
      if (entry.value.kind == TreeNode::Kind::list) {
        for (TreeNode& source : entry.value.items) merge_from(source, entry.line, present, merged);
      } else {
        merge_from(entry.value, entry.line, present, merged);
      }
    }
    map.entries = std::move(merged);
  }

  static void merge_from(TreeNode& source, int line, std::unordered_set<std::string>& present,
                         std::vector<TreeEntry>& merged) {
    if (source.kind != TreeNode::Kind::map) {
      throw Refused(line, "'<<' takes a mapping or a list of mappings");
    }
    for (TreeEntry& entry : source.entries) {
      if (present.insert(entry.key).second) merged.push_back(std::move(entry));
    }
  }

  static void check_tag(const YAML::Mark& mark, std::string_view tag) {
    const bool standard =
        tag.empty() || tag == "?" || tag == "!" || tag.starts_with("tag:yaml.org,2002:");
    // Most often a password that begins with '!' and lacks its quotes.
    if (!standard) {
      throw Refused(line_of(mark), "tags ('!name') are not used here; quote a text with '!'");
    }
  }

  // `depth` is that of the node: an alias deep in the file may name a deep value.
  void spend(const TreeNode& node, std::size_t depth) {
    if (depth > limits_.depth) throw Refused(node.line, "nested too deeply");
    ++nodes_;
    text_bytes_ += node.text.size();
    if (nodes_ > limits_.nodes || text_bytes_ > limits_.text_bytes) {
      throw Refused(node.line, "holds too much, with every alias written out");
    }
    for (const TreeNode& item : node.items) spend(item, depth + 1);
    for (const TreeEntry& entry : node.entries) {
      text_bytes_ += entry.key.size();
      spend(entry.value, depth + 1);
    }
  }

  DocumentLimits limits_;
  TreeNode root_;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, TreeNode> anchored_;  // complete ones only
  std::size_t nodes_ = 0;
  std::size_t text_bytes_ = 0;
};

// Length of the UTF-8 sequence that `text` begins with; 0 when it is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  std::size_t length = 0;
  if (lead < 0x80) {
    length = 1;
  } else if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
  }
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  return length;
}

// The parser repairs bytes that are no text in silence, and takes one of them for the end of the
// file. A password must not change that way.
void check_text(std::string_view text) {
  int line = 1;
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = sequence_length(text);
    if (length == 0) throw Refused(line, "not UTF-8");
    const bool blank = c == '\t' || c == '\n' || c == '\r';
    if (length == 1 && ((c < ' ' && !blank) || c == '\x7f')) {
      throw Refused(line, "a control character; write it as \\xNN in a text in double quotes");
    }
    if (c == '\n') ++line;
    text.remove_prefix(length);
  }
}

// The parser's own words, without what some of them quote from the text.
std::string harmless(std::string_view message) {
  static const std::array<std::string_view, 6> quoting = {
      YAML::ErrorMsg::YAML_VERSION,   YAML::ErrorMsg::INVALID_UNICODE,
      YAML::ErrorMsg::INVALID_ESCAPE, YAML::ErrorMsg::UNKNOWN_ANCHOR,
      YAML::ErrorMsg::KEY_NOT_FOUND,  YAML::ErrorMsg::INVALID_NODE};
  for (const std::string_view begin : quoting) {
    if (!message.starts_with(begin)) continue;
    message = begin.substr(0, begin.find_last_not_of(": ") + 1);
  }
  return "not valid YAML: " + std::string(message);
}

TreeNode parse(std::string_view text, const DocumentLimits& limits) {
  if (text.size() > limits.bytes) {
    throw Refused(0, "larger than " + std::to_string(limits.bytes >> 20U) + " MiB");
  }
  check_text(text);
  // The end is marked because the parser takes the end of the file for a missing quote.
  const bool open_line = !text.empty() && !text.ends_with('\n');
  std::istringstream stream{std::string(text) + (open_line ? "\n...\n" : "...\n")};
  YAML::Parser parser(stream);
  TreeBuilder builder(limits);
  if (!parser.HandleNextDocument(builder)) return {};
  TreeBuilder rest(limits);
  if (parser.HandleNextDocument(rest)) {
    const int line = rest.take().line;
    throw Refused(line, "a second document begins here; write one only");
  }
  return builder.take();
}

}  // namespace

std::string_view describe(TreeNode::Kind kind) {
  switch (kind) {
    case TreeNode::Kind::null:
      return "nothing";
    case TreeNode::Kind::scalar:
      return "a text";
    case TreeNode::Kind::list:
      return "a list";
    case TreeNode::Kind::map:
      return "a mapping";
  }
  return "?";
}

DocumentResult parse_document(std::string_view text, const DocumentLimits& limits) {
  // What is missing at the end is reported behind it.
  const auto within = [&](int line) {
    const auto breaks = std::count(text.begin(), text.end(), '\n');
    const auto lines = breaks + (text.ends_with('\n') ? 0 : 1);
    return static_cast<int>(std::min<std::ptrdiff_t>(line, lines));
  };
  try {
    return parse(text, limits);
  } catch (const Refused& refused) {
    return refused.error;
  } catch (const YAML::DeepRecursion& deep) {
    return SyntaxError{within(line_of(deep.mark)), "nested too deeply"};
  } catch (const YAML::Exception& bad) {
    return SyntaxError{within(line_of(bad.mark)), harmless(bad.msg)};
  } catch (const std::exception& bad) {
    return SyntaxError{0, std::string("cannot be read: ") + bad.what()};
  }
}

}  // namespace dwspool::config
