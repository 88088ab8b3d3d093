// Reads a text of SQL; writes the question to the catalog that its facts lead to.
#include <iostream>
#include <iterator>
#include <string>

#include "dwspool/retry/catalog_question.h"
#include "dwspool/retry/facts.h"

int main() {
  using namespace dwspool::retry;
  const std::string sql(std::istreambuf_iterator<char>(std::cin), {});
  CatalogNames names;
  for (const StatementFacts& each : understand(sql).statements) {
    names.functions.insert(names.functions.end(), each.functions.begin(), each.functions.end());
    names.relations.insert(names.relations.end(), each.relations.begin(), each.relations.end());
  }
  std::cout << catalog_question(names);
  return 0;
}
