#include "app/top_view.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace dwspool::app {
namespace {

Sheet stats(std::string database, int queries, int microseconds) {
  return {{"database", "query_count", "xact_count", "query_time", "wait_time", "bytes_received",
           "bytes_sent"},
          {{std::move(database), std::to_string(queries), std::to_string(queries / 2),
            std::to_string(microseconds), "0", "0", "0"}}};
}

Snapshot snapshot() {
  Snapshot snapshot;
  snapshot.at = 100;
  snapshot.time = "2000-01-02 03:04:05";
  snapshot.address = "here:6432";
  snapshot.version = {{"version"}, {{"dwspool 1.2"}}};
  snapshot.state = {{"key", "value"}, {{"active", "yes"}, {"paused", "no"}, {"suspended", "no"}}};
  snapshot.lists = {{"list", "items"}, {{"used_clients", "12"}}};
  snapshot.pools = {
      {"database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_tested",
       "sv_login", "maxwait", "maxwait_us", "pool_mode"},
      {{"quiet", "app", "3", "0", "1", "2", "0", "0", "0", "0", "auto"},
       {"crowded", "app", "5", "7", "5", "0", "0", "1", "2", "500000", "auto"},
       {"pgbouncer", "pgbouncer", "9", "0", "0", "0", "0", "0", "0", "0", "statement"}}};
  snapshot.stats = stats("crowded", 1000, 5000000);
  snapshot.coordinators = {
      {"cluster", "coordinator", "state", "role", "serving", "connections", "opened", "failures"},
      {{"dws", "cn1:8000", "up", "primary", "yes", "6", "8", "0"},
       {"dws", "cn2:8000", "down", "unknown", "no", "0", "1", "4"}}};
  snapshot.replay = {
      {"name", "failure", "outcome", "value"},
      {{"total", "transaction_lost", "masked", "3"}, {"duration_seconds_sum", "", "", "1"}}};
  snapshot.pins = {{"id", "database", "user", "reasons"},
                   {{"1", "crowded", "app", "listens"}, {"2", "crowded", "app", "listens"}}};
  return snapshot;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

// The words of the line that has them all.
bool has_line(const std::string& text, const std::vector<std::string_view>& words) {
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = text.find('\n', from);
    const std::string_view line = std::string_view(text).substr(from, end - from);
    if (std::all_of(words.begin(), words.end(), [&](std::string_view word) {
          return line.find(word) != std::string_view::npos;
        })) {
      return true;
    }
    from = end + 1;
  }
  return false;
}

}  // namespace

TEST_CASE("top: what there is") {
  Snapshot later = snapshot();
  later.at = 102;
  later.stats = stats("crowded", 1500, 5500000);
  const Snapshot before = snapshot();
  const std::string text = joined(render(later, &before, {}));
  CHECK(text.starts_with("dwspool 1.2 at here:6432  active  2000-01-02 03:04:05\n"));
  CHECK(has_line(text, {"clients 12", "waiting 7 for 2.5s", "in use 6, idle 2", "statements 250/s",
                        "transactions 125/s"}));
  CHECK(has_line(text, {"crowded", "app", "auto", "12", "7", "2.5s", "5"}));
  CHECK(text.find("crowded") < text.find("quiet"));  // who waits comes first
  CHECK(text.find("pgbouncer") == std::string::npos);
  CHECK(has_line(text, {"crowded", "250", "125", "1.00ms", "1500"}));
  CHECK(has_line(text, {"dws", "cn2:8000", "down", "no", "4"}));
  CHECK(has_line(text, {"failure", "transaction_lost", "masked", "3"}));
  CHECK(text.find("duration") == std::string::npos);
  CHECK(has_line(text, {"crowded", "app", "listens", "2"}));
  CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("top: without an earlier look there are no rates") {
  const std::string text = joined(render(snapshot(), nullptr, {}));
  CHECK(text.find("statements 0/s") == std::string::npos);
  CHECK(has_line(text, {"crowded", "-", "1000"}));
}

TEST_CASE("top: a paused dwspool says so; an empty one has nothing to show") {
  Snapshot empty;
  empty.state = {{"key", "value"}, {{"active", "no"}, {"paused", "yes"}, {"suspended", "no"}}};
  const std::string text = joined(render(empty, nullptr, {}));
  CHECK(has_line(text, {"dwspool at", "paused"}));
  for (const char* nothing : {"no client has come yet", "no statement has been run yet",
                              "none has been tried yet", "nothing has failed"}) {
    CHECK(text.find(nothing) != std::string::npos);
  }
}

TEST_CASE("top: never more than the screen has") {
  Snapshot many = snapshot();
  for (int i = 0; i < 200; ++i) {
    many.pools.rows.push_back(
        {"db" + std::to_string(i), "app", "1", "0", "1", "0", "0", "0", "0", "0", "auto"});
  }
  for (std::size_t height = 1; height < 80; ++height) {
    for (const std::size_t width : {1U, 10U, 40U, 80U, 200U}) {
      const std::vector<std::string> lines = render(many, nullptr, {width, height, false});
      CHECK(lines.size() <= height);
      for (const std::string& line : lines) CHECK(line.size() <= width);
    }
  }
  const std::string text = joined(render(many, nullptr, {80, 40, false}));
  CHECK(has_line(text, {"and", "more"}));
  CHECK(has_line(text, {"cn2:8000"}));  // the long table leaves room for the short ones
  CHECK(has_line(text, {"listens"}));
  CHECK(joined(render(many, nullptr, {})).find("more") == std::string::npos);
}

TEST_CASE("top: colours are dressing only") {
  std::string dressed = joined(render(snapshot(), nullptr, {80, 60, true}));
  CHECK(dressed.find("\x1b[31mdown") != std::string::npos);
  for (std::size_t at = dressed.find('\x1b'); at != std::string::npos; at = dressed.find('\x1b')) {
    dressed.erase(at, dressed.find('m', at) + 1 - at);
  }
  CHECK(dressed == joined(render(snapshot(), nullptr, {80, 60, false})));
}

TEST_CASE("top: names do not reach the terminal as they are") {
  Snapshot hostile = snapshot();
  for (Sheet* sheet : {&hostile.pools, &hostile.stats, &hostile.coordinators, &hostile.replay,
                       &hostile.pins, &hostile.version}) {
    for (auto& row : sheet->rows) {
      for (std::string& cell : row) {
        if (cell.find_first_not_of("0123456789") != std::string::npos && cell != "total") {
          cell += "\x1b]0;owned\x07\n\x9b";
        }
      }
    }
  }
  hostile.address = "\x1b[2J";
  const std::vector<std::string> lines = render(hostile, nullptr, {});
  for (const std::string& line : lines) {
    for (const char c : line) CHECK((c >= ' ' && c < '\x7f'));
  }
}

TEST_CASE("top: columns of another version may be missing") {
  Snapshot old = snapshot();
  old.coordinators.columns.resize(3);
  old.pools.columns[0] = "something";
  old.pools.rows[0].resize(2);
  CHECK_FALSE(render(old, &old, {}).empty());
  CHECK(old.pools.number(1, "maxwait_us") == 500000);
  CHECK(old.pools.number(99, "maxwait_us") == 0);
  CHECK(old.pools.number(1, "pool_mode") == 0);
}

}  // namespace dwspool::app
