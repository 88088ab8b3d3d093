// Names that an administrator wants to be noticed in statements, whatever case they are in.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::sql {

class NameSet {
 public:
  // Names in lower case, sorted, of 4 to 63 characters, a letter first: the lexer shows no others.
  explicit NameSet(std::vector<std::string> names);

  bool contains(std::string_view name) const;
  // The first letters of what recognition looks for, these names included.
  const std::array<bool, 26>& letters() const { return letters_; }
  bool empty() const { return names_.empty(); }
  // The same for two sets of the same names only.
  std::string key() const;

 private:
  std::vector<std::string> names_;
  std::uint64_t sizes_ = 0;
  std::array<bool, 26> letters_;
};

}  // namespace dwspool::sql
