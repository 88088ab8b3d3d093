// The columns of every SHOW.
#include <algorithm>
#include <array>
#include <cstddef>

#include "dwspool/console/show.h"

namespace dwspool::console {
namespace {

constexpr auto text = Type::text;
constexpr auto int4 = Type::int4;
constexpr auto int8 = Type::int8;
constexpr auto numeric = Type::numeric;

constexpr auto pools_columns = std::to_array<Column>({{"database", text},
                                                      {"user", text},
                                                      {"cl_active", int4},
                                                      {"cl_waiting", int4},
                                                      {"cl_active_cancel_req", int4},
                                                      {"cl_waiting_cancel_req", int4},
                                                      {"sv_active", int4},
                                                      {"sv_active_cancel", int4},
                                                      {"sv_being_canceled", int4},
                                                      {"sv_idle", int4},
                                                      {"sv_used", int4},
                                                      {"sv_tested", int4},
                                                      {"sv_login", int4},
                                                      {"maxwait", int4},
                                                      {"maxwait_us", int4},
                                                      {"pool_mode", text},
                                                      {"load_balance_hosts", text}});

constexpr auto stats_columns = std::to_array<Column>({{"database", text},
                                                      {"total_server_assignment_count", numeric},
                                                      {"total_xact_count", numeric},
                                                      {"total_query_count", numeric},
                                                      {"total_received", numeric},
                                                      {"total_sent", numeric},
                                                      {"total_xact_time", numeric},
                                                      {"total_query_time", numeric},
                                                      {"total_wait_time", numeric},
                                                      {"total_client_parse_count", numeric},
                                                      {"total_server_parse_count", numeric},
                                                      {"total_bind_count", numeric},
                                                      {"total_client_login_count", numeric},
                                                      {"avg_server_assignment_count", numeric},
                                                      {"avg_xact_count", numeric},
                                                      {"avg_query_count", numeric},
                                                      {"avg_recv", numeric},
                                                      {"avg_sent", numeric},
                                                      {"avg_xact_time", numeric},
                                                      {"avg_query_time", numeric},
                                                      {"avg_wait_time", numeric},
                                                      {"avg_client_parse_count", numeric},
                                                      {"avg_server_parse_count", numeric},
                                                      {"avg_bind_count", numeric},
                                                      {"avg_client_login_count", numeric}});

constexpr auto stats_totals_columns = std::to_array<Column>({{"database", text},
                                                             {"server_assignment_count", numeric},
                                                             {"xact_count", numeric},
                                                             {"query_count", numeric},
                                                             {"bytes_received", numeric},
                                                             {"bytes_sent", numeric},
                                                             {"xact_time", numeric},
                                                             {"query_time", numeric},
                                                             {"wait_time", numeric},
                                                             {"client_parse_count", numeric},
                                                             {"server_parse_count", numeric},
                                                             {"bind_count", numeric},
                                                             {"client_login_count", numeric}});

constexpr auto stats_averages_columns =
    std::to_array<Column>({{"database", text},
                           {"server_assignment_count", numeric},
                           {"xact_count", numeric},
                           {"query_count", numeric},
                           {"bytes_received", numeric},
                           {"bytes_sent", numeric},
                           {"xact_time", numeric},
                           {"query_time", numeric},
                           {"wait_time", numeric},
                           {"avg_client_parse_count", numeric},
                           {"avg_server_parse_count", numeric},
                           {"avg_bind_count", numeric},
                           {"avg_client_login_count", numeric}});

constexpr auto name_value_columns = std::to_array<Column>({{"name", text}, {"value", numeric}});
constexpr auto key_value_columns = std::to_array<Column>({{"key", text}, {"value", text}});

// SOCKETS is CLIENTS and SERVERS with seven columns more.
constexpr auto sockets_columns = std::to_array<Column>({{"type", text},
                                                        {"user", text},
                                                        {"database", text},
                                                        {"replication", text},
                                                        {"state", text},
                                                        {"addr", text},
                                                        {"port", int4},
                                                        {"local_addr", text},
                                                        {"local_port", int4},
                                                        {"connect_time", text},
                                                        {"request_time", text},
                                                        {"wait", int4},
                                                        {"wait_us", int4},
                                                        {"close_needed", int4},
                                                        {"ptr", text},
                                                        {"link", text},
                                                        {"remote_pid", int4},
                                                        {"tls", text},
                                                        {"application_name", text},
                                                        {"prepared_statements", int4},
                                                        {"id", int4},
                                                        {"recv_pos", int4},
                                                        {"pkt_pos", int4},
                                                        {"pkt_remain", int4},
                                                        {"send_pos", int4},
                                                        {"send_remain", int4},
                                                        {"pkt_avail", int4},
                                                        {"send_avail", int4}});
constexpr std::size_t connection_columns = 21;

constexpr auto databases_columns = std::to_array<Column>({{"name", text},
                                                          {"host", text},
                                                          {"port", int4},
                                                          {"database", text},
                                                          {"force_user", text},
                                                          {"pool_size", int4},
                                                          {"min_pool_size", int4},
                                                          {"reserve_pool_size", int4},
                                                          {"server_lifetime", int4},
                                                          {"pool_mode", text},
                                                          {"load_balance_hosts", text},
                                                          {"max_connections", int4},
                                                          {"current_connections", int4},
                                                          {"max_client_connections", int4},
                                                          {"current_client_connections", int4},
                                                          {"paused", int4},
                                                          {"disabled", int4}});

constexpr auto users_columns = std::to_array<Column>({{"name", text},
                                                      {"pool_size", text},
                                                      {"reserve_pool_size", text},
                                                      {"pool_mode", text},
                                                      {"max_user_connections", int4},
                                                      {"current_connections", int4},
                                                      {"max_user_client_connections", int4},
                                                      {"current_client_connections", int4}});

constexpr auto config_columns = std::to_array<Column>(
    {{"key", text}, {"value", text}, {"default", text}, {"changeable", text}});
constexpr auto lists_columns = std::to_array<Column>({{"list", text}, {"items", int4}});
constexpr auto peers_columns =
    std::to_array<Column>({{"peer_id", int4}, {"host", text}, {"port", int4}, {"pool_size", int4}});
constexpr auto peer_pools_columns = std::to_array<Column>({{"peer_id", int4},
                                                           {"cl_active_cancel_req", int4},
                                                           {"cl_waiting_cancel_req", int4},
                                                           {"sv_active_cancel", int4},
                                                           {"sv_login", int4}});
constexpr auto version_columns = std::to_array<Column>({{"version", text}});
constexpr auto mem_columns = std::to_array<Column>(
    {{"name", text}, {"size", int4}, {"used", int4}, {"free", int4}, {"memtotal", int4}});
constexpr auto dns_hosts_columns =
    std::to_array<Column>({{"hostname", text}, {"ttl", int8}, {"addrs", text}});
constexpr auto dns_zones_columns =
    std::to_array<Column>({{"zonename", text}, {"serial", int8}, {"count", int4}});
constexpr auto coordinators_columns = std::to_array<Column>({{"cluster", text},
                                                             {"coordinator", text},
                                                             {"state", text},
                                                             {"connections", int8},
                                                             {"opened", int8},
                                                             {"failures", int8},
                                                             {"role", text},
                                                             {"serving", text}});
constexpr auto pins_columns = std::to_array<Column>({{"id", int4},
                                                     {"database", text},
                                                     {"user", text},
                                                     {"addr", text},
                                                     {"port", int4},
                                                     {"application_name", text},
                                                     {"reasons", text},
                                                     {"backend_pid", int4}});
constexpr auto replay_columns = std::to_array<Column>({{"name", text},
                                                       {"database", text},
                                                       {"user", text},
                                                       {"failure", text},
                                                       {"outcome", text},
                                                       {"value", numeric}});

template <std::size_t Many, std::size_t Few>
constexpr std::array<Column, Many + Few> joined(const std::array<Column, Many>& columns,
                                                const std::array<Column, Few>& more) {
  std::array<Column, Many + Few> all{};
  std::copy(columns.begin(), columns.end(), all.begin());
  std::copy(more.begin(), more.end(), all.begin() + Many);
  return all;
}

// Before PgBouncer 1.8.
constexpr auto stats_with_old =
    joined(stats_columns, std::to_array<Column>({{"total_requests", numeric}}));
// Before 1.24.
constexpr auto databases_with_old =
    joined(databases_columns, std::to_array<Column>({{"reserve_pool", int4}}));

}  // namespace

std::span<const Column> columns_of(Show what) {
  switch (what) {
    case Show::help:
    case Show::fds:
      break;
    case Show::config:
      return config_columns;
    case Show::databases:
      return databases_columns;
    case Show::databases_with_old:
      return databases_with_old;
    case Show::pools:
      return pools_columns;
    case Show::clients:
    case Show::servers:
      return std::span(sockets_columns).first<connection_columns>();
    case Show::users:
      return users_columns;
    case Show::version:
      return version_columns;
    case Show::peers:
      return peers_columns;
    case Show::peer_pools:
      return peer_pools_columns;
    case Show::sockets:
    case Show::active_sockets:
      return sockets_columns;
    case Show::lists:
      return lists_columns;
    case Show::mem:
      return mem_columns;
    case Show::state:
      return key_value_columns;
    case Show::dns_hosts:
      return dns_hosts_columns;
    case Show::dns_zones:
      return dns_zones_columns;
    case Show::stats:
      return stats_columns;
    case Show::stats_with_old:
      return stats_with_old;
    case Show::stats_totals:
      return stats_totals_columns;
    case Show::stats_averages:
      return stats_averages_columns;
    case Show::totals:
      return name_value_columns;
    case Show::coordinators:
      return coordinators_columns;
    case Show::pins:
      return pins_columns;
    case Show::replay:
      return replay_columns;
  }
  return {};
}

}  // namespace dwspool::console
