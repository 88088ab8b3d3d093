#include "app/top_view.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "dwspool/base/text.h"

namespace dwspool::app {
namespace {

constexpr std::size_t longest_cell = 40;
constexpr std::string_view console_name = "pgbouncer";

enum class Tone : std::uint8_t { plain, soft, good, warn, bad, strong };

std::string_view code_of(Tone tone) {
  switch (tone) {
    case Tone::plain:
      return "";
    case Tone::soft:
      return "\x1b[2m";
    case Tone::good:
      return "\x1b[32m";
    case Tone::warn:
      return "\x1b[33m";
    case Tone::bad:
      return "\x1b[31m";
    case Tone::strong:
      return "\x1b[1m";
  }
  return "";
}

struct Cell {
  std::string text;
  Tone tone = Tone::plain;
};

struct Heading {
  std::string_view text;
  bool number = false;
};

struct Section {
  std::string_view title;
  std::vector<Heading> headings;
  std::vector<std::vector<Cell>> rows;
  std::string_view nothing;
};

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return std::string(text.data(), static_cast<std::size_t>(std::clamp(size, 0, 63)));
}

// Short enough for a column; empty for 0, so that what is not 0 catches the eye.
std::string compact(double value) {
  if (value == 0) return {};
  if (value >= 1e7) return fixed(value / 1e6, 1) + "M";
  if (value >= 1e5) return fixed(value / 1e3, 1) + "k";
  return fixed(value, value == std::floor(value) ? 0 : value < 10 ? 2 : 1);
}

std::string seconds(double value) {
  if (value <= 0) return {};
  if (value < 1) return fixed(value * 1e3, value < 0.01 ? 2 : 0) + "ms";
  return value < 120 ? fixed(value, 1) + "s" : fixed(value / 60, 0) + "min";
}

std::string name(std::string_view text) {
  return printable(text, longest_cell);
}

double wait_of(const Sheet& pools, std::size_t row) {
  return pools.number(row, "maxwait") + pools.number(row, "maxwait_us") / 1e6;
}

bool is_own(const Sheet& sheet, std::size_t row) {
  return sheet.cell(row, "database") == console_name;
}

std::string state_of(const Snapshot& now) {
  for (const std::string_view word : {"suspended", "paused"}) {
    for (std::size_t row = 0; row < now.state.rows.size(); ++row) {
      if (now.state.cell(row, "key") == word && now.state.cell(row, "value") == "yes") {
        return std::string(word);
      }
    }
  }
  return "active";
}

double item(const Sheet& lists, std::string_view wanted) {
  for (std::size_t row = 0; row < lists.rows.size(); ++row) {
    if (lists.cell(row, "list") == wanted) return lists.number(row, "items");
  }
  return 0;
}

// What has happened to one database, per second, or nothing when that is not known.
struct Rates {
  std::string database;
  std::optional<double> statements;
  double transactions = 0;
  double each = 0;  // seconds for a statement
  double waiting = 0;
  double received = 0;
  double sent = 0;
  double total = 0;
};

std::vector<Rates> rates_of(const Snapshot& now, const Snapshot* before) {
  std::map<std::string, std::size_t, std::less<>> past;
  if (before != nullptr) {
    for (std::size_t row = 0; row < before->stats.rows.size(); ++row) {
      past.emplace(before->stats.cell(row, "database"), row);
    }
  }
  const double span = before != nullptr ? now.at - before->at : 0;
  std::vector<Rates> all;
  for (std::size_t row = 0; row < now.stats.rows.size(); ++row) {
    Rates rates;
    rates.database = now.stats.cell(row, "database");
    rates.total = now.stats.number(row, "query_count");
    const auto old = past.find(rates.database);
    if (old != past.end() && span > 0) {
      const auto grown = [&](std::string_view column) {
        return std::max(0.0,
                        now.stats.number(row, column) - before->stats.number(old->second, column));
      };
      const double statements = grown("query_count");
      rates.statements = statements / span;
      rates.transactions = grown("xact_count") / span;
      rates.each = statements > 0 ? grown("query_time") / statements / 1e6 : 0;
      rates.waiting = grown("wait_time") / span / 1e6;
      rates.received = grown("bytes_received") / span;
      rates.sent = grown("bytes_sent") / span;
    }
    all.push_back(std::move(rates));
  }
  std::stable_sort(all.begin(), all.end(), [](const Rates& a, const Rates& b) {
    return a.statements.value_or(0) > b.statements.value_or(0);
  });
  return all;
}

Section pools_section(const Snapshot& now) {
  const Sheet& pools = now.pools;
  Section section{"POOLS",
                  {{"database"},
                   {"user"},
                   {"mode"},
                   {"clients", true},
                   {"waiting", true},
                   {"longest", true},
                   {"in use", true},
                   {"idle", true},
                   {"cleaning", true},
                   {"opening", true}},
                  {},
                  "no client has come yet"};
  std::vector<std::size_t> order;
  for (std::size_t row = 0; row < pools.rows.size(); ++row) {
    if (!is_own(pools, row)) order.push_back(row);
  }
  const auto rank = [&](std::size_t row) {
    return std::pair(wait_of(pools, row), pools.number(row, "sv_active"));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rank(a) > rank(b); });
  for (const std::size_t row : order) {
    const double waiting = pools.number(row, "cl_waiting");
    const Tone tone = waiting > 0 ? Tone::warn : Tone::plain;
    section.rows.push_back({{name(pools.cell(row, "database"))},
                            {name(pools.cell(row, "user"))},
                            {name(pools.cell(row, "pool_mode"))},
                            {compact(pools.number(row, "cl_active") + waiting)},
                            {compact(waiting), tone},
                            {seconds(wait_of(pools, row)), tone},
                            {compact(pools.number(row, "sv_active"))},
                            {compact(pools.number(row, "sv_idle"))},
                            {compact(pools.number(row, "sv_tested"))},
                            {compact(pools.number(row, "sv_login"))}});
  }
  return section;
}

