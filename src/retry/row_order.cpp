#include "retry/row_order.h"

#include <vector>

#include "retry/known_functions.h"

namespace dwspool::retry {
namespace {

// What the target list of a query calls, without what stands in subqueries.
struct CallsSeen {
  bool only_known = true;  // all of them functions of PostgreSQL itself that return one value
  bool aggregate = false;
};

void note_call(Json call, CallsSeen& calls) {
  const Json names = call.member("funcname");
  FunctionName name;
  for (const Json each : names) {
    name.schema = name.name;
    name.name = each.member("String").member("sval").string();
  }
  if (name.schema == "pg_catalog") name.schema.clear();
  if (!is_harmless(name) || returns_rows(name) || names.size() > 2) calls.only_known = false;
  if (is_aggregate(name) && !call.member("over")) calls.aggregate = true;
}

CallsSeen calls_in(Json expressions) {
  CallsSeen calls;
  std::vector<Json> rest = {expressions};
  while (!rest.empty()) {
    const Json value = rest.back();
    rest.pop_back();
    if (value.key() == "SubLink") continue;
    if (value.key() == "FuncCall") note_call(value, calls);
    for (const Json each : value) rest.push_back(each);
  }
  return calls;
}

bool has_limit_of_one(Json select) {
  if (select.member("limitOption").text() != "LIMIT_OPTION_COUNT") return false;
  const Json constant = select.member("limitCount").member("A_Const");
  const Json number = constant.member("ival");
  // Zero is left out where it is written.
  return number && (!number.first() || number.first().text() == "1");
}

bool select_is_ordered(Json select) {
  if (select.member("sortClause").first() || has_limit_of_one(select)) return true;
  if (select.member("op").text() != "SETOP_NONE") return false;
  if (const Json values = select.member("valuesLists")) return values.size() == 1;
  const CallsSeen calls = calls_in(select.member("targetList"));
  if (!calls.only_known) return false;
  if (!select.member("fromClause").first()) return true;
  return calls.aggregate && !select.member("groupClause").first();
}

bool inserts_one(Json insert) {
  const Json source = insert.member("selectStmt").member("SelectStmt");
  if (!source) return true;  // DEFAULT VALUES
  const Json values = source.member("valuesLists");
  return values.size() == 1 && calls_in(values).only_known;
}

}  // namespace

bool rows_are_ordered(Json node) {
  const std::string_view kind = node.key();
  if (kind == "SelectStmt") return select_is_ordered(node);
  if (kind == "DeclareCursorStmt" || kind == "CopyStmt") {
    const Json query = node.member("query").first();
    if (query) return rows_are_ordered(query);
    return node.member("is_from").is_true();
  }
  if (kind == "InsertStmt") return !node.member("returningList").first() || inserts_one(node);
  if (kind == "UpdateStmt" || kind == "DeleteStmt") return !node.member("returningList").first();
  return kind != "FetchStmt" && kind != "ExecuteStmt" && kind != "CallStmt";
}

}  // namespace dwspool::retry
