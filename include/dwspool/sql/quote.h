// Writing names and values into SQL of dwspool's own.
#pragma once

#include <string>
#include <string_view>

namespace dwspool::sql {

// "name", quotes inside doubled.
std::string quote_identifier(std::string_view name);

// 'value', or E'value' when a backslash occurs: means the same whatever
// standard_conforming_strings is.
std::string quote_literal(std::string_view value);

// The identifier behind a name as written in SQL: quotes removed and doubled ones undone, or in
// lower case; parts that a dot separates one by one.
std::string identifier_of(std::string_view written);

// A setting's value for SET: a literal, but for settings whose value is a list of identifiers
// (search_path and the like), where every identifier is quoted by itself.
std::string setting_value(std::string_view name, std::string_view value);

// Whether `name` can be the name of a setting: letters, digits, '_', '$' and '.', not beginning
// with a digit.
bool is_setting_name(std::string_view name);

}  // namespace dwspool::sql
