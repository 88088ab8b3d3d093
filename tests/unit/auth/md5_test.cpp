#include "dwspool/auth/md5.h"

#include <string>

#include <doctest/doctest.h>

#include "support/vectors.h"

namespace dwspool::auth {

using dwspool::testing::text_of;
using dwspool::testing::unhex;
using namespace std::string_literals;

TEST_CASE("md5: the password is followed by the name") {
  CHECK(md5_password("bob", "secret") == "md521f3163f8f86fa10bdefbfbd502a8f06");
  CHECK(md5_answer("md521f3163f8f86fa10bdefbfbd502a8f06", "\x01\x02\x00\xff"s) ==
        "md5302ca694934ca57d88a826d0f68cf37c");
  CHECK(md5_password("ob", "secretb") == md5_password("bob", "secret"));  // that is how it is
  CHECK(md5_password("", "") == "md5d41d8cd98f00b204e9800998ecf8427e");
  CHECK(md5_answer(md5_password("", ""), "\0\0\0\0"s) == "md591b86670dcd47857d222fa05653500aa");
}

TEST_CASE("md5: the vectors that GaussDB's driver for node agrees with") {
  const YAML::Node file = dwspool::testing::load_vectors("gaussdb-auth-vectors.json");
  REQUIRE(file["md5"].size() == 3);
  for (const YAML::Node& vector : file["md5"]) {
    const std::string user = text_of(vector, "user");
    CAPTURE(user);
    const std::string stored = md5_password(user, text_of(vector, "password"));
    CHECK(stored == text_of(vector, "stored_md5"));
    CHECK(md5_answer(stored, unhex(text_of(vector, "salt"))) == text_of(vector, "client_response"));
  }
}

}  // namespace dwspool::auth