Section databases_section(const std::vector<Rates>& rates) {
  Section section{"DATABASES",
                  {{"database"},
                   {"statements/s", true},
                   {"transactions/s", true},
                   {"each", true},
                   {"waiting", true},
                   {"bytes/s in", true},
                   {"bytes/s out", true},
                   {"statements", true}},
                  {},
                  "no statement has been run yet"};
  for (const Rates& row : rates) {
    section.rows.push_back({{name(row.database)},
                            {row.statements ? compact(*row.statements) : "-"},
                            {compact(row.transactions)},
                            {seconds(row.each)},
                            {compact(row.waiting)},
                            {compact(row.received)},
                            {compact(row.sent)},
                            {compact(row.total)}});
  }
  return section;
}

Section coordinators_section(const Snapshot& now) {
  const Sheet& sheet = now.coordinators;
  Section section{"COORDINATORS",
                  {{"cluster"},
                   {"coordinator"},
                   {"state"},
                   {"role"},
                   {"gets work"},
                   {"connections", true},
                   {"opened", true},
                   {"failed", true}},
                  {},
                  "none has been tried yet"};
  for (std::size_t row = 0; row < sheet.rows.size(); ++row) {
    const std::string_view state = sheet.cell(row, "state");
    const std::string_view serving = sheet.cell(row, "serving");
    section.rows.push_back({{name(sheet.cell(row, "cluster"))},
                            {name(sheet.cell(row, "coordinator"))},
                            {name(state), state == "up"     ? Tone::good
                                          : state == "down" ? Tone::bad
                                                            : Tone::soft},
                            {name(sheet.cell(row, "role"))},
                            {name(serving), serving == "no" ? Tone::bad : Tone::plain},
                            {compact(sheet.number(row, "connections"))},
                            {compact(sheet.number(row, "opened"))},
                            {compact(sheet.number(row, "failures"))}});
  }
  return section;
}

