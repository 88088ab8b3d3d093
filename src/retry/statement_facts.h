// From one statement's parse tree to what it does.
#pragma once

#include "dwspool/retry/facts.h"

#include "retry/json_tree.h"
#include "retry/known_functions.h"

namespace dwspool::retry {

// `statement` is what stands under "stmt" of a RawStmt: an object with one member, the node.
StatementFacts read_statement(Json statement);

// As StatementFacts has names: a schema and a dot before, quotes where they are needed.
std::string written(const FunctionName& name);

// Each name once, in order.
void sort_names(std::vector<std::string>& names);

}  // namespace dwspool::retry
