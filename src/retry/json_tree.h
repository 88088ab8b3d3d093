// The parse tree of libpg_query, which it hands out as JSON text. It is read in one pass, without
// recursion, into one array; strings stay where they are. Only for JSON that a library has
// written: what is no JSON is refused, but not every slip is noticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::retry {

struct JsonNode {
  std::string_view key;     // in an object
  std::string_view text;    // a scalar as written; a string without its quotes, escapes and all
  std::uint32_t child = 0;  // the first; 0: none
  std::uint32_t next = 0;   // the next one of the same parent; 0: none
};

// One value, or none: then it is empty in every respect.
class Json {
 public:
  class Iterator {
   public:
    Iterator(const std::vector<JsonNode>* nodes, std::uint32_t at) : nodes_(nodes), at_(at) {}
    Json operator*() const { return {nodes_, at_}; }
    Iterator& operator++() {
      at_ = (*nodes_)[at_].next;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    const std::vector<JsonNode>* nodes_;
    std::uint32_t at_;
  };

  Json() = default;
  Json(const std::vector<JsonNode>* nodes, std::uint32_t at) : nodes_(nodes), at_(at) {}

  explicit operator bool() const { return at_ != 0; }
  std::string_view key() const { return at_ == 0 ? std::string_view() : (*nodes_)[at_].key; }
  std::string_view text() const { return at_ == 0 ? std::string_view() : (*nodes_)[at_].text; }
  bool is_true() const { return text() == "true"; }
  // A string with its escapes undone.
  std::string string() const;
  // The number of its members or items.
  std::size_t size() const;
  // Of an object; none if it has no such member, or if this is no object.
  Json member(std::string_view name) const;
  // The first member or item.
  Json first() const { return at_ == 0 ? Json() : Json(nodes_, (*nodes_)[at_].child); }

  Iterator begin() const { return {nodes_, at_ == 0 ? 0 : (*nodes_)[at_].child}; }
  Iterator end() const { return {nodes_, 0}; }

 private:
  const std::vector<JsonNode>* nodes_ = nullptr;
  std::uint32_t at_ = 0;
};

class JsonTree {
 public:
  // False when `text` is no JSON. The text must outlive the tree.
  bool read(std::string_view text);
  Json root() const { return {&nodes_, nodes_.size() > 1 ? 1U : 0U}; }

 private:
  std::vector<JsonNode> nodes_;  // [0] stands for none
};

}  // namespace dwspool::retry
