// A YAML text as a plain tree: aliases and merge keys resolved, sizes bounded, every node with
// its line. Nothing above this file knows which YAML library reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dwspool::config {

struct TreeEntry;

struct TreeNode {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  int line = 0;      // from 1
  std::string text;  // kind scalar: as written, without quotes
  std::vector<TreeNode> items;
  std::vector<TreeEntry> entries;  // in the order of the file; a key may be there twice
};

struct TreeEntry {
  std::string key;
  int line = 0;
  TreeNode value;
};

// "a list", "a mapping", ...: for messages.
std::string_view describe(TreeNode::Kind kind);

// Why a text is no document. The message never quotes the text: it may hold a secret.
struct SyntaxError {
  int line = 0;  // 0: the whole text is meant
  std::string message;
};

struct DocumentLimits {
  std::size_t bytes = std::size_t{16} << 20U;
  std::size_t depth = 32;
  // What the tree may come to with every alias written out: small files can stand for huge trees.
  std::size_t nodes = 1000000;
  std::size_t text_bytes = std::size_t{64} << 20U;
};

using DocumentResult = std::variant<TreeNode, SyntaxError>;

// The first document of `text`; a second one is an error. An empty text is a null node.
// Never throws, whatever the text.
DocumentResult parse_document(std::string_view text, const DocumentLimits& limits = {});

}  // namespace dwspool::config
