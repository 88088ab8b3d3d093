#include "dwspool/auth/digest.h"

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "support/cuts.h"
#include "support/vectors.h"

namespace dwspool::auth {
namespace {

using dwspool::testing::unhex;
using namespace std::string_literals;

}  // namespace

TEST_CASE("digest: published vectors of the hashes") {
  CHECK(hex_encode(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex_encode(sha256("")) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex_encode(sm3("abc")) ==
        "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
  CHECK(hex_encode(sm3("abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd")) ==
        "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732");
  CHECK(md5_hex("abc") == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(md5_hex("") == "d41d8cd98f00b204e9800998ecf8427e");
}

TEST_CASE("digest: HMAC-SHA-256, RFC 4231") {
  CHECK(hex_encode(hmac_sha256(std::string(20, '\x0b'), "Hi There")) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex_encode(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex_encode(hmac_sha256(std::string(131, '\xaa'),
                               "Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("digest: a view without bytes is an empty text") {
  const std::string_view nothing;
  CHECK(hex_encode(hmac_sha256(nothing, nothing)) ==
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
  CHECK(hmac_sha256("", "x") == hmac_sha256(nothing, "x"));
  CHECK(sha256(nothing) == sha256(""));
  CHECK(sm3(nothing) == sm3(""));
  CHECK(md5_hex(nothing) == md5_hex(""));
  CHECK(hex_encode(pbkdf2_sha256(nothing, nothing, 1)) ==
        "f7ce0b653d2d72a4108cf5abe912ffdd777616dbbb27a70e8204f3ae2d0f6fad");
  CHECK(hex_encode(pbkdf2_sha1(nothing, nothing, 1)) ==
        "1e437a1c79d75be61e91141dae20affc4892cc99abcc3fe753887bccc8920176");
  CHECK(equal_in_constant_time(nothing, ""));
  CHECK(base64_encode(nothing).empty());
}

TEST_CASE("digest: PBKDF2, RFC 6070 and RFC 7914") {
  // RFC 6070 gives the first 20 bytes.
  CHECK(hex_encode(pbkdf2_sha1("password", "salt", 1)).substr(0, 40) ==
        "0c60c80f961f0e71f3a9b524af6012062fe037a6");
  CHECK(hex_encode(pbkdf2_sha1("password", "salt", 4096)).substr(0, 40) ==
        "4b007901b765489abead49d926f721d065a429c1");
  CHECK(hex_encode(pbkdf2_sha1("passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                               4096)) ==
        "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038b6b89a48612c5a");
  CHECK(hex_encode(pbkdf2_sha1("pass\0word"s, "sa\0lt"s, 4096)) ==
        "56fa6aa75548099dcc37d7f03425e0c37f1c42b2e380c9bcd397764eb05be64a");
  CHECK(hex_encode(pbkdf2_sha256("passwd", "salt", 1)) ==
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}

TEST_CASE("digest: exclusive or") {
  CHECK(exclusive_or("\x0f\xf0\xff", "\xff\xff\xff") == "\xf0\x0f\x00"s);
  CHECK(exclusive_or("", "").empty());
  const std::string a = random_bytes(32);
  const std::string b = random_bytes(32);
  CHECK(exclusive_or(exclusive_or(a, b), b) == a);
  CHECK(exclusive_or(a, a) == std::string(32, '\0'));
}

TEST_CASE("digest: comparison sees every bit and every length") {
  const std::string text = random_bytes(32);
  CHECK(equal_in_constant_time(text, std::string(text)));
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string other = text;
      other[i] = static_cast<char>(static_cast<unsigned char>(other[i]) ^ (1U << bit));
      CHECK_FALSE(equal_in_constant_time(text, other));
    }
  }
  CHECK_FALSE(equal_in_constant_time(text, text + '\0'));
  CHECK_FALSE(equal_in_constant_time(text, text.substr(0, 31)));
  CHECK_FALSE(equal_in_constant_time(text, ""));
  CHECK(equal_in_constant_time("", ""));
}

TEST_CASE("base64: RFC 4648, both ways") {
  struct Row {
    std::string bytes;
    std::string text;
  };
  const std::vector<Row> rows = {{"", ""},
                                 {"f", "Zg=="},
                                 {"fo", "Zm8="},
                                 {"foo", "Zm9v"},
                                 {"foob", "Zm9vYg=="},
                                 {"fooba", "Zm9vYmE="},
                                 {"foobar", "Zm9vYmFy"},
                                 {"\xff\xff\xfe\xfb", "///++w=="},
                                 {"\0"s, "AA=="},
                                 {"\0\0\0"s, "AAAA"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(base64_encode(row.bytes) == row.text);
    std::string bytes = "left over";
    CHECK(base64_decode(row.text, bytes));
    CHECK(bytes == row.bytes);
  }
  for (std::size_t size = 0; size < 200; ++size) {
    const std::string bytes = random_bytes(size);
    std::string again;
    CHECK(base64_decode(base64_encode(bytes), again));
    CHECK(again == bytes);
  }
}

TEST_CASE("base64: whatever is not the one form of some bytes is refused") {
  for (const std::string& text : std::vector<std::string>{"Z",        "Zg",     "Zg=",
                                                          "Zg===",    "Zh==",  // stray bits
                                                          "Zm9=",     "=",      "==",
                                                          "====",     "=Zg=",   "Z===",
                                                          "Zg==Zg==", "Zm9v\n", " Zm9v",
                                                          "Zm9v ",    "Zm9 v",  "Zm9v\0\0\0\0"s,
                                                          "\n\n\n\n", "    ",   "    ====",
                                                          "Zm9v====", "Zm9-",   "Zm9_",
                                                          "Zm9,",     "----",   "\xff\xff\xff\xff",
                                                          "Zm\0v"s,   "   =",   "  =="}) {
    CAPTURE(text);
    std::string bytes;
    CHECK_FALSE(base64_decode(text, bytes));
  }
}

TEST_CASE("base64: of random texts only the canonical ones are taken") {
  std::mt19937 random(64);
  for (int round = 0; round < 50000; ++round) {
    const std::string text = dwspool::testing::random_text(random, random() % 13, "AQgw=+/ \n-z");
    std::string bytes;
    if (base64_decode(dwspool::testing::Exact(text), bytes)) REQUIRE(base64_encode(bytes) == text);
  }
}

TEST_CASE("random bytes: as many as asked for, and never the same") {
  for (const std::size_t size : {0U, 1U, 24U, 255U, 256U, 257U, 100000U}) {
    CHECK(random_bytes(size).size() == size);
  }
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random_bytes(16));
  CHECK(seen.size() == 1000);
}

}  // namespace dwspool::auth
