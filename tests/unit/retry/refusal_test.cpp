#include "dwspool/retry/refusal.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::retry {
namespace {

std::string meaning(const ErrorTable& table, std::string_view sqlstate, std::string_view message,
                    Dialect dialect) {
  wire::ErrorFields error;
  error.severity = "ERROR";
  error.sqlstate = sqlstate;
  error.message = message;
  return std::string(to_string(table.meaning(error, dialect)));
}

constexpr std::string_view seed =
    "pooler: failed to create 1 connections, Error Message: remote node dn_6003_6004, detail: "
    "could not connect to server: Operation now in progress";

struct Row {
  std::string_view sqlstate;
  std::string_view message;
  std::string_view meaning;
};

// What DWS, or what it comes from, is documented to say.
constexpr Row said_by_dws[] = {
    {"08006", seed, "refused"},
    {"08000", "pooler: failed to make connection to dn_6001_6002", "refused"},
    {"YY001", "pooler: failed to get connections", "refused"},
    {"YY004", "Failed to connect Nodes: dn_6003_6004", "refused"},
    {"08006", "dn_6003_6004 is switched due to failover, pending", "refused"},
    {"08006",
     "pooler: 创建 1 个连接失败，错误信息: 远端节点 dn_6003_6004，详细信息: 无法连接到服务器",
     "refused"},
    // The code without the text, and the text without the code.
    {"08006", "Can not connect to gtm when getting gxid, there is a connection error.", "doubtful"},
    {"08006", "Pooler: Failed To Create 1 connections", "doubtful"},
    {"42601", seed, "ordinary"},
    {"XX000", seed, "ordinary"},
    {"53300", "pooler: Failed to create agent, number of agent reaches MaxAgentCount: 5",
     "ordinary"},
    {"YY002", seed, "doubtful"},
    // A commit, whatever else is said.
    {"08000", "Failed to COMMIT the transaction on nodes: dn_6003_6004.", "doubtful"},
    {"08006", "failed to send COMMIT command to node", "doubtful"},
    {"08006", "pooler: failed to create 1 connections for Commit", "doubtful"},
    {"08000", "在节点 dn_6003_6004 上提交事务失败。", "doubtful"},
    {"08000", "pooler: 创建 1 个连接失败, 提交", "doubtful"},
    {"XX000", "Failed to COMMIT the transaction on nodes: dn_6003_6004.", "doubtful"},
    {"53200", "out of memory during commit", "doubtful"},
    {"", "failed to COMMIT", "doubtful"},
    // Relayed from a node, which got the statement.
    {"08006", "dn_6003_6004: pooler: failed to create 1 connections", "doubtful"},
    {"57P01", "dn_6003_6004: [FATAL] terminating connection due to administrator command",
     "doubtful"},
    {"YY005", "dn_6003_6004: ERROR SET query", "doubtful"},
    // Broken on the way.
    {"08000", "pooler: Communication failure, failed to send session commands", "doubtful"},
    {"08000", "pooler: 通信失败，发送会话命令失败或收到无效数据，错误数: 1。", "doubtful"},
    {"XX000", "unexpected EOF on datanode connection", "doubtful"},
    {"YY001", "Failed to read response from Datanodes. Detail: Connection reset by peer",
     "doubtful"},
    {"YY001", "从数据节点读取响应失败。详细信息: 连接被对端重置", "doubtful"},
    {"YY010", "TCP disconnect", "doubtful"},
    {"YY014", "Snapshot invalid", "doubtful"},
    {"YY015", "Connection receive wrong", "doubtful"},
    {"XX003", "Stream remote close socket", "doubtful"},
    {"08007", "whatever", "doubtful"},
    // A statement that failed, and is undone.
    {"YY003", "Lock wait timeout: thread 140012 on node dn_6003_6004", "ordinary"},
    {"YY006", "memory is temporarily unavailable", "ordinary"},
    {"YY016", "Stream concurrent update", "ordinary"},
    {"53200", "Out of memory", "ordinary"},
    {"XX009", "Distribute query failed due to duplicate query id", "ordinary"},
    {"CG003", "Allocate Error", "ordinary"},
    {"F0011", "could not read hash join temporary file: File error", "ordinary"},
    {"45003", "the number of partitions has changed", "ordinary"},
    {"42P30", "the schema of the object does not match", "ordinary"},
    {"23505", "duplicate key value violates unique constraint \"commit\"", "ordinary"},
    {"42601", "syntax error at or near \"COMMIT\"", "ordinary"},
    {"2D000", "cannot commit while a subtransaction is active", "ordinary"},
    {"57014", "canceling statement due to user request, COMMIT", "ordinary"},
    {"08P01", "invalid frontend message type", "ordinary"},
    {"40001", "could not serialize access", "ordinary"},
    {"", "", "ordinary"},
    {"25006", "cannot execute INSERT in a read-only transaction", "read_only"},
};

TEST_CASE("what an error of DWS says about the statement") {
  const ErrorTable table;
  for (const Row& row : said_by_dws) {
    CAPTURE(row.sqlstate);
    CAPTURE(row.message);
    CHECK(meaning(table, row.sqlstate, row.message, Dialect::dws) == row.meaning);
    CHECK(meaning(table, row.sqlstate, row.message, Dialect::unknown) == row.meaning);
  }
}

TEST_CASE("PostgreSQL has no nodes that could refuse") {
  const ErrorTable table(std::vector<RefusalRule>{{"08006", "pooler: failed"}});
  for (const Row& row : said_by_dws) {
    CAPTURE(row.message);
    CHECK(meaning(table, row.sqlstate, row.message, Dialect::postgres) ==
          (row.sqlstate == "25006" ? "read_only" : "ordinary"));
  }
}

TEST_CASE("rules of one's own come besides the known ones, and have the same limits") {
  const ErrorTable table(std::vector<RefusalRule>{
      {"XX000", "no node is left"}, {"25006", "read-only"}, {"53200", ""}});
  const auto in_dws = [&](std::string_view sqlstate, std::string_view message) {
    return meaning(table, sqlstate, message, Dialect::dws);
  };
  CHECK(in_dws("XX000", "sorry, no node is left for this") == "refused");
  CHECK(in_dws("XX000", "No node is left") == "ordinary");
  CHECK(in_dws("XX001", "no node is left") == "ordinary");
  CHECK(in_dws("XX000", "no node is left to COMMIT on") == "doubtful");
  CHECK(in_dws("XX000", "dn_1: no node is left") == "ordinary");
  CHECK(in_dws("53200", "out of memory") == "ordinary");
  CHECK(in_dws("25006", "a read-only cluster") == "read_only");
  CHECK(in_dws("08006", seed) == "refused");
}

TEST_CASE("the severity does not matter, the message alone is read") {
  const ErrorTable table;
  wire::ErrorFields error;
  error.severity = "错误";
  error.sqlstate = "08006";
  error.message = seed;
  CHECK(table.meaning(error, Dialect::dws) == ErrorMeaning::refused);
  error.message = "something else";
  error.detail = seed;
  error.hint = seed;
  CHECK(table.meaning(error, Dialect::dws) == ErrorMeaning::doubtful);
  CHECK(table.meaning(wire::ErrorFields{}, Dialect::dws) == ErrorMeaning::ordinary);
}

}  // namespace
}  // namespace dwspool::retry