Section replay_section(const Snapshot& now) {
  const Sheet& sheet = now.replay;
  Section section{
      "REPLAY", {{"what"}, {"failure"}, {"outcome"}, {"times", true}}, {}, "nothing has failed"};
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kinds = {
      {{"total", "failure"}, {"refused_total", "not run again"}, {"in_doubt_total", "in doubt"}}};
  for (const auto& [kind, title] : kinds) {
    for (std::size_t row = 0; row < sheet.rows.size(); ++row) {
      if (sheet.cell(row, "name") != kind) continue;
      const std::string_view outcome = sheet.cell(row, "outcome");
      section.rows.push_back({{std::string(title)},
                              {name(sheet.cell(row, "failure"))},
                              {name(outcome), outcome == "masked" ? Tone::good : Tone::warn},
                              {compact(sheet.number(row, "value"))}});
    }
  }
  return section;
}

Section pins_section(const Snapshot& now) {
  Section section{
      "BOUND SESSIONS", {{"database"}, {"user"}, {"reasons"}, {"sessions", true}}, {}, "none"};
  std::map<std::array<std::string, 3>, double> counts;
  for (std::size_t row = 0; row < now.pins.rows.size(); ++row) {
    ++counts[{name(now.pins.cell(row, "database")), name(now.pins.cell(row, "user")),
              name(now.pins.cell(row, "reasons"))}];
  }
  for (const auto& [key, count] : counts) {
    section.rows.push_back({{key[0]}, {key[1]}, {key[2]}, {compact(count)}});
  }
  return section;
}

// --- From cells to lines
// ---------------------------------------------------------------------------

class Line {
 public:
  explicit Line(const Screen& screen) : screen_(screen) {}

  // What is beyond the edge is cut off. All of it is ASCII: a byte is a column.
  void add(std::string_view text, Tone tone = Tone::plain) {
    if (screen_.width > 0) text = text.substr(0, screen_.width - std::min(used_, screen_.width));
    if (text.empty()) return;
    used_ += text.size();
    const bool dressed = screen_.colors && tone != Tone::plain;
    if (dressed) text_ += code_of(tone);
    text_ += text;
    if (dressed) text_ += "\x1b[0m";
  }
  std::string take() { return std::move(text_); }

 private:
  const Screen& screen_;
  std::string text_;
  std::size_t used_ = 0;
};

std::string padded(std::string_view text, std::size_t width, bool right) {
  const std::string space(width - std::min(width, text.size()), ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

std::string line_of(std::string_view text, Tone tone, const Screen& screen) {
  Line line(screen);
  line.add(text, tone);
  return line.take();
}

void append(std::vector<std::string>& lines, const Section& section, std::size_t most,
            const Screen& screen) {
  lines.push_back(line_of(section.title, Tone::strong, screen));
  if (section.rows.empty()) {
    lines.push_back(line_of("  " + std::string(section.nothing), Tone::soft, screen));
    return;
  }
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < section.headings.size(); ++i) {
    std::size_t width = section.headings[i].text.size();
    for (const auto& row : section.rows) width = std::max(width, row[i].text.size());
    widths.push_back(width);
  }
  Line headings(screen);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    headings.add("  " + padded(section.headings[i].text, widths[i], section.headings[i].number),
                 Tone::soft);
  }
  lines.push_back(headings.take());
  const std::size_t shown =
      section.rows.size() <= most ? section.rows.size() : most - std::min<std::size_t>(most, 1);
  for (std::size_t r = 0; r < shown; ++r) {
    Line line(screen);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      line.add("  ");
      line.add(padded(section.rows[r][i].text, widths[i], section.headings[i].number),
               section.rows[r][i].tone);
    }
    lines.push_back(line.take());
  }
  if (shown < section.rows.size() && most > 0) {
    lines.push_back(line_of("  and " + std::to_string(section.rows.size() - shown) + " more",
                            Tone::soft, screen));
  }
}

