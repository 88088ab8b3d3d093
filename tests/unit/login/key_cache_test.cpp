#include "dwspool/login/key_cache.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::login {
namespace {

Derivation work(const std::string& password = "pw") {
  return {Derivation::Kind::gauss_sha256, Secret(password), "salt", 10};
}
DerivedKeys keys(const std::string& name) {
  return {Secret(name + " client"), name + " stored", name + " server"};
}

}  // namespace

TEST_CASE("key cache: what was stored is found") {
  KeyCache cache;
  CHECK_FALSE(cache.find("a", work()));
  cache.store("a", work(), keys("1"));
  const auto found = cache.find("a", work());
  REQUIRE(found);
  CHECK(found->client_key.reveal() == "1 client");
  CHECK(found->stored_key == "1 stored");
  CHECK(found->server_key == "1 server");
  CHECK(cache.size() == 1);
}

TEST_CASE("key cache: anything else asked for is a miss") {
  KeyCache cache;
  cache.store("a", work(), keys("1"));
  CHECK_FALSE(cache.find("b", work()));
  CHECK_FALSE(cache.find("", work()));
  CHECK_FALSE(cache.find("a", work("other")));
  CHECK_FALSE(cache.find("a", work("")));
  Derivation other = work();
  other.salt = "pepper";
  CHECK_FALSE(cache.find("a", other));
  other = work();
  other.iterations = 11;
  CHECK_FALSE(cache.find("a", other));
  for (const Derivation::Kind kind : {Derivation::Kind::scram, Derivation::Kind::gauss_sm3}) {
    other = work();
    other.kind = kind;
    CHECK_FALSE(cache.find("a", other));
  }
  CHECK(cache.find("a", work()));
}

TEST_CASE("key cache: an account has one entry, the last") {
  KeyCache cache;
  cache.store("a", work(), keys("1"));
  cache.store("b", work(), keys("2"));
  cache.store("a", work("new"), keys("3"));
  CHECK(cache.size() == 2);
  CHECK_FALSE(cache.find("a", work()));
  REQUIRE(cache.find("a", work("new")));
  CHECK(cache.find("a", work("new"))->stored_key == "3 stored");
  CHECK(cache.find("b", work())->stored_key == "2 stored");
}

TEST_CASE("key cache: what is forgotten is gone") {
  KeyCache cache;
  cache.store("a", work(), keys("1"));
  cache.store("b", work(), keys("2"));
  cache.forget("a");
  cache.forget("never known");
  CHECK(cache.size() == 1);
  CHECK_FALSE(cache.find("a", work()));
  CHECK(cache.find("b", work()));
}

TEST_CASE("key cache: finding changes nothing, and gives a copy") {
  KeyCache cache;
  cache.store("a", work(), keys("1"));
  {
    auto found = cache.find("a", work());
    REQUIRE(found);
    found->client_key = Secret(std::string("changed"));
  }
  CHECK(cache.find("a", work())->client_key.reveal() == "1 client");
}

}  // namespace dwspool::login
