// `replay`: what decides whether something is run again.
#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::size_t shortest_text = 8;
constexpr std::size_t longest_text = 200;
constexpr std::uint32_t most_waiting = 1'000'000;
constexpr std::uint32_t most_attempts_per_second = 1'000'000;
constexpr std::uint32_t most_switchovers = 1000;

// Five digits or capital letters, and of a class that is an error's.
bool is_error_code(std::string_view code) {
  const bool shaped = code.size() == 5 && std::all_of(code.begin(), code.end(), [](char c) {
                        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
                      });
  return shaped && !code.starts_with("00") && !code.starts_with("01") && !code.starts_with("02");
}

void check_text(Section& section, std::string_view text) {
  if (text.size() < shortest_text || text.size() > longest_text) {
    section.complain("text", "expected " + std::to_string(shortest_text) + " to " +
                                 std::to_string(longest_text) +
                                 " bytes that only this error has in its message");
  } else if (to_lower(text).find("commit") != std::string::npos) {
    section.complain("text",
                     "an error about a COMMIT does not say that nothing has run; take another");
  }
}

Refusal read_refusal(Section section) {
  Refusal refusal;
  if (auto code = section.text("sqlstate", "an SQLSTATE")) refusal.sqlstate = std::move(*code);
  if (auto text = section.text("text")) refusal.text = std::move(*text);
  section.refuse_unknown();
  if (!section.clean()) return refusal;
  if (!is_error_code(refusal.sqlstate)) {
    section.complain(
        "sqlstate",
        "expected the SQLSTATE of an error: five digits or capital letters, as \"08006\"");
  }
  check_text(section, refusal.text);
  return refusal;
}

}  // namespace

void read_cluster_replay(Section& cluster, Cluster& into) {
  Section replay = cluster.section("replay");
  for (const Item& item : replay.list("refusals")) {
    Refusal refusal = read_refusal(replay.section_of(item, "refusals"));
    if (std::find(into.refusals.begin(), into.refusals.end(), refusal) == into.refusals.end()) {
      into.refusals.push_back(std::move(refusal));
    }
  }
  ReplayBounds& bounds = into.replay_bounds;
  replay.number("max_waiting", {0, most_waiting}, bounds.max_waiting);
  replay.number("attempt_rate", {0, most_attempts_per_second}, bounds.attempt_rate);
  replay.number("max_switchovers", {0, most_switchovers}, bounds.max_switchovers);
  replay.number("quarantine_after", {0, most_switchovers}, bounds.quarantine_after);
  replay.refuse_unknown();
}

}  // namespace dwspool::config
