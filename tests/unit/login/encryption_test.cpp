// sslmode by sslmode, answer by answer.
#include "dwspool/login/encryption.h"

#include <doctest/doctest.h>

namespace dwspool::login {
namespace {

using Answer = Encryption::Answer;

Answer answer(Encryption& encryption, std::string_view bytes) {
  return encryption.on_answer(bytes);
}

}  // namespace

TEST_CASE("encryption: what each mode does with each answer") {
  struct Row {
    TlsMode mode;
    bool asks;
    Answer yes;
    Answer no;
    Answer error;
  };
  const Row rows[] = {
      {TlsMode::prefer, true, Answer::start_tls, Answer::in_clear, Answer::again},
      {TlsMode::require, true, Answer::start_tls, Answer::refused, Answer::refused},
      {TlsMode::verify_ca, true, Answer::start_tls, Answer::refused, Answer::refused},
      {TlsMode::verify_full, true, Answer::start_tls, Answer::refused, Answer::refused},
  };
  for (const Row& row : rows) {
    CAPTURE(to_string(row.mode));
    CHECK(Encryption(row.mode).asks() == row.asks);
    Encryption yes(row.mode);
    CHECK(answer(yes, "") == Answer::incomplete);
    CHECK(answer(yes, "S") == row.yes);
    Encryption no(row.mode);
    CHECK(answer(no, "N") == row.no);
    Encryption error(row.mode);
    CHECK(answer(error, "E") == row.error);
    CHECK(error.asks() == (row.error != Answer::again));
    Encryption odd(row.mode);
    CHECK(answer(odd, "X") == Answer::refused);
    CHECK_FALSE(odd.reason().empty());
  }
  CHECK_FALSE(Encryption(TlsMode::disable).asks());
  CHECK_FALSE(Encryption(TlsMode::allow).asks());
}

TEST_CASE("encryption: nothing may come behind the answer (CVE-2021-23222)") {
  for (const TlsMode mode : {TlsMode::prefer, TlsMode::require, TlsMode::verify_full}) {
    for (const char* bytes : {"SR", "NR", "SS", "S\x16\x03"}) {
      Encryption encryption(mode);
      CHECK(answer(encryption, bytes) == Answer::refused);
    }
  }
}

TEST_CASE("encryption: an error in place of the answer is not believed (CVE-2024-10977)") {
  Encryption encryption(TlsMode::require);
  CHECK(answer(encryption, "E\0\0\0\x20SFATAL") == Answer::refused);
  CHECK(encryption.reason().find("FATAL") == std::string_view::npos);
}

TEST_CASE("encryption: the other way, once, and never with a password that was refused") {
  for (const bool proven : {false, true}) {
    Encryption allow(TlsMode::allow);
    CHECK(allow.on_login_refused("28000", proven) == !proven);
    CHECK(allow.asks() == !proven);
    if (!proven) CHECK_FALSE(allow.on_login_refused("28000", false));
    Encryption prefer(TlsMode::prefer);
    CHECK(prefer.on_login_refused("28000", proven) == !proven);
    CHECK(prefer.asks() == proven);
    for (const TlsMode mode : {TlsMode::disable, TlsMode::require, TlsMode::verify_ca}) {
      CHECK_FALSE(Encryption(mode).on_login_refused("28000", proven));
    }
  }
  Encryption locked(TlsMode::prefer);
  CHECK_FALSE(locked.on_login_refused("28P01", false));
  CHECK_FALSE(locked.on_login_refused("57P03", false));
  // DWS where TLS is required.
  Encryption required(TlsMode::allow);
  CHECK(required.on_login_refused("57P03", false));
  CHECK(required.asks());
}

TEST_CASE("encryption: a handshake that fails") {
  Encryption prefer(TlsMode::prefer);
  CHECK(prefer.on_handshake_failed());
  CHECK_FALSE(prefer.asks());
  CHECK_FALSE(prefer.on_handshake_failed());
  for (const TlsMode mode : {TlsMode::allow, TlsMode::require, TlsMode::verify_full}) {
    CHECK_FALSE(Encryption(mode).on_handshake_failed());
  }
}

}  // namespace dwspool::login
