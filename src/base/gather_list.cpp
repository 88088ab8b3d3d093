#include "dwspool/base/gather_list.h"

#include <cstring>

namespace dwspool {

void GatherList::copy(std::string_view bytes) {
  if (bytes.empty()) return;
  if (bytes.size() <= arena_size - arena_used_) {
    // NOLINTNEXTLINE(modernize-avoid-c-arrays)
    if (!arena_) arena_ = std::make_unique<char[]>(arena_size);
    char* place = arena_.get() + arena_used_;
    std::memcpy(place, bytes.data(), bytes.size());
    arena_used_ += bytes.size();
    add({place, bytes.size()});
    return;
  }
  overflow_.emplace_back(bytes);
  add(overflow_.back());
}

void GatherList::truncate(std::size_t size) {
  while (total_ > size) {
    Slice& last = slices_.back();
    const std::size_t surplus = total_ - size;
    if (last.size > surplus) {
      last.size -= surplus;
      total_ = size;
      return;
    }
    total_ -= last.size;
    slices_.pop_back();
  }
}

std::string GatherList::flatten() const {
  std::string all;
  all.reserve(total_);
  for (const Slice& slice : slices_) all.append(slice.data, slice.size);
  return all;
}

}  // namespace dwspool
