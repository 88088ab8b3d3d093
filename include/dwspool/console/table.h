// A result of the console's, and how it goes over the wire.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::console {

enum class Type : std::uint8_t { text, int4, int8, numeric };

struct Column {
  std::string_view name;
  Type type = Type::text;
};

using Row = std::vector<std::optional<std::string>>;  // values as text; nothing is NULL

struct Table {
  std::span<const Column> columns;  // static
  std::vector<Row> rows;
};

// The format of each column, as Bind asks for it: true is binary. Empty: all text; one entry: for
// all columns.
using Formats = std::vector<bool>;

void append_row_description(std::string& out, std::span<const Column> columns,
                            const Formats& formats);
void append_data_row(std::string& out, std::span<const Column> columns, const Row& row,
                     const Formats& formats);

}  // namespace dwspool::console
