#include "dwspool/console/table.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "dwspool/wire/types.h"
#include "dwspool/wire/writer.h"

namespace dwspool::console {
namespace {

struct TypeFacts {
  std::uint32_t oid;
  std::int16_t size;
};

TypeFacts facts_of(Type type) {
  switch (type) {
    case Type::text:
      break;
    case Type::int4:
      return {23, 4};
    case Type::int8:
      return {20, 8};
    case Type::numeric:
      return {1700, -1};
  }
  return {25, -1};
}

bool is_binary(const Formats& formats, std::size_t column) {
  if (formats.empty()) return false;
  return formats.size() == 1 ? formats.front() : column < formats.size() && formats[column];
}

std::int64_t number_of(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Numbers that are not negative, in numeric's binary format: digits to the base 10000, of which
// the weight says how many stand before the point.
std::string binary_numeric(std::string_view number) {
  constexpr std::size_t group = 4;
  const std::size_t point = std::min(number.find('.'), number.size());
  const std::size_t scale = point < number.size() ? number.size() - point - 1 : 0;
  std::string text(number.substr(0, point));
  auto weight = static_cast<std::int16_t>((point + group - 1) / group - 1);
  if (scale > 0) text.append(number.substr(point + 1)).append((group - scale % group) % group, '0');
  std::vector<std::uint16_t> digits;
  const std::size_t first = text.size() % group;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = at == 0 && first > 0 ? first : group;
    digits.push_back(static_cast<std::uint16_t>(number_of(text.substr(at, size))));
    at += size;
  }
  std::size_t zeros = 0;
  while (zeros < digits.size() && digits[zeros] == 0) ++zeros;
  digits.erase(digits.begin(), digits.begin() + static_cast<std::ptrdiff_t>(zeros));
  weight = digits.empty() ? std::int16_t{0}
                          : static_cast<std::int16_t>(weight - static_cast<std::int16_t>(zeros));
  std::string out;
  wire::append_u16(out, static_cast<std::uint16_t>(digits.size()));
  wire::append_u16(out, static_cast<std::uint16_t>(weight));
  wire::append_u16(out, 0);  // positive
  wire::append_u16(out, static_cast<std::uint16_t>(scale));
  for (const std::uint16_t digit : digits) wire::append_u16(out, digit);
  return out;
}

std::string binary(Type type, const std::string& text) {
  std::string out;
  switch (type) {
    case Type::text:
      return text;
    case Type::int4:
      wire::append_u32(out, static_cast<std::uint32_t>(number_of(text)));
      break;
    case Type::int8: {
      const auto value = static_cast<std::uint64_t>(number_of(text));
      wire::append_u32(out, static_cast<std::uint32_t>(value >> 32U));
      wire::append_u32(out, static_cast<std::uint32_t>(value));
      break;
    }
    case Type::numeric:
      return binary_numeric(text);
  }
  return out;
}

}  // namespace

void append_row_description(std::string& out, std::span<const Column> columns,
                            const Formats& formats) {
  wire::MessageWriter message(out, wire::backend::row_description);
  message.u16(static_cast<std::uint16_t>(columns.size()));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const TypeFacts type = facts_of(columns[i].type);
    message.cstring(columns[i].name)
        .u32(0)  // no column of a table
        .u16(0)
        .u32(type.oid)
        .u16(static_cast<std::uint16_t>(type.size))
        .u32(0xffffffffU)  // no modifier
        .u16(is_binary(formats, i) ? 1 : 0);
  }
  message.end();
}

void append_data_row(std::string& out, std::span<const Column> columns, const Row& row,
                     const Formats& formats) {
  wire::MessageWriter message(out, wire::backend::data_row);
  message.u16(static_cast<std::uint16_t>(columns.size()));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i >= row.size() || !row[i]) {
      message.u32(0xffffffffU);
      continue;
    }
    const std::string value = is_binary(formats, i) ? binary(columns[i].type, *row[i]) : *row[i];
    message.u32(static_cast<std::uint32_t>(value.size())).bytes(value);
  }
  message.end();
}

}  // namespace dwspool::console
