// A stream arrives in pieces that nobody can choose: whole, byte by byte, and cut anywhere.
// Whatever reads it must come to the same end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::testing {

struct Cutting {
  std::string name;  // for INFO; the random ones are the same in every run
  std::vector<std::string_view> pieces;
};

// Whole, byte by byte, and `random_ones` of either few or many random cuts. The pieces point
// into `bytes`.
inline std::vector<Cutting> cuttings(std::string_view bytes, unsigned random_ones = 20) {
  std::vector<Cutting> all;
  all.push_back({"whole", {bytes}});
  Cutting single{"byte by byte", {}};
  for (std::size_t i = 0; i < bytes.size(); ++i) single.pieces.push_back(bytes.substr(i, 1));
  all.push_back(std::move(single));
  for (unsigned seed = 1; seed <= random_ones; ++seed) {
    std::mt19937 random(seed);
    const std::size_t longest = std::max<std::size_t>(
        seed % 2 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 16), 1);
    std::uniform_int_distribution<std::size_t> size(1, longest);
    Cutting cutting{"random cuts, seed " + std::to_string(seed), {}};
    std::string_view rest = bytes;
    while (!rest.empty()) {
      cutting.pieces.push_back(rest.substr(0, size(random)));
      rest.remove_prefix(cutting.pieces.back().size());
    }
    all.push_back(std::move(cutting));
  }
  return all;
}

// A copy that ends where its memory ends, so that AddressSanitizer sees a read of one byte too
// many (a std::string has its NUL there).
class Exact {
 public:
  explicit Exact(std::string_view bytes)
      : size_(bytes.size()), data_(std::make_unique<char[]>(bytes.size())) {  // NOLINT
    if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
  }
  std::string_view view() const { return {data_.get(), size_}; }
  operator std::string_view() const { return view(); }  // NOLINT: it stands for its bytes

 private:
  std::size_t size_;
  std::unique_ptr<char[]> data_;  // NOLINT(modernize-avoid-c-arrays): the very point
};

// `count` random bytes out of `alphabet`, all 256 when that is empty.
inline std::string random_text(std::mt19937& random, std::size_t count,
                               std::string_view alphabet = {}) {
  std::uniform_int_distribution<std::size_t> pick(0, alphabet.empty() ? 255 : alphabet.size() - 1);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += alphabet.empty() ? static_cast<char>(pick(random)) : alphabet[pick(random)];
  }
  return text;
}

}  // namespace dwspool::testing
