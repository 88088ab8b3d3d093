#include "sim/trouble.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace dwspool::sim {
namespace {

constexpr std::array<Saying, 12> sayings = {{
    {Trouble::refused, "08006",
     "pooler: failed to create 1 connections, Error Message: remote node dn_6003_6004, detail: "
     "could not connect to server: Operation now in progress"},
    {Trouble::refused, "08006",
     "pooler: 创建 1 个连接失败，错误信息: 远端节点 dn_6003_6004，详细信息: 无法连接到服务器: "
     "操作现在正在进行"},
    {Trouble::refused, "08000", "pooler: failed to get connections due to failover, pending"},
    {Trouble::refused, "YY001", "Failed to connect Nodes: dn_6003_6004"},
    {Trouble::broken, "08006", "unexpected EOF on datanode connection dn_6003_6004"},
    {Trouble::broken, "08000",
     "pooler: Communication failure, failed to send session commands or invalid incoming data, "
     "error count: 1."},
    {Trouble::broken, "YY001", "从数据节点读取响应失败。详细信息: 连接被对端重置"},
    {Trouble::broken, "57P01",
     "dn_6003_6004: [FATAL] terminating connection due to administrator command"},
    {Trouble::commit, "08000", "Failed to COMMIT the transaction on nodes: dn_6003_6004."},
    {Trouble::commit, "08006",
     "pooler: failed to get a connection: failed to send COMMIT command to node dn_6003_6004"},
    {Trouble::commit, "08000", "在节点 dn_6003_6004 上提交事务失败。"},
    {Trouble::read_only, "25006", "cannot execute INSERT in a read-only transaction"},
}};

}  // namespace

const Saying& say(Trouble trouble, Random& random) {
  std::array<const Saying*, sayings.size()> fitting{};
  std::size_t count = 0;
  for (const Saying& saying : sayings) {
    if (saying.trouble == trouble) fitting.at(count++) = &saying;
  }
  return *fitting.at(random.below(count));
}

Trouble said(std::string_view text) {
  const auto* const found = std::find_if(sayings.begin(), sayings.end(),
                                         [&](const Saying& saying) { return saying.text == text; });
  return found == sayings.end() ? Trouble::none : found->trouble;
}

bool reads_table(const Statement& statement) {
  return statement.op == Op::select_row || writes_table(statement);
}

bool writes_table(const Statement& statement) {
  return statement.op == Op::insert || statement.op == Op::insert_doomed ||
         statement.op == Op::insert_by_call || statement.op == Op::copy_in;
}

}  // namespace dwspool::sim
