// Bytes that could not be handed on at once: appended at the end, consumed from the front.
// Holds no memory while empty, so that idle connections cost nothing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dwspool {

class ByteQueue {
 public:
  bool empty() const { return head_ == data_.size(); }
  std::size_t size() const { return data_.size() - head_; }

  // Valid until the next call of a non-const member.
  std::string_view view() const { return std::string_view(data_).substr(head_); }

  void append(std::string_view bytes) {
    if (head_ > 0 && head_ * 2 >= data_.size()) compact();
    data_.append(bytes);
  }

  // Room for n bytes at the end, to be read into; shrink_by() gives back what was not used.
  char* grow_by(std::size_t n) {
    if (head_ > 0) compact();
    const std::size_t old = data_.size();
    data_.resize(old + n);
    return data_.data() + old;
  }
  void shrink_by(std::size_t n) { data_.resize(data_.size() - n); }

  // Precondition: n <= size().
  void consume(std::size_t n) {
    head_ += n;
    if (head_ == data_.size()) release();
  }

  // Replaces the content. `bytes` may lie inside the present content.
  void assign(std::string_view bytes) {
    if (bytes.empty()) {
      release();
      return;
    }
    if (bytes.data() >= data_.data() && bytes.data() < data_.data() + data_.size()) {
      head_ = static_cast<std::size_t>(bytes.data() - data_.data());
      data_.resize(head_ + bytes.size());
      return;
    }
    head_ = 0;
    data_.assign(bytes);
  }

  void release() {
    head_ = 0;
    std::string().swap(data_);
  }

 private:
  void compact() {
    data_.erase(0, head_);
    head_ = 0;
  }

  std::string data_;
  std::size_t head_ = 0;
};

}  // namespace dwspool
