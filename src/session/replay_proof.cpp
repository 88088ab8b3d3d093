// Before a read is run again: proof, by the server's catalog, that it is one.
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/retry/catalog_question.h"
#include "dwspool/retry/facts.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

constexpr std::uint32_t null_value = 0xFFFFFFFF;  // the length of a value that is none

}  // namespace

retry::CatalogScope ReplayedSession::catalog_scope() const {
  const SettingsPtr& wanted = session_.wanted_settings();
  return {{}, {}, wanted->empty() ? std::string() : statement_scope(*wanted)};
}

// True when it is proven. Else the catalog is being asked, or the run is over: `next` says how to
// go on.
bool ReplayedSession::prove(Next& next, Output& out, TimePoint now) {
  if (run_->must_read == 0) return true;
  retry::CatalogNames missing;
  const std::optional<bool> harmless =
      replay_->catalog.harmless(catalog_scope(), names_in_log(run_->must_read), now, missing);
  if (harmless && *harmless) {
    run_->must_read = 0;
    if (run_->report.sqlstate == wire::sqlstate::transaction_resolution_unknown) {
      run_->report.sqlstate = wire::sqlstate::connection_failure;
      run_->report.message = "the connection to the database server was lost before it answered";
      run_->report.hint = "What was asked only reads. It can be run again.";
    }
    return true;
  }
  if (harmless || run_->asked) {
    next = give_up(run_->report, retry::ReplayResult::not_read, next, out, now);
    return false;
  }
  ask(retry::catalog_question(missing), next, out);
  return false;
}

// The answer of the catalog; the client sees nothing of it.
Next ReplayedSession::hear_catalog(std::string_view bytes, Next next, Output& out, TimePoint now) {
  while (!bytes.empty()) {
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status != wire::FrameStatus::complete) break;  // no row of it is that large
    const wire::Frame frame = wire::take_frame(bytes, view);
    if (frame.type == be::error_response) {
      if (const auto taken = take_error_again(frame, next, out, now)) return *taken;
    }
    if (frame.type == be::data_row) {
      std::vector<std::optional<std::string_view>> columns;
      wire::Cursor cursor(frame.body());
      const std::uint16_t count = cursor.u16();
      for (std::uint16_t i = 0; i < count && cursor.ok(); ++i) {
        const std::uint32_t size = cursor.u32();
        if (size == null_value) {
          columns.emplace_back();
        } else {
          columns.emplace_back(cursor.bytes(size));
        }
      }
      if (const auto verdict = retry::read_catalog_row(columns); verdict && cursor.ok()) {
        replay_->catalog.note(catalog_scope(), *verdict, now);
      }
    }
    if (frame.type != be::ready_for_query) continue;
    run_->asked = true;
    phase_ = Phase::replaying;
    next = leave_backend(next, false);
    rewind();
    return next;
  }
  return next;
}

}  // namespace dwspool::session