// How many rows each section gets: what is small is whole, what is large shares what is left.
std::vector<std::size_t> share_out(const std::vector<Section>& sections, std::size_t lines) {
  std::vector<std::size_t> shares(sections.size(), 0);
  for (bool more = true; more && lines > 0;) {
    more = false;
    for (std::size_t i = 0; i < sections.size() && lines > 0; ++i) {
      if (shares[i] >= std::max<std::size_t>(sections[i].rows.size(), 1)) continue;
      ++shares[i];
      --lines;
      more = true;
    }
  }
  return shares;
}

std::vector<std::string> heading_lines(const Snapshot& now, const std::vector<Rates>& rates,
                                       const Screen& screen) {
  double waiting = 0;
  double longest = 0;
  double busy = 0;
  double idle = 0;
  for (std::size_t row = 0; row < now.pools.rows.size(); ++row) {
    if (is_own(now.pools, row)) continue;
    waiting += now.pools.number(row, "cl_waiting");
    longest = std::max(longest, wait_of(now.pools, row));
    busy += now.pools.number(row, "sv_active");
    idle += now.pools.number(row, "sv_idle");
  }
  double statements = 0;
  double transactions = 0;
  bool known = false;
  for (const Rates& row : rates) {
    known = known || row.statements.has_value();
    statements += row.statements.value_or(0);
    transactions += row.transactions;
  }
  const auto whole = [](double value) { return value == 0 ? std::string("0") : compact(value); };
  const std::string state = state_of(now);
  Line first(screen);
  first.add(name(now.version.rows.empty() ? "dwspool" : now.version.cell(0, "version")),
            Tone::strong);
  first.add(" at " + name(now.address) + "  ");
  first.add(state, state == "active" ? Tone::good : Tone::warn);
  first.add("  " + now.time, Tone::soft);
  Line second(screen);
  second.add("clients " + whole(item(now.lists, "used_clients")) + "   ");
  second.add("waiting " + whole(waiting) + (longest > 0 ? " for " + seconds(longest) : ""),
             waiting > 0 ? Tone::warn : Tone::plain);
  second.add("   backends in use " + whole(busy) + ", idle " + whole(idle));
  if (known) {
    second.add("   statements " + whole(statements) + "/s   transactions " + whole(transactions) +
               "/s");
  }
  return {first.take(), second.take()};
}

}  // namespace

std::string_view Sheet::cell(std::size_t row, std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end() || row >= rows.size()) return {};
  const auto index = static_cast<std::size_t>(found - columns.begin());
  return index < rows[row].size() ? std::string_view(rows[row][index]) : std::string_view();
}

double Sheet::number(std::size_t row, std::string_view column) const {
  const std::string_view text = cell(row, column);
  double value = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc{} && std::isfinite(value) ? value : 0;
}

std::vector<std::string> render(const Snapshot& now, const Snapshot* before, const Screen& screen) {
  const std::vector<Rates> rates = rates_of(now, before);
  std::vector<std::string> lines = heading_lines(now, rates, screen);
  const std::vector<Section> sections = {pools_section(now), databases_section(rates),
                                         coordinators_section(now), replay_section(now),
                                         pins_section(now)};
  // Of each: an empty line, title, headings.
  const std::size_t around = lines.size() + 3 * sections.size();
  std::vector<std::size_t> shares(sections.size(), SIZE_MAX);
  if (screen.height > 0) {
    shares = share_out(sections, screen.height - std::min(screen.height, around));
  }
  for (std::size_t i = 0; i < sections.size(); ++i) {
    lines.emplace_back();
    append(lines, sections[i], shares[i], screen);
  }
  if (screen.height > 0 && lines.size() > screen.height) lines.resize(screen.height);
  return lines;
}

}  // namespace dwspool::app
