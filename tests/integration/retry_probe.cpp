// Reads a text of SQL; writes a line with "reads" or "more", as its facts say, and the question to
// the catalog that they lead to.
#include <iostream>
#include <iterator>
#include <string>

#include "dwspool/retry/catalog_question.h"
#include "dwspool/retry/facts.h"

int main() {
  using namespace dwspool::retry;
  const std::string sql(std::istreambuf_iterator<char>(std::cin), {});
  CatalogNames names;
  const TextFacts facts = understand(sql);
  for (const StatementFacts& each : facts.statements) {
    names.functions.insert(names.functions.end(), each.functions.begin(), each.functions.end());
    names.relations.insert(names.relations.end(), each.relations.begin(), each.relations.end());
  }
  std::cout << (facts.only_reads() ? "reads\n" : "more\n") << catalog_question(names);
  return 0;
}
