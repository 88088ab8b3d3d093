#include "dwspool/retry/refusal.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

namespace dwspool::retry {
namespace {

// How the acquire phase of a coordinator fails: any of these codes with any of these texts.
constexpr std::array<std::string_view, 4> acquire_codes = {"08006", "08000", "YY001", "YY004"};
constexpr std::array<std::string_view, 6> acquire_texts = {
    "pooler: failed to create",
    "pooler: failed to make connection",
    "pooler: failed to get",
    "due to failover, pending",
    "Failed to connect Nodes",
    "pooler: 创建",  // "pooler: 创建 1 个连接失败": failed to create 1 connections
};

// Connections between the nodes, to the transaction manager, or of the communication library.
constexpr std::array<std::string_view, 17> topology_codes = {
    "57P01", "57P02", "57P03", "XX003", "YY001", "YY002", "YY004", "YY005", "YY007",
    "YY008", "YY009", "YY010", "YY011", "YY012", "YY013", "YY014", "YY015"};

// Under these classes of code errors come that are not the statement's own. A code that is
// missing is one of them.
constexpr std::array<std::string_view, 8> cluster_classes = {"08", "53", "57", "58",
                                                             "CG", "F0", "XX", "YY"};
// What makes them doubtful when the code alone does not.
constexpr std::array<std::string_view, 6> broken_texts = {
    "unexpected EOF on datanode",     "Communication failure", "Connection reset by peer",
    "Connection error with Datanode", "连接被对端重置",        "通信失败"};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool sounds_of_commit(std::string_view message) {
  return contains(to_lower(message), "commit") || contains(message, "提交");
}

// "dn_6003_6004: ...": relayed from a node, which therefore got the statement.
bool is_relayed(std::string_view message) {
  if (!message.starts_with("dn_") && !message.starts_with("cn_")) return false;
  const auto is_name = [](char c) {
    return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '_';
  };
  const auto* const end = std::find_if_not(message.begin(), message.end(), is_name);
  return end != message.end() && *end == ':';
}

bool is_topology(std::string_view sqlstate) {
  if (sqlstate == wire::sqlstate::protocol_violation) return false;
  return sqlstate.starts_with("08") ||
         std::find(topology_codes.begin(), topology_codes.end(), sqlstate) != topology_codes.end();
}

bool is_of_cluster(std::string_view sqlstate) {
  if (sqlstate == wire::sqlstate::query_canceled) return false;
  return sqlstate.empty() ||
         std::any_of(cluster_classes.begin(), cluster_classes.end(),
                     [&](std::string_view each) { return sqlstate.starts_with(each); });
}

}  // namespace

ErrorTable::ErrorTable() : ErrorTable(std::vector<RefusalRule>()) {}

ErrorTable::ErrorTable(std::vector<RefusalRule> more) : rules_(std::move(more)) {
  for (const std::string_view code : acquire_codes) {
    for (const std::string_view text : acquire_texts) {
      rules_.push_back({std::string(code), std::string(text)});
    }
  }
}

bool ErrorTable::refuses(const wire::ErrorFields& error) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const RefusalRule& rule) {
    return rule.sqlstate == error.sqlstate && !rule.text.empty() &&
           contains(error.message, rule.text);
  });
}

ErrorMeaning ErrorTable::meaning(const wire::ErrorFields& error, Dialect dialect) const {
  if (error.sqlstate == wire::sqlstate::read_only_sql_transaction) return ErrorMeaning::read_only;
  if (dialect == Dialect::postgres) return ErrorMeaning::ordinary;
  const bool commits = sounds_of_commit(error.message);
  // A rule of the configuration may name any code, so the rules come first.
  if (!commits && !is_relayed(error.message) && refuses(error)) return ErrorMeaning::refused;
  if (is_topology(error.sqlstate)) return ErrorMeaning::doubtful;
  const bool broken =
      commits || std::any_of(broken_texts.begin(), broken_texts.end(),
                             [&](std::string_view text) { return contains(error.message, text); });
  return broken && is_of_cluster(error.sqlstate) ? ErrorMeaning::doubtful : ErrorMeaning::ordinary;
}

std::string_view to_string(ErrorMeaning meaning) {
  switch (meaning) {
    case ErrorMeaning::ordinary:
      return "ordinary";
    case ErrorMeaning::refused:
      return "refused";
    case ErrorMeaning::doubtful:
      return "doubtful";
    case ErrorMeaning::read_only:
      break;
  }
  return "read_only";
}

}  // namespace dwspool::retry
