// Constants of the PostgreSQL frontend/backend protocol, version 3 (PostgreSQL documentation,
// chapter "Frontend/Backend Protocol", "Message Formats"), and of GaussDB's extension of it
// (doc/gaussdb-protocol.md).
#pragma once

#include <cstddef>
#include <cstdint>

namespace dwspool::wire {

// Protocol version numbers: major in the high 16 bits, minor in the low ones.
inline constexpr std::uint32_t protocol_3_0 = 196608;
inline constexpr std::uint32_t protocol_gauss_3_51 = 196659;

// Request codes that stand where a version would (startup packets only).
inline constexpr std::uint32_t cancel_request_code = 80877102;
inline constexpr std::uint32_t ssl_request_code = 80877103;
inline constexpr std::uint32_t gssenc_request_code = 80877104;

// Type byte and length word in front of every message but the startup packets.
inline constexpr std::size_t header_size = 5;

// The server's own limits: no message is longer than 1 GB, and those that carry no user data
// stay below 10 kB (libpq's PQ_LARGE_MESSAGE_LIMIT and PQ_SMALL_MESSAGE_LIMIT).
inline constexpr std::uint32_t max_message_length = 0x3fffffff;
inline constexpr std::uint32_t max_startup_length = 10000;

// First byte of a message from the client.
namespace frontend {
inline constexpr char bind = 'B';
inline constexpr char close = 'C';
inline constexpr char copy_data = 'd';
inline constexpr char copy_done = 'c';
inline constexpr char copy_fail = 'f';
inline constexpr char describe = 'D';
inline constexpr char execute = 'E';
inline constexpr char flush = 'H';
inline constexpr char function_call = 'F';
inline constexpr char parse = 'P';
inline constexpr char password = 'p';  // also SASL answers
inline constexpr char query = 'Q';
inline constexpr char sync = 'S';
inline constexpr char terminate = 'X';
}  // namespace frontend

// First byte of a message from the server.
namespace backend {
inline constexpr char authentication = 'R';
inline constexpr char backend_key_data = 'K';
inline constexpr char bind_complete = '2';
inline constexpr char close_complete = '3';
inline constexpr char command_complete = 'C';
inline constexpr char copy_both_response = 'W';
inline constexpr char copy_data = 'd';
inline constexpr char copy_done = 'c';
inline constexpr char copy_in_response = 'G';
inline constexpr char copy_out_response = 'H';
inline constexpr char data_row = 'D';
inline constexpr char empty_query_response = 'I';
inline constexpr char error_response = 'E';
inline constexpr char function_call_response = 'V';
inline constexpr char negotiate_protocol_version = 'v';
inline constexpr char no_data = 'n';
inline constexpr char notice_response = 'N';
inline constexpr char notification_response = 'A';
inline constexpr char parameter_description = 't';
inline constexpr char parameter_status = 'S';
inline constexpr char parse_complete = '1';
inline constexpr char portal_suspended = 's';
inline constexpr char ready_for_query = 'Z';
inline constexpr char row_description = 'T';
}  // namespace backend

// The code in an Authentication message. 10 to 12 mean something else when the server is
// GaussDB (doc/gaussdb-protocol.md).
namespace auth_code {
inline constexpr std::uint32_t ok = 0;
inline constexpr std::uint32_t cleartext = 3;
inline constexpr std::uint32_t md5 = 5;
inline constexpr std::uint32_t sasl = 10;
inline constexpr std::uint32_t sasl_continue = 11;
inline constexpr std::uint32_t sasl_final = 12;
inline constexpr std::uint32_t gauss_sha256 = 10;
inline constexpr std::uint32_t gauss_md5_sha256 = 11;
inline constexpr std::uint32_t gauss_sm3 = 13;
}  // namespace auth_code

// The status byte of ReadyForQuery.
enum class TxStatus : char { idle = 'I', in_transaction = 'T', failed = 'E' };

}  // namespace dwspool::wire
