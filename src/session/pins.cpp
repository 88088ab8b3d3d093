// What binds the session to its backend, and what has come to its end: CLOSE, DROP, an unlock and
// their like may have taken the last of something with them. Only the server knows, so it is asked,
// once the client has its answer.
#include <array>
#include <string>
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

// The columns of the answer, in their order. On DWS the catalog shows the first three.
constexpr std::array<sql::Effect, 5> columns = {
    sql::Effect::advisory_lock, sql::Effect::held_cursor, sql::Effect::prepares,
    sql::Effect::listens, sql::Effect::temporary_object};
constexpr std::size_t dws_columns = 3;

constexpr std::string_view question =
    "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory'"
    " AND pid = pg_catalog.pg_backend_pid()),"
    " EXISTS(SELECT 1 FROM pg_catalog.pg_cursors WHERE is_holdable),"
    " EXISTS(SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE from_sql)";
constexpr std::string_view question_to_postgres =
    ", EXISTS(SELECT 1 FROM pg_catalog.pg_listening_channels()),"
    " EXISTS(SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())"
    " OR EXISTS(SELECT 1 FROM pg_catalog.pg_proc WHERE pronamespace ="
    " pg_catalog.pg_my_temp_schema())";

constexpr std::size_t columns_of(Dialect dialect) {
  return dialect == Dialect::dws ? dws_columns : columns.size();
}

// Settings of more bytes than this are not carried from backend to backend.
constexpr std::size_t max_carried = std::size_t{256} << 10U;

}  // namespace

void Session::pin(std::uint32_t effects, Output& out) {
  out.pins |= effects & ~pins_;
  pins_ |= effects;
  unpins_ &= ~effects;
  if (backend_ != nullptr) last_pin_ = next_request();
}

// Precondition: nothing is owed, and no transaction is open. Whether it was asked: then the
// client's next message waits for the answer.
bool Session::ask_about_pins(Output& out) {
  if (!pins_question_.wanted || pins_ == 0) return false;
  pins_question_.wanted = false;
  const std::size_t count = columns_of(backend_->dialect);
  std::uint32_t visible = 0;
  for (std::size_t i = 0; i < count; ++i) visible |= bit(columns[i]);
  // What cannot be seen binds the session anyway.
  if ((pins_ & ~visible) != 0 || pins_question_.refused) return false;
  pins_question_.asked = true;
  pins_question_.gone = 0;
  std::string sql(question);
  if (backend_->dialect != Dialect::dws) sql += question_to_postgres;
  std::string bytes;
  wire::append_query(bytes, sql);
  out.to_server.copy(bytes);
  push(ReplyKind::query, true);
  backend_->unnamed = {};  // a simple Query drops it
  return true;
}

// A row of the answer, as a whole message.
void Session::hear_about_pins(std::string_view message) {
  wire::Cursor row(message.substr(wire::header_size));
  const std::size_t count = columns_of(backend_->dialect);
  if (row.u16() != count) return;
  std::uint32_t gone = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (row.u32() != 1) return;
    if (row.bytes(1) == "f") gone |= bit(columns[i]);
  }
  if (row.finished_cleanly()) pins_question_.gone = gone;
}

// The answer is complete.
void Session::settle_pins() {
  pins_question_.asked = false;
  if ((pins_question_.gone & bit(sql::Effect::prepares)) != 0) forget_sql_statements();
  pins_ &= ~pins_question_.gone;
}

// The settings cannot be followed any more: only this backend has them.
void Session::bind_settings() {
  if (context_->config.mode != PoolMode::automatic) return;
  pins_ |= bit(sql::Effect::changes_setting);
}

void Session::carry_changes(const std::vector<SettingChange>& changes) {
  Carried carried = carry(changes, *startup_, *wanted_, *backend_->applied);
  if (carried.wanted.bytes() > max_carried) {
    bind_settings();
    backend_->dirty = true;
    return;
  }
  if (carried.unclear) {
    bind_settings();
  } else if (carried.all_known) {
    pins_ &= ~bit(sql::Effect::changes_setting);
  }
  wanted_ = context_->settings.intern(std::move(carried.wanted));
  backend_->applied = context_->settings.intern(std::move(carried.applied));
}

}  // namespace dwspool::session
