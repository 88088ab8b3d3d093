// Whatever the text, understanding it ends without a crash; and the recognizer, which decides in a
// hurry, has missed no end of a transaction that PostgreSQL's own parser sees.
#include "dwspool/retry/facts.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "dwspool/sql/statement.h"

#include "fuzz/input.h"

using namespace dwspool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t flags = input.byte();
  const bool conforming = (flags & 1U) == 0;
  const bool safe = (flags & 2U) == 0;
  const std::string_view text = input.rest();
  const retry::TextFacts facts = retry::understand(text, conforming, safe);
  fuzz::require(facts.understood || facts.statements.size() == 1);
  for (const retry::StatementFacts& each : facts.statements) {
    for (const auto* const names : {&each.functions, &each.relations}) {
      fuzz::require(std::is_sorted(names->begin(), names->end()));
      fuzz::require(std::all_of(names->begin(), names->end(),
                                [](const std::string& name) { return !name.empty(); }));
    }
    if (!facts.understood) {
      fuzz::require(each.nature == retry::Nature::write || each.nature == retry::Nature::unknown);
    }
  }
  if (!facts.understood) {
    fuzz::require(!facts.only_reads() && !facts.only_light());
    return 0;
  }
  const sql::Statement seen = sql::recognize(text, conforming, safe);
  if (seen.effects.has(sql::Effect::unclear)) return 0;
  if (facts.ends_transaction()) fuzz::require(seen.effects.has(sql::Effect::ends_transaction));
  fuzz::require(!seen.single || facts.single());
  return 0;
}
