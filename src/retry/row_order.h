// Whether a statement's rows come in a defined order.
#pragma once

#include "retry/json_tree.h"

namespace dwspool::retry {

// `node` is a statement's node. True if it has a top-level ORDER BY, or surely at most one row.
bool rows_are_ordered(Json node);

}  // namespace dwspool::retry
