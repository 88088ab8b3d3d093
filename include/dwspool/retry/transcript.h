// What a client has been told in a transaction, in the form in which a second run of it is
// compared with the first: digests of what an application can see, and nothing else.
//
// Seen are rows, row descriptions (names, types, formats), command tags, SQLSTATEs and the order
// of all these; not seen are notices, parameters, the OIDs of tables and the texts of errors,
// which differ between servers that give the same results (replay.md, traps 17 and 18). Each unit
// (what is answered by one ReadyForQuery) has two digests: one in which the rows of a result are
// in order, and one in which they are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace dwspool::retry {

struct Digest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Digest&, const Digest&) = default;
};

struct UnitDigest {
  Digest ordered;
  Digest unordered;
  std::uint32_t messages = 0;   // of those that are seen
  std::uint32_t completed = 0;  // statements, by CommandComplete and its like
  bool failed = false;          // an ErrorResponse is among them
};

// The hash of one message that may come in pieces.
class MessageHash;

class Transcript {
 public:
  Transcript();
  ~Transcript();
  Transcript(Transcript&&) noexcept;
  Transcript& operator=(Transcript&&) noexcept;

  // A message from the server's side that went to the client, whole.
  void add(char type, std::string_view body);
  // The same for one of which only the beginning is there (header and all); the rest comes by
  // add_rest. Only rows and COPY data come so. `left`: bytes that are still to come.
  void begin_large(char type, std::string_view body_so_far, std::size_t left);
  void add_rest(std::string_view bytes);
  std::size_t large_left() const { return large_left_; }

  // The units that are answered in full, in order.
  const std::vector<UnitDigest>& units() const { return units_; }
  // The one under way: what of it was told so far.
  const UnitDigest& current() const { return current_; }
  // Nothing was told at all.
  bool untold() const { return units_.empty() && between_units(); }
  // Nothing of the unit under way was told yet.
  bool between_units() const { return current_.messages == 0 && large_left_ == 0; }

  void clear();

 private:
  void row(const Digest& hash);
  void end_rows();
  void seen(const Digest& hash);

  std::vector<UnitDigest> units_;
  UnitDigest current_;
  Digest rows_;  // sum over the rows of the result under way
  std::uint64_t row_count_ = 0;
  std::size_t large_left_ = 0;
  std::unique_ptr<MessageHash> large_;
};

// Whether a client notices the message at all.
bool is_seen(char type);

}  // namespace dwspool::retry
