// The plain SETs and RESETs of one session on their way: sent, answered, and held back until it
// is known how their transaction ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/fifo.h"

#include "dwspool/session/settings.h"

namespace dwspool::session {

struct SettingChange {
  enum class Kind : std::uint8_t {
    set,
    reset,      // to what the start-up packet asked for, or else to the server's default
    reset_raw,  // the server's own RESET: to the server's default, whatever the start-up packet
                // said
    reset_all,
    reset_all_raw,
    unclear,  // something happened to the settings that cannot be told
  };
  Kind kind = Kind::set;
  std::string name;   // lower case
  std::string value;  // set: SQL text
};

class SettingChanges {
 public:
  // A change goes out with the request that will be answered as number `request` (see
  // ReplyTracker::requests_done).
  void sent(std::uint64_t request, SettingChange change);

  // Request number `request` has been answered. False when a change can no longer be followed,
  // as when a text failed that may have committed a part of itself.
  bool answered(std::uint64_t request, bool failed);

  // Seen in the open transaction:
  // A CommandComplete in the answer to request number `request`.
  void on_tag(std::string_view tag, std::uint64_t request);
  void on_savepoint() { savepoints_ = savepoints_ || !changes_.empty() || !in_flight_.empty(); }
  // ReadyForQuery says that a transaction is open (a COMMIT seen before was AND CHAIN, a ROLLBACK
  // one to a savepoint).
  void on_transaction_goes_on();

  // The transaction is over.
  struct Ended {
    bool unclear = false;  // which of the changes hold cannot be told
    // What holds; `unclear` among them: see there. When all is unclear, the RESETs alone: what the
    // start-up packet asked for is to be made again.
    std::vector<SettingChange> changes;
  };
  Ended on_transaction_end();

  // Whether COMMIT and ROLLBACK are to be told by on_tag.
  bool watches() const { return !changes_.empty() || !in_flight_.empty(); }
  // The backend is left, or lost.
  void clear();

 private:
  // More settings than this in one transaction are not followed.
  static constexpr std::size_t max_changes = 256;

  struct InFlight {
    std::uint64_t request = 0;
    SettingChange change;
  };
  void add(SettingChange change);

  Fifo<InFlight> in_flight_;
  std::vector<SettingChange> changes_;
  bool committed_ = false;
  bool rolled_back_ = false;
  bool failed_ = false;
  bool savepoints_ = false;     // ... or other reasons why some changes may hold and others not
  std::uint64_t ended_by_ = 0;  // the request that ended the transaction
};

// What the changes make of the session's settings and of the backend's: `startup` is what the
// session goes back to.
struct Carried {
  SettingSet wanted;
  SettingSet applied;
  bool unclear = false;    // something happened that cannot be told
  bool all_known = false;  // RESET ALL has made an end of everything that could not be told
};
Carried carry(const std::vector<SettingChange>& changes, const SettingSet& startup,
              SettingSet wanted, SettingSet applied);

}  // namespace dwspool::session
