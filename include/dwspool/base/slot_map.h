// Objects under generation-checked ids: a callback that finds its object gone simply finds
// nothing, and no id of a dead object ever names a new one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace dwspool {

// Tag keeps the ids of different kinds apart. The zero id is never given out.
template <class Tag>
struct Id {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;

  explicit operator bool() const { return generation != 0; }
  friend bool operator==(Id, Id) = default;
  std::uint64_t packed() const { return (std::uint64_t{generation} << 32U) | slot; }
};

template <class T, class IdType>
class SlotMap {
 public:
  // Calls make(id) to build the object, which therefore knows its own id from the start.
  template <class Make>
  T& emplace(Make&& make) {
    std::uint32_t slot = 0;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    Entry& entry = entries_[slot];
    entry.generation = entry.generation == UINT32_MAX ? 1 : entry.generation + 1;
    entry.object = std::forward<Make>(make)(IdType{slot, entry.generation});
    ++size_;
    return *entry.object;
  }

  // Null when the object is gone. The pointer is valid until the object is erased.
  T* find(IdType id) const {
    if (id.slot >= entries_.size()) return nullptr;
    const Entry& entry = entries_[id.slot];
    return entry.generation == id.generation ? entry.object.get() : nullptr;
  }

  // Takes the object out; null when it is gone already.
  std::unique_ptr<T> take(IdType id) {
    if (find(id) == nullptr) return nullptr;
    std::unique_ptr<T> object = std::move(entries_[id.slot].object);
    free_.push_back(id.slot);
    --size_;
    return object;
  }

  std::size_t size() const { return size_; }

  // Visits every live object. The visitor may take objects out, and add new ones, which it may
  // or may not visit.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].object) visit(*entries_[i].object);
    }
  }

 private:
  struct Entry {
    std::uint32_t generation = 0;
    std::unique_ptr<T> object;
  };
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace dwspool
