#include "dwspool/auth/gauss.h"

#include <cstdio>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

#include "support/cuts.h"
#include "support/vectors.h"

namespace dwspool::auth {
namespace {

using dwspool::testing::Exact;
using dwspool::testing::load_vectors;
using dwspool::testing::text_of;
using dwspool::testing::unhex;
using namespace std::string_literals;

const std::string salt_text = "9677838199f12d36f5ee971d49f68abc68282968d696f9091570be6d9b730a07";

// The payload behind the code of an AuthenticationRequest.
std::string payload_of(const std::string& message_hex, std::uint32_t code) {
  const std::string bytes = unhex(message_hex);
  const wire::FrameView view = wire::peek_frame(bytes);
  REQUIRE(view.status == wire::FrameStatus::complete);
  REQUIRE(view.total == bytes.size());
  REQUIRE(view.type == 'R');
  REQUIRE(wire::load_u32(bytes.data() + 5) == code);
  return bytes.substr(9);
}

std::string password_message(std::string_view answer) {
  std::string bytes;
  wire::append_password(bytes, std::string(answer) + '\0');
  return hex_encode(bytes);
}

// A challenge of code 10 or 13.
std::string challenge(std::uint32_t method, std::string_view salt, std::string_view token,
                      std::string_view tail = {}) {
  std::string payload;
  wire::append_u32(payload, method);
  return payload.append(salt).append(token).append(tail);
}

// What a vector of kind SHA256 says of every step from the password to the bytes on the wire.
void check_sha256(const YAML::Node& vector) {
  const std::string password = text_of(vector, "password");
  const std::string salt = text_of(vector, "random64code");
  const std::string token = unhex(text_of(vector, "token"));
  const auto iterations = vector["iterations"].as<std::uint32_t>();
  CHECK(hex_encode(pbkdf2_sha1(password, unhex(salt), iterations)) == text_of(vector, "k"));
  const GaussKeys keys = derive_gauss_keys(password, salt, iterations);
  CHECK(hex_encode(keys.client_key) == text_of(vector, "client_key"));
  CHECK(hex_encode(keys.stored_key) == text_of(vector, "stored_key"));
  CHECK(hex_encode(keys.server_key) == text_of(vector, "server_key"));
  CHECK(gauss_server_signature(keys, token) == text_of(vector, "server_signature"));
  const std::string answer = gauss_answer(keys, token);
  CHECK(answer == text_of(vector, "client_response"));
  CHECK(password_message(answer) == text_of(vector, "client_message_hex"));
  CHECK(gauss_verify(keys.stored_key, token, answer));

  const auto asked_351 =
      read_gauss_challenge(payload_of(text_of(vector, "auth_request_351_hex"), 10));
  REQUIRE(asked_351);
  CHECK(asked_351->method == 2);
  CHECK(asked_351->salt_hex == salt);
  CHECK(asked_351->token == token);
  CHECK(asked_351->iterations == iterations);
  CHECK(asked_351->server_signature_hex.empty());
  const auto asked_30 =
      read_gauss_challenge(payload_of(text_of(vector, "auth_request_30_hex"), 10));
  REQUIRE(asked_30);
  CHECK(asked_30->salt_hex == salt);
  CHECK(asked_30->token == token);
  CHECK(asked_30->iterations == 0);
  CHECK(asked_30->server_signature_hex == text_of(vector, "server_signature"));
  if (vector["auth_request_350_hex"]) {
    const auto asked_350 =
        read_gauss_challenge(payload_of(text_of(vector, "auth_request_350_hex"), 10));
    REQUIRE(asked_350);
    CHECK(asked_350->token == token);
    CHECK(asked_350->iterations == 0);
    CHECK(asked_350->server_signature_hex.empty());
  }

  const std::string stored = text_of(vector, "stored_rolpassword_sha256");
  const auto verifier = parse_gauss_verifier(stored);
  REQUIRE(verifier);
  CHECK(verifier->salt_hex == salt);
  CHECK(verifier->server_key == keys.server_key);
  CHECK(verifier->stored_key == keys.stored_key);
  CHECK(verifier->iterations == iterations);
  CHECK(verifier->md5.empty());
  CHECK(to_text(*verifier) == stored);
  CHECK(stored.ends_with(text_of(vector, "iteration_suffix")));
}

}  // namespace

TEST_CASE("GaussDB SHA256: the vectors that its own drivers agree with") {
  const YAML::Node file = load_vectors("gaussdb-auth-vectors.json");
  REQUIRE(file["sha256"].size() == 6);
  for (const YAML::Node& vector : file["sha256"]) {
    const std::string name = text_of(vector, "name");
    CAPTURE(name);
    CHECK(hex_encode(text_of(vector, "password")) == text_of(vector, "password_utf8_hex"));
    check_sha256(vector);
  }
}

TEST_CASE("GaussDB SHA256: corner cases, computed with Python's hashlib") {
  const YAML::Node file = load_vectors("gauss-extra-vectors.json");
  REQUIRE(file["sha256"].size() == 16);
  for (const YAML::Node& vector : file["sha256"]) {
    const std::string name = text_of(vector, "name");
    CAPTURE(name);
    check_sha256(vector);
    const GaussKeys keys =
        derive_gauss_keys(text_of(vector, "password"), text_of(vector, "random64code"),
                          vector["iterations"].as<std::uint32_t>(), GaussHash::sm3);
    CHECK(hex_encode(keys.stored_key) == text_of(vector, "sm3_stored_key"));
    CHECK(hex_encode(keys.server_key) == text_of(vector, "sm3_server_key"));
    CHECK(gauss_answer(keys, unhex(text_of(vector, "token"))) ==
          text_of(vector, "sm3_client_response"));
  }
}

TEST_CASE("GaussDB SHA256: tests/data/make_gauss_vectors.py writes those very vectors") {
  if (std::system("python3 -c 'import hashlib; hashlib.new(\"sm3\")' 2>/dev/null") != 0) {
    MESSAGE("no python3 with SM3 here");
    return;
  }
  const std::string data = std::string(DWSPOOL_SOURCE_DIR) + "/tests/data/";
  const std::string compare = "python3 -B '" + data + "make_gauss_vectors.py' - | cmp - '" + data +
                              "gauss-extra-vectors.json'";
  CHECK(std::system(compare.c_str()) == 0);
}

TEST_CASE("GaussDB SM3") {
  const YAML::Node file = load_vectors("gaussdb-auth-vectors.json");
  REQUIRE(file["sm3"].size() == 2);
  for (const YAML::Node& vector : file["sm3"]) {
    const std::string name = text_of(vector, "name");
    CAPTURE(name);
    const std::string token = unhex(text_of(vector, "token"));
    const GaussKeys keys =
        derive_gauss_keys(text_of(vector, "password"), text_of(vector, "random64code"),
                          vector["iterations"].as<std::uint32_t>(), GaussHash::sm3);
    CHECK(hex_encode(keys.stored_key) == text_of(vector, "stored_key"));
    CHECK(hex_encode(keys.server_key) == text_of(vector, "server_key"));
    CHECK(gauss_server_signature(keys, token) == text_of(vector, "server_signature"));
    const std::string answer = gauss_answer(keys, token);
    CHECK(answer == text_of(vector, "client_response"));
    CHECK(gauss_verify(keys.stored_key, token, answer, GaussHash::sm3));
    CHECK_FALSE(gauss_verify(keys.stored_key, token, answer, GaussHash::sha256));
  }
}

TEST_CASE("GaussDB code 11: md5_sha256") {
  const YAML::Node file = load_vectors("gaussdb-auth-vectors.json");
  REQUIRE(file["md5_sha256"].size() == 2);
  for (const YAML::Node& vector : file["md5_sha256"]) {
    const std::string salt = text_of(vector, "random64code");
    CAPTURE(salt);
    for (const std::uint32_t iterations : {2048U, 10000U}) {
      const GaussKeys keys = derive_gauss_keys(text_of(vector, "password"), salt, iterations);
      const std::string field = "client_response_iter" + std::to_string(iterations);
      CHECK(gauss_md5_sha256_answer(keys, salt, unhex(text_of(vector, "md5_salt"))) ==
            text_of(vector, field.c_str()));
    }
  }
}

TEST_CASE("GaussDB code 10, method 1: SHA256 of the stored MD5") {
  const YAML::Node file = load_vectors("gaussdb-auth-vectors.json");
  REQUIRE(file["sha256_md5stored"].size() == 2);
  for (const YAML::Node& vector : file["sha256_md5stored"]) {
    const std::string user = text_of(vector, "user");
    CAPTURE(user);
    CHECK(gauss_legacy_answer(user, text_of(vector, "password"), unhex(text_of(vector, "salt"))) ==
          text_of(vector, "client_response"));
  }
}

TEST_CASE("GaussDB COMBINED: one verifier for both methods") {
  const YAML::Node file = load_vectors("gaussdb-auth-vectors.json");
  for (const YAML::Node& vector : file["md5"]) {
    const std::string stored = text_of(vector, "stored_combined_rolpassword");
    CAPTURE(stored);
    REQUIRE(stored.size() == 244);
    const auto verifier = parse_gauss_verifier(stored);
    REQUIRE(verifier);
    CHECK(verifier->md5 == text_of(vector, "stored_md5"));
    CHECK(verifier->salt_hex == text_of(vector, "stored_combined_salt"));
    CHECK(to_text(*verifier) == stored);
    const GaussKeys keys =
        derive_gauss_keys(text_of(vector, "password"), verifier->salt_hex, verifier->iterations);
    CHECK(keys.stored_key == verifier->stored_key);
    CHECK(keys.server_key == verifier->server_key);
    CHECK(md5_answer(verifier->md5, unhex(text_of(vector, "salt"))) ==
          text_of(vector, "client_response"));
  }
}

TEST_CASE("GaussDB: the labels of the two server keys are spelled as they are") {
  const std::string k = pbkdf2_sha1("pw", unhex(salt_text), 1);
  CHECK(derive_gauss_keys("pw", salt_text, 1).server_key == hmac_sha256(k, "Sever Key"));
  CHECK(derive_gauss_keys("pw", salt_text, 1, GaussHash::sm3).server_key ==
        hmac_sha256(k, "Server Key"));
}

TEST_CASE("GaussDB: an answer is accepted as it is and in no other form") {
  const GaussKeys keys = derive_gauss_keys("Gauss@123", salt_text, 1);
  const std::string token = unhex("0a1b2c3d");
  const std::string answer = gauss_answer(keys, token);
  REQUIRE(gauss_verify(keys.stored_key, token, answer));
  for (std::size_t i = 0; i < answer.size(); ++i) {
    CAPTURE(i);
    for (const char c : {'0', 'f', 'g', '\0', 'A'}) {
      std::string wrong = answer;
      wrong[i] = c;
      if (wrong != answer) CHECK_FALSE(gauss_verify(keys.stored_key, token, wrong));
    }
    CHECK_FALSE(gauss_verify(keys.stored_key, token, Exact(answer.substr(0, i))));
  }
  std::string upper = answer;
  for (char& c : upper) c = (c >= 'a' && c <= 'f') ? static_cast<char>(c - 'a' + 'A') : c;
  REQUIRE(upper != answer);
  CHECK_FALSE(gauss_verify(keys.stored_key, token, upper));
  CHECK_FALSE(gauss_verify(keys.stored_key, token, answer + '\0'));
  CHECK_FALSE(gauss_verify(keys.stored_key, token, answer + "00"));
  CHECK_FALSE(gauss_verify(keys.stored_key, token, std::string(1024, '0')));
  CHECK_FALSE(gauss_verify(keys.stored_key, unhex("0a1b2c3e"), answer));
  CHECK_FALSE(gauss_verify(keys.server_key, token, answer));
  const GaussKeys others = derive_gauss_keys("Gauss@124", salt_text, 1);
  CHECK_FALSE(gauss_verify(keys.stored_key, token, gauss_answer(others, token)));
}

TEST_CASE("GaussDB challenge: exactly the shapes of the three protocol versions") {
  const std::string all =
      challenge(2, salt_text, "0a1b2c3d", "\0\0\x27\x10"s + std::string(200, 'a'));
  for (std::size_t n = 0; n <= all.size(); ++n) {
    CAPTURE(n);
    const auto read = read_gauss_challenge(Exact(all.substr(0, n)));
    CHECK(static_cast<bool>(read) == (n == 76 || n == 80 || n == 140));
    if (read) CHECK(read->iterations == (n == 80 ? 10000 : 0));
  }
  for (const std::uint32_t method : {2U, 3U}) {
    const auto read =
        read_gauss_challenge(challenge(method, salt_text, "0a1b2c3d", "\0\0\x27\x10"s));
    REQUIRE(read);
    CHECK(read->method == method);
  }
}

TEST_CASE("GaussDB challenge: method 1 is four bytes of salt") {
  const std::string all = "\0\0\0\1\1\2\0\xff\0\0"s;
  for (std::size_t n = 4; n <= all.size(); ++n) {
    CAPTURE(n);
    const auto read = read_gauss_challenge(Exact(all.substr(0, n)));
    CHECK(static_cast<bool>(read) == (n == 8));
    if (!read) continue;
    CHECK(read->method == 1);
    CHECK(read->token == "\1\2\0\xff"s);
    CHECK(read->salt_hex.empty());
  }
}

TEST_CASE("GaussDB challenge: digits are lower-case and hexadecimal") {
  const std::string tail = "\0\0\x27\x10"s;
  REQUIRE(read_gauss_challenge(challenge(2, salt_text, "0a1b2c3d", tail)));
  for (const char c : {'A', 'F', 'g', ' ', '\0', '\xff', '/', ':', '`'}) {
    CAPTURE(c);
    for (std::size_t i = 0; i < 64; ++i) {
      std::string salt = salt_text;
      salt[i] = c;
      CHECK_FALSE(read_gauss_challenge(challenge(2, salt, "0a1b2c3d", tail)));
    }
    for (std::size_t i = 0; i < 8; ++i) {
      std::string token = "0a1b2c3d";
      token[i] = c;
      CHECK_FALSE(read_gauss_challenge(challenge(2, salt_text, token, tail)));
    }
  }
}

TEST_CASE("GaussDB challenge: numbers of iterations") {
  const auto read = [](const std::string& tail) {
    return read_gauss_challenge(challenge(2, salt_text, "0a1b2c3d", tail));
  };
  CHECK_FALSE(read("\0\0\0\0"s));
  REQUIRE(read("\0\0\0\1"s));
  CHECK(read("\0\0\0\1"s)->iterations == 1);
  CHECK(read("\x7f\xff\xff\xff")->iterations == 0x7fffffff);
  CHECK(read("\xff\xff\xff\xff")->iterations == 0xffffffff);
}

TEST_CASE("GaussDB challenge: methods that are none of the three are named") {
  for (const std::uint32_t method : {0U, 4U, 5U, 6U, 7U, 8U, 256U, 0x02000000U, 0xffffffffU}) {
    CAPTURE(method);
    const auto read = read_gauss_challenge(challenge(method, salt_text, "0a1b2c3d"));
    REQUIRE_FALSE(read);
    CHECK(read.error().message.find("(" + std::to_string(method) + ")") != std::string::npos);
  }
}

TEST_CASE("GaussDB challenge: told from PostgreSQL's list of mechanisms") {
  CHECK(is_gauss_payload(challenge(2, salt_text, "0a1b2c3d")));
  CHECK(is_gauss_payload("\0\0\0\1\1\2\3\4"s));
  CHECK(is_gauss_payload("\0\0\0\0"s));
  CHECK_FALSE(is_gauss_payload("SCRAM-SHA-256\0\0"s));
  CHECK_FALSE(is_gauss_payload("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s));
  CHECK_FALSE(is_gauss_payload("\0"s));  // an empty list
  CHECK_FALSE(is_gauss_payload("\0\0\0"s));
  CHECK_FALSE(is_gauss_payload(""));
}

TEST_CASE("GaussDB verifier: the number of iterations hides in the last eleven characters") {
  struct Row {
    std::uint32_t iterations;
    std::string suffix;
  };
  const std::vector<Row> rows = {{1, "fcdfdcefade"},         {9, "ncdfdcefade"},
                                 {2048, "mgdhdcefade"},      {10000, "ecdfecefade"},
                                 {50000, "ecdficefade"},     {134217728, "mekmeeiibde"},
                                 {4294967295, "jlfmjlioche"}};
  for (const Row& row : rows) {
    CAPTURE(row.iterations);
    GaussVerifier verifier{salt_text, std::string(32, 's'), std::string(32, 't'), "",
                           row.iterations};
    const std::string text = to_text(verifier);
    CHECK(text.size() == 209);
    const auto parsed = parse_gauss_verifier(text);
    REQUIRE(parsed);
    CHECK(parsed->iterations == row.iterations);
    CHECK(text.substr(198) == row.suffix);
  }
}

TEST_CASE("GaussDB verifier: texts that are none") {
  const GaussVerifier verifier{salt_text, std::string(32, '\x11'), std::string(32, '\x22'), "",
                               10000};
  const std::string good = to_text(verifier);
  GaussVerifier both = verifier;
  both.md5 = "md5d0fd34e8f56764eb981df6b84706f60b";
  const std::string combined = to_text(both);
  REQUIRE(parse_gauss_verifier(good));
  REQUIRE(parse_gauss_verifier(combined));
  CHECK(combined.size() == 244);
  for (std::size_t n = 0; n < combined.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(parse_gauss_verifier(Exact(combined.substr(0, n))));
  }
  CHECK_FALSE(parse_gauss_verifier(good + "e"));
  CHECK_FALSE(parse_gauss_verifier(combined + "e"));
  CHECK_FALSE(parse_gauss_verifier("sm3" + good.substr(6)));
  CHECK_FALSE(parse_gauss_verifier("SHA256" + good.substr(6)));
  // No character may be anything that to_text would not have written.
  const auto check_each = [](const std::string& text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      for (const char c : {' ', '\0', 'g', 'A', '\xff', '~'}) {
        std::string wrong = text;
        wrong[i] = c;
        CAPTURE(wrong);
        const auto parsed = parse_gauss_verifier(wrong);
        if (parsed) CHECK(to_text(*parsed) == wrong);
        if (c != 'A' && c != 'g') CHECK_FALSE(parsed);
      }
    }
  };
  check_each(good);
  check_each(combined);
  std::string zero = good.substr(0, 198) + "ecdfdcefade";
  CHECK_FALSE(parse_gauss_verifier(zero));  // 0 iterations
  zero.replace(198, 11, "nlmomlnojmn");     // 99999999999
  CHECK_FALSE(parse_gauss_verifier(zero));
}

}  // namespace dwspool::auth
