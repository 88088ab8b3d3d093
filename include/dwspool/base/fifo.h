// A queue in one vector: nothing is allocated while it is empty, and little while it is short,
// unlike std::deque.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace dwspool {

template <class T>
class Fifo {
 public:
  bool empty() const { return head_ == entries_.size(); }
  std::size_t size() const { return entries_.size() - head_; }

  // Precondition of front() and pop(): not empty. Of operator[]: i < size().
  T& front() { return entries_[head_]; }
  const T& front() const { return entries_[head_]; }
  T& operator[](std::size_t i) { return entries_[head_ + i]; }
  const T& operator[](std::size_t i) const { return entries_[head_ + i]; }

  void push(T entry) { entries_.push_back(std::move(entry)); }
  void pop() { pop(1); }
  void pop(std::size_t count) {
    head_ += count;
    if (head_ == entries_.size()) {
      entries_.clear();
      head_ = 0;
    } else if (head_ >= compact_at && head_ * 2 >= entries_.size()) {
      entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  void erase(std::size_t i) {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(head_ + i));
  }
  void clear() {
    entries_.clear();
    head_ = 0;
  }

 private:
  static constexpr std::size_t compact_at = 64;
  std::vector<T> entries_;
  std::size_t head_ = 0;
};

}  // namespace dwspool
