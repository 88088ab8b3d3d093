// What can be said of a text that PostgreSQL's grammar does not know, or should not be given.
#pragma once

#include <string_view>

#include "dwspool/retry/facts.h"

namespace dwspool::retry {

// Errs towards "anything": the text as one statement, `write` or `unknown`.
StatementFacts guess(std::string_view sql, bool standard_conforming_strings, bool encoding_is_safe);

// Whether the text cannot nest deeper than a parser bears that calls itself. Every level takes a
// parenthesis, an operator or a keyword; a comma, AND and OR begin anew. False for a text that ends
// within quotes.
bool is_shallow(std::string_view sql);

}  // namespace dwspool::retry
