// The life of one place in a pool:
//
//    open          opened          grant
//   ─────► opening ──────► idle ◄────────► lent ─┐ give_back_dirty
//             │              │   give_back  │    ▼
//             │ lost         │ expire,      │  cleaning ──► idle (cleaned)
//             ▼              ▼ lost         ▼    │ lost
//           free ◄───────────┴──────────────┴────┘
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dwspool::pool {

enum class SlotState : std::uint8_t { free, opening, idle, lent, cleaning };
enum class SlotEvent : std::uint8_t {
  open,             // a connection is being made
  opened,           // it has logged in
  grant,            // a client takes it
  give_back,        // the client is done, nothing is left of him
  give_back_dirty,  // ... something is
  cleaned,          // nothing is left any more
  expire,           // idle or alive for too long
  lost,             // the connection is gone, or was handed to another worker
};

constexpr std::optional<SlotState> next(SlotState state, SlotEvent event) {
  switch (state) {
    case SlotState::free:
      if (event == SlotEvent::open) return SlotState::opening;
      if (event == SlotEvent::opened) return SlotState::idle;  // from another worker
      break;
    case SlotState::opening:
      if (event == SlotEvent::opened) return SlotState::idle;
      if (event == SlotEvent::lost) return SlotState::free;
      break;
    case SlotState::idle:
      if (event == SlotEvent::grant) return SlotState::lent;
      if (event == SlotEvent::expire || event == SlotEvent::lost) return SlotState::free;
      break;
    case SlotState::lent:
      if (event == SlotEvent::give_back) return SlotState::idle;
      if (event == SlotEvent::give_back_dirty) return SlotState::cleaning;
      if (event == SlotEvent::lost) return SlotState::free;
      break;
    case SlotState::cleaning:
      if (event == SlotEvent::cleaned) return SlotState::idle;
      if (event == SlotEvent::lost) return SlotState::free;
      break;
  }
  return std::nullopt;
}
static_assert(next(SlotState::lent, SlotEvent::give_back_dirty) == SlotState::cleaning);
static_assert(!next(SlotState::idle, SlotEvent::give_back));  // nothing is given back twice
static_assert(!next(SlotState::lent, SlotEvent::grant));      // nothing is lent twice

constexpr std::string_view to_string(SlotState state) {
  switch (state) {
    case SlotState::free:
      return "free";
    case SlotState::opening:
      return "opening";
    case SlotState::idle:
      return "idle";
    case SlotState::lent:
      return "lent";
    case SlotState::cleaning:
      return "cleaning";
  }
  return "?";
}

}  // namespace dwspool::pool
