#include "dwspool/console/status.h"

#include <array>
#include <string_view>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/console/show.h"

namespace dwspool::console {
namespace {

constexpr auto pin_columns = std::to_array<Column>({{"database", Type::text},
                                                    {"user", Type::text},
                                                    {"reason", Type::text},
                                                    {"sessions", Type::int8}});

Table pins_of(const Facts& facts) {
  Table table{pin_columns, {}};
  for (const PinFacts& pin : facts.pins) {
    table.rows.push_back(
        {pin.database, pin.user, std::string(pin.reason), std::to_string(pin.sessions)});
  }
  return table;
}

void append_key(std::string& out, std::string_view key) {
  if (out.back() != '{') out += ',';
  append_json_string(out, key);
  out += ':';
}

void append_text(std::string& out, std::string_view key, std::string_view value) {
  append_key(out, key);
  append_json_string(out, value);
}

template <class Number>
void append_number(std::string& out, std::string_view key, Number value) {
  append_key(out, key);
  out += std::to_string(value);
}

}  // namespace

void append_json(std::string& out, const Table& table) {
  out += '[';
  for (const Row& row : table.rows) {
    if (&row != &table.rows.front()) out += ',';
    out += '{';
    for (std::size_t i = 0; i < row.size() && i < table.columns.size(); ++i) {
      append_key(out, table.columns[i].name);
      if (!row[i]) {
        out += "null";
      } else if (table.columns[i].type == Type::text) {
        append_json_string(out, *row[i]);
      } else {
        out += *row[i];
      }
    }
    out += '}';
  }
  out += ']';
}

std::string status_json(const Facts& facts, const Situation& situation) {
  std::string out = "{";
  append_text(out, "version", facts.version);
  append_number(out, "time_ms", situation.time_ms);
  append_text(out, "state",
              situation.draining ? "draining"
              : facts.suspended  ? "suspended"
              : facts.paused     ? "paused"
                                 : "active");
  append_number(out, "workers", situation.workers);
  append_key(out, "silent_workers");
  out += '[';
  for (const std::size_t worker : situation.silent) {
    if (out.back() != '[') out += ',';
    out += std::to_string(worker);
  }
  out += ']';
  append_number(out, "clients", facts.clients);
  append_number(out, "max_clients", facts.max_clients);
  for (const auto& [key, what] :
       {std::pair{"pools", Show::pools}, std::pair{"databases", Show::databases},
        std::pair{"stats", Show::stats_totals}, std::pair{"coordinators", Show::coordinators},
        std::pair{"replay", Show::replay}}) {
    append_key(out, key);
    append_json(out, show(what, facts));
  }
  append_key(out, "pins");
  append_json(out, pins_of(facts));
  out += '}';
  return out;
}

}  // namespace dwspool::console
