// SQLSTATEs that dwspool raises or decides by (PostgreSQL documentation, appendix A).
// The meaning of those it raises itself is the error contract of doc/errors.md.
#pragma once

#include <string_view>

namespace dwspool::wire::sqlstate {

inline constexpr std::string_view warning = "01000";
inline constexpr std::string_view connection_exception = "08000";
inline constexpr std::string_view connection_failure = "08006";
inline constexpr std::string_view transaction_resolution_unknown = "08007";
inline constexpr std::string_view protocol_violation = "08P01";
inline constexpr std::string_view feature_not_supported = "0A000";
inline constexpr std::string_view invalid_parameter_value = "22023";
inline constexpr std::string_view active_sql_transaction = "25001";
inline constexpr std::string_view read_only_sql_transaction = "25006";
inline constexpr std::string_view no_active_sql_transaction = "25P01";
inline constexpr std::string_view in_failed_sql_transaction = "25P02";
inline constexpr std::string_view invalid_sql_statement_name = "26000";
inline constexpr std::string_view invalid_authorization = "28000";
inline constexpr std::string_view invalid_password = "28P01";
inline constexpr std::string_view invalid_catalog_name = "3D000";
inline constexpr std::string_view duplicate_prepared_statement = "42P05";
inline constexpr std::string_view invalid_cursor_name = "34000";
inline constexpr std::string_view too_many_connections = "53300";
inline constexpr std::string_view serialization_failure = "40001";
inline constexpr std::string_view query_canceled = "57014";
inline constexpr std::string_view admin_shutdown = "57P01";
inline constexpr std::string_view cannot_connect_now = "57P03";

}  // namespace dwspool::wire::sqlstate
