#include "retry/known_functions.h"

#include <algorithm>
#include <array>

namespace dwspool::retry {
namespace {

struct Builtin {
  std::string_view name;
  char kind;
};

constexpr auto builtins = std::to_array<Builtin>({
#include "retry/builtin_functions.inc"
});

// Volatile, but nothing remains of a call.
constexpr std::array<std::string_view, 9> volatile_only_in_result = {
    "clock_timestamp", "gen_random_uuid", "pg_is_in_recovery",   "pg_sleep", "pg_sleep_for",
    "pg_sleep_until",  "random",          "statement_timestamp", "timeofday"};

constexpr std::array<std::string_view, 44> outside = {
    "http",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_cancel_backend",
    "pg_cancel_query",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_execute_server_program",
    "pg_export_snapshot",
    "pg_file_rename",
    "pg_file_sync",
    "pg_file_unlink",
    "pg_file_write",
    "pg_log_backend_memory_contexts",
    "pg_log_standby_snapshot",
    "pg_logfile_rotate",
    "pg_logical_emit_message",
    "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_get_changes",
    "pg_promote",
    "pg_reload_conf",
    "pg_replication_origin_advance",
    "pg_replication_origin_create",
    "pg_replication_origin_drop",
    "pg_replication_slot_advance",
    "pg_rotate_logfile",
    "pg_start_backup",
    "pg_stat_reset",
    "pg_stat_reset_shared",
    "pg_stat_statements_reset",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_switch_xlog",
    "pg_terminate_backend",
    "pg_terminate_query",
    "pg_terminate_session",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
    "pgxc_pool_reload",
    "pg_xlog_replay_pause",
};
constexpr std::array<std::string_view, 7> outside_prefixes = {
    "dblink", "http_", "lo_", "pgxc_cancel_", "pgxc_terminate_", "aws_", "gs_"};
constexpr std::array<std::string_view, 2> outside_besides = {"loread", "lowrite"};
// Packages of DWS, and extensions that live in a schema of their own.
constexpr std::array<std::string_view, 13> outside_schemas = {
    "utl_file",   "utl_http",   "utl_smtp", "utl_tcp", "dbms_job",   "dbms_scheduler", "dbms_pipe",
    "dbms_alert", "dbms_aqadm", "dbms_sql", "cron",    "aws_lambda", "aws_s3"};

constexpr std::array<std::string_view, 16> on_session = {
    "currval",
    "lastval",
    "nextval",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_listening_channels",
    "pg_replication_origin_session_reset",
    "pg_replication_origin_session_setup",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "set_config",
    "setseed",
    "setval",
};

template <class Range>
bool lists(const Range& range, std::string_view name) {
  return std::find(range.begin(), range.end(), name) != range.end();
}

const Builtin* find_builtin(const FunctionName& function) {
  if (!function.schema.empty()) return nullptr;
  const auto* const found =
      std::lower_bound(builtins.begin(), builtins.end(), std::string_view(function.name),
                       [](const Builtin& each, std::string_view name) { return each.name < name; });
  return found != builtins.end() && found->name == function.name ? found : nullptr;
}

}  // namespace

bool is_harmless(const FunctionName& function) {
  if (find_builtin(function) != nullptr) return true;
  return function.schema.empty() && lists(volatile_only_in_result, function.name);
}

bool returns_rows(const FunctionName& function) {
  const Builtin* const builtin = find_builtin(function);
  return builtin != nullptr && builtin->kind == 's';
}

bool is_aggregate(const FunctionName& function) {
  const Builtin* const builtin = find_builtin(function);
  return builtin != nullptr && builtin->kind == 'a';
}

bool acts_outside(const FunctionName& function) {
  const std::string_view name = function.name;
  return lists(outside, name) || lists(outside_besides, name) ||
         lists(outside_schemas, function.schema) ||
         std::any_of(outside_prefixes.begin(), outside_prefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

bool acts_on_session(const FunctionName& function) {
  return lists(on_session, function.name);
}

}  // namespace dwspool::retry
