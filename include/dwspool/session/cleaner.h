// What a client leaves behind, put right: a conversation of dwspool's own with a backend that no
// client holds any more.
//
//   finishing ─► rolling_back ─► resetting ─► done
//        any ─► failed
//
// What the client had sent is let run to its end, as it would be on a direct connection, and the
// answers are thrown away; a batch without its Sync is made to fail; an open transaction is rolled
// back; session state is cleaned away by what the dialect has (DISCARD ALL on PostgreSQL, single
// statements on DWS). A backend that cannot be cleaned is to be closed. How long that may take is
// the shell's to bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dwspool/session/backend.h"
#include "dwspool/session/output.h"
#include "dwspool/session/settings.h"

namespace dwspool::session {

class Cleaner {
 public:
  enum class State : std::uint8_t { finishing, rolling_back, resetting, done, failed };

  // `backend` outlives the cleaner. Session state is reset if Backend::dirty says so.
  Cleaner(Backend& backend, Interner<ReportedSet>& reported, SettingsPtr no_settings)
      : backend_(&backend), reported_(&reported), no_settings_(std::move(no_settings)) {}

  // Whether there is anything to do at all.
  static bool needed(const Backend& backend);

  State start(Output& out);
  // Consumes from the front of `in`.
  State on_server(std::string_view& in, Output& out);
  State state() const { return state_; }

 private:
  State advance(Output& out);
  State on_frame(char type, std::string_view body, Output& out);
  void ask(std::string_view sql, Output& out);
  void finish();

  Backend* backend_;
  Interner<ReportedSet>* reported_;
  SettingsPtr no_settings_;
  State state_ = State::finishing;
  std::size_t stream_left_ = 0;
};

}  // namespace dwspool::session
