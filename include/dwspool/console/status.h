// The state of the whole process as one JSON document, for the status page and for scripts: the
// tables of SHOW, column by column, under the same names.
//
// It is served without a log-in, so it has nothing that /metrics does not have, either, but for the
// pools of bound sessions: no client's address, no name of an application, no SQL, no setting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dwspool/console/facts.h"
#include "dwspool/console/table.h"

namespace dwspool::console {

struct Situation {
  std::int64_t time_ms = 0;  // since the epoch
  bool draining = false;
  std::size_t workers = 0;
  std::vector<std::size_t> silent = {};  // workers that did not answer; what they know is missing
};

std::string status_json(const Facts& facts, const Situation& situation);

// An array with an object for each row. What is a number to the client of the console is one here,
// NULL is null.
void append_json(std::string& out, const Table& table);

}  // namespace dwspool::console
