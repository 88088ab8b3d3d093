#include "dwspool/proxy/acquaintances.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::proxy {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1h};

Acquaintances::Entry entry(const std::string& secret, TimePoint until) {
  return {auth::parse_user_secret(secret), {}, start, until};
}

}  // namespace

TEST_CASE("acquaintances: known until then, and not any longer") {
  Acquaintances known;
  CHECK_FALSE(known.find("bob", start));
  known.store("bob", entry("secret", start + 1min));
  CHECK(known.find("bob", start + 1min - 1ns)->secret.plain.reveal() == "secret");
  CHECK_FALSE(known.find("bob", start + 1min));
  CHECK_FALSE(known.find("eve", start));
  known.store("bob", entry("another", start + 2min));
  CHECK(known.find("bob", start + 1min)->secret.plain.reveal() == "another");
  known.forget("bob");
  known.forget("eve");
  CHECK_FALSE(known.find("bob", start));
  known.store("bob", entry("secret", start + 1min));
  known.clear();
  CHECK_FALSE(known.find("bob", start));
}

TEST_CASE("acquaintances: the oldest give way") {
  Acquaintances known;
  for (std::size_t i = 0; i <= Acquaintances::most; ++i) {
    known.store(std::to_string(i), entry("secret", start + 1min));
    known.forget("nobody");
  }
  CHECK_FALSE(known.find("0", start));
  CHECK(known.find("1", start));
  CHECK(known.find(std::to_string(Acquaintances::most), start));
}

}  // namespace dwspool::proxy
