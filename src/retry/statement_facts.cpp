#include "retry/statement_facts.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/sql/quote.h"

#include "retry/row_order.h"

namespace dwspool::retry {
namespace {

template <class Range>
bool contains(const Range& range, std::string_view name) {
  return std::find(range.begin(), range.end(), name) != range.end();
}

constexpr std::array<std::string_view, 17> not_in_transactions = {
    "AlterDatabaseStmt",
    "AlterEnumStmt",
    "AlterSubscriptionStmt",
    "AlterSystemStmt",
    "CallStmt",
    "CheckPointStmt",
    "ClusterStmt",
    "CreateSubscriptionStmt",
    "CreateTableSpaceStmt",
    "CreatedbStmt",
    "DiscardStmt",
    "DoStmt",
    "DropSubscriptionStmt",
    "DropTableSpaceStmt",
    "DropdbStmt",
    "LoadStmt",
    "ReindexStmt",
};
constexpr std::array<std::string_view, 4> data_changes = {"InsertStmt", "UpdateStmt", "DeleteStmt",
                                                          "MergeStmt"};
constexpr std::array<std::string_view, 7> for_the_session = {
    "DiscardStmt", "ListenStmt",  "UnlistenStmt",  "LoadStmt",
    "PrepareStmt", "ExecuteStmt", "DeallocateStmt"};

// Everything in a tree that matters wherever it stands.
class Walk {
 public:
  // `node`: a member with the name of a node. Trees are deep: nothing calls itself here.
  void run(Json node) {
    steps_.push_back({Step::Kind::visit, node, 0});
    while (!steps_.empty()) {
      const Step step = steps_.back();
      steps_.pop_back();
      switch (step.kind) {
        case Step::Kind::visit:
          visit(step.value);
          break;
        case Step::Kind::learn_name:
          common_names_.push_back(step.value.member("ctename").string());
          break;
        case Step::Kind::forget_names:
          common_names_.resize(step.names_left);
          break;
      }
    }
  }

  bool writes() const { return writes_; }
  bool executes() const { return executes_; }
  bool concurrent() const { return concurrent_; }

  void finish(StatementFacts& facts) {
    facts.external = external_;
    facts.session_effect = session_effect_;
    facts.functions = std::move(functions_);
    facts.relations = std::move(relations_);
    sort_names(facts.functions);
    sort_names(facts.relations);
  }

 private:
  // What is still to be done, the last first.
  struct Step {
    enum class Kind : std::uint8_t { visit, learn_name, forget_names };
    Kind kind;
    Json value;
    std::size_t names_left;
  };

  void visit(Json value) {
    const std::string_view key = value.key();
    if (key == "SelectStmt" || key == "larg" || key == "rarg" || contains(data_changes, key)) {
      query(value);
      return;
    }
    if (key == "FuncCall") {
      function(list_name(value.member("funcname")));
    } else if (key == "RangeTableSample") {
      function(list_name(value.member("method")));
    } else if (key == "A_Expr") {
      operation(value);
    } else if (key == "RangeVar") {
      relation(value);
    } else if (key == "lockingClause" || key == "intoClause") {
      writes_ = true;
    } else if (key == "ExecuteStmt") {
      executes_ = true;
    } else if (key == "concurrent" && value.is_true()) {
      concurrent_ = true;
    }
    if (value.member("relpersistence").text() == "t") session_effect_ = true;
    for (const Json each : value) steps_.push_back({Step::Kind::visit, each, 0});
  }

  // A query with what its WITH names: that is no table for it and what stands in it. Without
  // RECURSIVE a part of WITH knows those before it only. As steps, in reverse.
  void query(Json query) {
    if (contains(data_changes, query.key())) writes_ = true;
    steps_.push_back({Step::Kind::forget_names, {}, common_names_.size()});
    for (const Json each : query) {
      if (each.key() != "withClause") steps_.push_back({Step::Kind::visit, each, 0});
    }
    const Json with = query.member("withClause");
    const bool recursive = with.member("recursive").is_true();
    std::vector<Step> parts;
    for (const Json each : with.member("ctes")) {
      const Json part = each.first();
      if (recursive) common_names_.push_back(part.member("ctename").string());
      parts.push_back({Step::Kind::visit, part.member("ctequery").first(), 0});
      if (!recursive) parts.push_back({Step::Kind::learn_name, part, 0});
    }
    steps_.insert(steps_.end(), parts.rbegin(), parts.rend());
  }

  static FunctionName list_name(Json list) {
    std::vector<std::string> parts;
    for (const Json each : list) parts.push_back(each.member("String").member("sval").string());
    FunctionName name;
    if (!parts.empty()) name.name = std::move(parts.back());
    if (parts.size() > 1) name.schema = std::move(parts[parts.size() - 2]);
    if (name.schema == "pg_catalog") name.schema.clear();
    return name;
  }

  void function(const FunctionName& name) {
    if (acts_outside(name)) external_ = true;
    if (acts_on_session(name) || name.schema == "pg_temp") session_effect_ = true;
    if (!is_harmless(name)) functions_.push_back(written(name));
  }

