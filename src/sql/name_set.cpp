#include "dwspool/sql/name_set.h"

#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "sql/binding_names.h"

namespace dwspool::sql {

NameSet::NameSet(std::vector<std::string> names) : names_(std::move(names)), letters_(interesting) {
  for (const std::string& name : names_) {
    sizes_ |= std::uint64_t{1} << name.size();
    letters_[static_cast<std::size_t>(name[0] - 'a')] = true;
  }
}

bool NameSet::contains(std::string_view name) const {
  if (name.size() >= 64 || (sizes_ >> name.size() & 1U) == 0) return false;
  return std::binary_search(names_.begin(), names_.end(), to_lower(name));
}

std::string NameSet::key() const {
  std::string key;
  for (const std::string& name : names_) key += name + ' ';
  return key;
}

}  // namespace dwspool::sql
