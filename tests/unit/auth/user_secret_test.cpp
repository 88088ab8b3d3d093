#include "dwspool/auth/user_secret.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/auth/scram.h"

namespace dwspool::auth {
namespace {

using Kind = UserSecret::Kind;
using namespace std::string_literals;

const std::string verifier_text =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

}  // namespace

TEST_CASE("user secret: what a text stands for") {
  struct Row {
    std::string text;
    Kind kind;
  };
  const std::vector<Row> rows = {
      {"", Kind::none},
      {" ", Kind::plain},
      {"secret", Kind::plain},
      {"\0"s, Kind::plain},
      {"md5", Kind::plain},
      {"md5d0fd34e8f56764eb981df6b84706f60b", Kind::md5},
      {"md5D0FD34E8F56764EB981DF6B84706F60B", Kind::md5},
      {"MD5d0fd34e8f56764eb981df6b84706f60b", Kind::plain},
      {"md5d0fd34e8f56764eb981df6b84706f60", Kind::plain},    // a digit is missing
      {"md5d0fd34e8f56764eb981df6b84706f60b0", Kind::plain},  // one too many
      {"md5d0fd34e8f56764eb981df6b84706f60g", Kind::plain},
      {verifier_text, Kind::scram},
      {verifier_text.substr(1), Kind::plain},
      {"SCRAM-SHA-256$", Kind::plain},
      {"SCRAM-SHA-256$4096:x$y:z", Kind::plain},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const UserSecret secret = parse_user_secret(row.text);
    CHECK(secret.kind == row.kind);
    CHECK(secret.plain.reveal() == (row.kind == Kind::plain ? row.text : ""));
    CHECK(secret.md5.empty() == (row.kind != Kind::md5));
    CHECK(secret.scram.has_value() == (row.kind == Kind::scram));
  }
}

TEST_CASE("user secret: md5 hashes are kept in lower case, for they are compared as text") {
  CHECK(parse_user_secret("md5D0FD34E8F56764EB981DF6B84706F60B").md5 ==
        "md5d0fd34e8f56764eb981df6b84706f60b");
}

TEST_CASE("user secret: a verifier is kept as it is") {
  const UserSecret secret = parse_user_secret(verifier_text);
  REQUIRE(secret.scram);
  CHECK(to_text(*secret.scram) == verifier_text);
}

TEST_CASE("user secret: a plain one gets a verifier, once") {
  UserSecret secret = parse_user_secret("pencil");
  CHECK_FALSE(secret.scram);
  add_verifier(secret, "salt one");
  REQUIRE(secret.scram);
  CHECK(to_text(*secret.scram) == to_text(make_scram_verifier("pencil", "salt one")));
  CHECK(secret.kind == Kind::plain);
  CHECK(secret.plain.reveal() == "pencil");
  add_verifier(secret, "salt two");
  CHECK(secret.scram->salt == "salt one");
}

TEST_CASE("user secret: the other kinds are left as they are") {
  for (const std::string& text : {""s, "md5d0fd34e8f56764eb981df6b84706f60b"s, verifier_text}) {
    CAPTURE(text);
    UserSecret secret = parse_user_secret(text);
    const UserSecret before = secret;
    add_verifier(secret, "salt");
    CHECK(secret.kind == before.kind);
    CHECK(secret.scram.has_value() == before.scram.has_value());
    if (secret.scram) CHECK(to_text(*secret.scram) == verifier_text);
  }
}

}  // namespace dwspool::auth
