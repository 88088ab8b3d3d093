#include "dwspool/retry/transcript.h"

#define XXH_INLINE_ALL
#include <bit>

#include <xxhash.h>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/types.h"

namespace dwspool::retry {
namespace {

namespace be = wire::backend;

// The types of PostgreSQL's own catalog have the same OIDs everywhere.
constexpr std::uint32_t first_user_oid = 16384;

Digest hash_of(char type, std::string_view bytes) {
  const XXH128_hash_t hash =
      XXH3_128bits_withSeed(bytes.data(), bytes.size(), static_cast<unsigned char>(type));
  return {hash.low64, hash.high64};
}

// Order matters, and so does how often something comes.
void mix(Digest& into, const Digest& hash) {
  into.low = (std::rotl(into.low, 27) ^ hash.low) * 0x9E3779B97F4A7C15ULL + 1;
  into.high = (std::rotl(into.high, 31) ^ hash.high) * 0xC2B2AE3D27D4EB4FULL + hash.low;
}

// Names, types, modifiers and formats; without the table and column that a value comes from.
Digest hash_of_description(std::string_view body) {
  Digest digest = hash_of(be::row_description, {});
  wire::Cursor cursor(body);
  const std::uint16_t count = cursor.u16();
  for (std::uint16_t i = 0; i < count && cursor.ok(); ++i) {
    mix(digest, hash_of('n', cursor.cstring()));
    static_cast<void>(cursor.bytes(6));  // table and column
    const std::uint32_t type = cursor.u32();
    const std::uint16_t size = cursor.u16();
    const std::uint32_t modifier = cursor.u32();
    const std::uint16_t format = cursor.u16();
    mix(digest, {type < first_user_oid ? type : first_user_oid,
                 (static_cast<std::uint64_t>(size) << 48U) ^
                     (static_cast<std::uint64_t>(format) << 40U) ^ modifier});
  }
  if (!cursor.ok()) return hash_of(be::row_description, body);
  return digest;
}

constexpr bool is_row(char type) {
  return type == be::data_row || type == be::copy_data;
}

}  // namespace

class MessageHash {
 public:
  MessageHash() : state_(XXH3_createState()) {}
  ~MessageHash() { XXH3_freeState(state_); }
  MessageHash(const MessageHash&) = delete;
  MessageHash& operator=(const MessageHash&) = delete;

  void begin(char type) { XXH3_128bits_reset_withSeed(state_, static_cast<unsigned char>(type)); }
  void add(std::string_view bytes) { XXH3_128bits_update(state_, bytes.data(), bytes.size()); }
  Digest end() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_);
    return {hash.low64, hash.high64};
  }

 private:
  XXH3_state_t* state_;
};

Transcript::Transcript() = default;
Transcript::~Transcript() = default;
Transcript::Transcript(Transcript&&) noexcept = default;
Transcript& Transcript::operator=(Transcript&&) noexcept = default;

bool is_seen(char type) {
  return type != be::notice_response && type != be::notification_response &&
         type != be::parameter_status && type != be::backend_key_data;
}

void Transcript::row(const Digest& hash) {
  mix(current_.ordered, hash);
  rows_.low += hash.low;
  rows_.high += hash.high ^ std::rotl(hash.low, 17);
  ++row_count_;
  ++current_.messages;
}

void Transcript::end_rows() {
  if (row_count_ == 0) return;
  mix(current_.unordered, rows_);
  mix(current_.unordered, {row_count_, 0});
  rows_ = {};
  row_count_ = 0;
}

void Transcript::seen(const Digest& hash) {
  end_rows();
  mix(current_.ordered, hash);
  mix(current_.unordered, hash);
  ++current_.messages;
}

void Transcript::add(char type, std::string_view body) {
  if (is_row(type)) {
    row(hash_of(type, body));
    return;
  }
  switch (type) {
    case be::row_description:
      seen(hash_of_description(body));
      return;
    case be::error_response:
      current_.failed = true;
      seen(hash_of(type, wire::read_error(body).sqlstate));
      return;
    case be::command_complete:
    case be::empty_query_response:
    case be::portal_suspended:
      ++current_.completed;
      seen(hash_of(type, body));
      return;
    case be::function_call_response:
      seen(hash_of(type, body));
      return;
    case be::ready_for_query:
      seen(hash_of(type, body));
      units_.push_back(current_);
      current_ = {};
      return;
    default:
      if (is_seen(type)) seen(hash_of(type, {}));
      return;
  }
}

void Transcript::begin_large(char type, std::string_view body_so_far, std::size_t left) {
  if (!large_) large_ = std::make_unique<MessageHash>();
  large_->begin(type);
  large_->add(body_so_far);
  large_left_ = left;
}

void Transcript::add_rest(std::string_view bytes) {
  large_->add(bytes);
  large_left_ -= bytes.size();
  if (large_left_ == 0) row(large_->end());
}

void Transcript::clear() {
  units_.clear();
  current_ = {};
  rows_ = {};
  row_count_ = 0;
  large_left_ = 0;
}

}  // namespace dwspool::retry
