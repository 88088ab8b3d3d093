// The bytes of one burst on their way out, in order, without copying what already lies somewhere.
//
// add() borrows: the memory must stay unchanged until the list is sent or cleared, which is the
// end of the I/O callback that filled it. copy() takes the bytes into the list. Neighbouring
// pieces are merged, so that an untouched relay of one read is one slice.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool {

// Same layout as iovec; net checks it.
struct Slice {
  const char* data;
  std::size_t size;
};

class GatherList {
 public:
  void add(std::string_view bytes) {
    if (bytes.empty()) return;
    total_ += bytes.size();
    if (!slices_.empty()) {
      Slice& last = slices_.back();
      if (last.data + last.size == bytes.data()) {
        last.size += bytes.size();
        return;
      }
    }
    slices_.push_back({bytes.data(), bytes.size()});
  }

  void copy(std::string_view bytes);

  bool empty() const { return slices_.empty(); }
  std::size_t size() const { return total_; }
  const std::vector<Slice>& slices() const { return slices_; }

  // Takes back what was added last: `size` bytes stay. What was taken back stays readable until
  // clear(), so that parts of it can be added again.
  void truncate(std::size_t size);
  // Calls `visit` with each piece, in order, of what stands behind the first `from` bytes.
  template <class Visit>
  void for_each_from(std::size_t from, Visit&& visit) const {
    for (const Slice& slice : slices_) {
      if (from >= slice.size) {
        from -= slice.size;
        continue;
      }
      visit(std::string_view(slice.data + from, slice.size - from));
      from = 0;
    }
  }

  // All pieces as one string; for tests and for the rare path that must keep them.
  std::string flatten() const;

  void clear() {
    if (slices_.empty() && arena_used_ == 0) return;
    slices_.clear();
    total_ = 0;
    arena_used_ = 0;
    if (!overflow_.empty()) overflow_.clear();
  }

 private:
  static constexpr std::size_t arena_size = 4096;

  std::vector<Slice> slices_;
  std::size_t total_ = 0;
  std::unique_ptr<char[]> arena_;  // NOLINT(modernize-avoid-c-arrays): fixed scratch memory
  std::size_t arena_used_ = 0;
  std::deque<std::string> overflow_;  // stable addresses
};

}  // namespace dwspool
