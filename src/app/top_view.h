// What `dwspool top` shows, as lines of text: tables of the console in, lines out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::app {

// The answer to one SHOW.
struct Sheet {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;

  // Empty when there is no such column, as with another version.
  std::string_view cell(std::size_t row, std::string_view column) const;
  double number(std::size_t row, std::string_view column) const;
};

struct Snapshot {
  double at = 0;  // seconds, of any clock that only goes forward
  std::string time;
  std::string address;
  Sheet version;
  Sheet state;
  Sheet lists;
  Sheet pools;
  Sheet stats;  // SHOW STATS_TOTALS
  Sheet coordinators;
  Sheet replay;
  Sheet pins;
};

struct Screen {
  std::size_t width = 0;  // 0: any
  std::size_t height = 0;
  bool colors = false;
};

// `before`: an earlier one of the same dwspool, or null: then there are no rates. No line is wider
// than the screen, and there are no more of them than it has; what does not fit is counted.
// Whatever the tables hold, control characters do not get out.
std::vector<std::string> render(const Snapshot& now, const Snapshot* before, const Screen& screen);

}  // namespace dwspool::app
