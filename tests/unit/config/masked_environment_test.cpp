#include "config/masked_environment.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

std::string seen(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "unset" : value;
}

TEST_CASE("the environment is changed, and comes back") {
  const Variable one("DWSPOOL_TEST_ONE", "1");
  const Variable two("DWSPOOL_TEST_TWO", "2");
  const Variable three("DWSPOOL_TEST_THREE", std::nullopt);
  for (int round = 0; round < 2; ++round) {
    {
      const MaskedEnvironment masked({{"DWSPOOL_TEST_ONE", "x"},
                                      {"DWSPOOL_TEST_TWO", std::nullopt},
                                      {"DWSPOOL_TEST_THREE", "3"}});
      CHECK(seen("DWSPOOL_TEST_ONE") == "x");
      CHECK(seen("DWSPOOL_TEST_TWO") == "unset");
      CHECK(seen("DWSPOOL_TEST_THREE") == "3");
      CHECK(seen("PATH") != "unset");
    }
    CHECK(seen("DWSPOOL_TEST_ONE") == "1");
    CHECK(seen("DWSPOOL_TEST_TWO") == "2");
    CHECK(seen("DWSPOOL_TEST_THREE") == "unset");
  }
}

TEST_CASE("a change of the real environment is noticed") {
  const std::vector<VariableChange> changes = {{"DWSPOOL_TEST_ONE", "x"}};
  {
    const Variable two("DWSPOOL_TEST_TWO", "before");
    const MaskedEnvironment masked(changes);
    CHECK(seen("DWSPOOL_TEST_TWO") == "before");
  }
  const Variable two("DWSPOOL_TEST_TWO", "after");
  const MaskedEnvironment masked(changes);
  CHECK(seen("DWSPOOL_TEST_TWO") == "after");
}

TEST_CASE("other threads may look at the environment meanwhile") {
  const Variable one("DWSPOOL_TEST_ONE", "1");
  std::atomic<bool> done{false};
  std::atomic<int> odd{0};
  std::thread reader([&] {
    while (!done) {
      const std::string value = seen("DWSPOOL_TEST_ONE");
      if (value != "1" && value != "x") ++odd;
    }
  });
  const std::vector<VariableChange> changes = {{"DWSPOOL_TEST_ONE", "x"}};
  for (int i = 0; i < 2000; ++i) {
    const MaskedEnvironment masked(changes);
  }
  done = true;
  reader.join();
  CHECK(odd == 0);
}

}  // namespace
}  // namespace dwspool::config::testing