  // OPERATOR(schema.+): what it calls is not known. One without a schema is taken for one of
  // PostgreSQL's own.
  void operation(Json expression) {
    const FunctionName name = list_name(expression.member("name"));
    if (!name.schema.empty()) functions_.push_back(written(name));
  }

  void relation(Json range) {
    FunctionName name{range.member("schemaname").string(), range.member("relname").string()};
    if (name.schema.starts_with("pg_temp")) session_effect_ = true;
    if (name.schema.empty() && contains(common_names_, name.name)) return;
    relations_.push_back(written(name));
  }

  bool writes_ = false;
  bool executes_ = false;
  bool concurrent_ = false;
  bool external_ = false;
  bool session_effect_ = false;
  std::vector<std::string> functions_;
  std::vector<std::string> relations_;
  std::vector<std::string> common_names_;
  std::vector<Step> steps_;
};

void read_transaction(Json node, StatementFacts& facts) {
  const std::string_view kind = node.member("kind").text();
  const bool prepared = kind == "TRANS_STMT_PREPARE" || kind == "TRANS_STMT_COMMIT_PREPARED" ||
                        kind == "TRANS_STMT_ROLLBACK_PREPARED";
  facts.nature = prepared ? Nature::not_transactional : Nature::control;
  facts.ends_transaction = prepared || kind == "TRANS_STMT_COMMIT" || kind == "TRANS_STMT_ROLLBACK";
  facts.begins_transaction =
      kind == "TRANS_STMT_BEGIN" || kind == "TRANS_STMT_START" || node.member("chain").is_true();
}

void read_copy(Json node, bool writes, StatementFacts& facts) {
  const bool from = node.member("is_from").is_true();
  if (node.member("filename") || node.member("is_program").is_true()) {
    facts.external = true;
    facts.nature = Nature::write;
  } else if (writes) {
    facts.nature = Nature::write;
  } else {
    facts.nature = from ? Nature::copy_in : Nature::copy_out;
  }
  const Json table = node.member("relation");
  if (table && !from) {
    const FunctionName name{table.member("schemaname").string(), table.member("relname").string()};
    facts.relations.push_back(written(name));
  }
}

// Whether EXPLAIN also runs what it explains. ANALYZE may be switched off by its value; that is not
// looked at.
bool runs(Json explain) {
  for (const Json option : explain.member("options")) {
    if (option.member("DefElem").member("defname").text() == "analyze") return true;
  }
  return false;
}

constexpr int option_hold = 0x20;  // CURSOR_OPT_HOLD

bool is_held(Json declare) {
  int options = 0;
  for (const char c : declare.member("options").text()) options = options * 10 + (c - '0');
  return (options & option_hold) != 0;
}

Nature nature_of(Json node, const Walk& walk) {
  const std::string_view kind = node.key();
  if (walk.executes()) return Nature::unknown;
  if (walk.concurrent() || contains(not_in_transactions, kind)) return Nature::not_transactional;
  if (kind == "VacuumStmt" && node.member("is_vacuumcmd").is_true()) {
    return Nature::not_transactional;
  }
  if (kind == "SelectStmt") return walk.writes() ? Nature::write : Nature::read;
  if (kind == "ExplainStmt") return walk.writes() && runs(node) ? Nature::write : Nature::read;
  if (kind == "VariableShowStmt" || kind == "VariableSetStmt") return Nature::light;
  if (kind == "DeclareCursorStmt" || kind == "FetchStmt" || kind == "ClosePortalStmt") {
    return Nature::cursor;
  }
  return Nature::write;
}

}  // namespace

StatementFacts read_statement(Json statement) {
  StatementFacts facts;
  const Json node = statement.first();
  const std::string_view kind = node.key();
  Walk walk;
  walk.run(node);
  walk.finish(facts);
  facts.nature = nature_of(node, walk);
  facts.ordered = rows_are_ordered(node);
  if (contains(for_the_session, kind)) facts.session_effect = true;
  if (kind == "TransactionStmt") read_transaction(node, facts);
  if (kind == "CopyStmt") read_copy(node, walk.writes(), facts);
  if (kind == "DeclareCursorStmt" && is_held(node)) facts.session_effect = true;
  if (kind == "VariableSetStmt" && node.member("name").text() == "TRANSACTION SNAPSHOT") {
    facts.external = true;
    facts.nature = Nature::write;
  }
  return facts;
}

std::string written(const FunctionName& name) {
  const auto part = [](const std::string& identifier) {
    const bool plain = !identifier.empty() && !(identifier[0] >= '0' && identifier[0] <= '9') &&
                       std::all_of(identifier.begin(), identifier.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
                       });
    return plain ? identifier : sql::quote_identifier(identifier);
  };
  return name.schema.empty() ? part(name.name) : part(name.schema) + '.' + part(name.name);
}

void sort_names(std::vector<std::string>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

}  // namespace dwspool::retry
