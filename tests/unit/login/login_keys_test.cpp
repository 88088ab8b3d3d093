// Log-ins with keys in the place of a password: what was proven once proves it again, at a server
// that keeps the same secret, and at no other.
#include <string>

#include <doctest/doctest.h>

#include "dwspool/auth/gauss.h"
#include "dwspool/auth/md5.h"
#include "dwspool/auth/user_secret.h"

#include "support/login_script.h"
#include "support/server_messages.h"

namespace dwspool::login {
namespace {

using namespace dwspool::testing;
using namespace std::string_literals;

const std::string salt_hex(64, 'a');
const std::string other_salt_hex(64, 'b');
constexpr std::uint32_t rounds = 10;
const std::string token = "0a1b2c3d";

const auth::ScramVerifier& verifier() {
  static const auth::ScramVerifier made =
      auth::make_scram_verifier("pencil", "sixteen bytes...", 4096);
  return made;
}

auth::LoginKeys scram_keys() {
  const auth::ScramKeys keys = auth::derive_scram_keys("pencil", verifier().salt, 4096);
  return auth::login_keys(verifier(), keys.client_key);
}

auth::LoginKeys gauss_keys() {
  const auth::GaussKeys keys = auth::derive_gauss_keys("pencil", salt_hex, rounds);
  return {auth::LoginKeys::Kind::gauss_sha256,
          Secret(keys.client_key),
          salt_hex,
          rounds,
          keys.stored_key,
          keys.server_key};
}

auth::LoginKeys md5_keys() {
  return auth::login_keys(auth::md5_password("app", "pencil"));
}

Identity with_keys(const auth::LoginKeys& keys) {
  Identity identity = LoginScript::identity();
  identity.credential = {std::nullopt, keys};
  return identity;
}

std::string gauss_request(const std::string& salt) {
  return server::gauss(10, 2, salt, token, rounds);
}

std::string gauss_right_answer() {
  const auth::GaussKeys keys = auth::derive_gauss_keys("pencil", salt_hex, rounds);
  return auth::gauss_answer(keys, "\x0a\x1b\x2c\x3d"s) + '\0';
}

// What a log-in with the password of LoginScript's identity was satisfied with.
auth::Credential used_by(Identity identity, const std::string& request) {
  BackendLogin login(std::move(identity));
  std::string out;
  login.start(out);
  std::string_view in = request;
  if (login.on_bytes(in, out) == BackendLogin::Need::derivation) {
    login.on_derived(derived(login.derivation()), out);
  }
  const std::string welcome = server::welcome();
  in = welcome;
  login.on_bytes(in, out);
  REQUIRE(login.state() == BackendLogin::State::done);
  CHECK(login.proven() == !login.used().empty());
  return login.used();
}

}  // namespace

TEST_CASE("log-in by keys: SCRAM without a password and without PBKDF2") {
  const LoginOutcome outcome = LoginScript(with_keys(scram_keys()))
                                   .server_says(server::sasl({"SCRAM-SHA-256"}))
                                   .client_answers()
                                   .server_answers(scram_challenge(verifier()))
                                   .client_answers()
                                   .server_answers(scram_verdict(verifier(), server::welcome()))
                                   .play();
  CHECK(outcome.end() == "done");
  CHECK(outcome.method == "scram-sha-256");
}

TEST_CASE("log-in by keys: GaussDB's") {
  const LoginOutcome outcome = LoginScript(with_keys(gauss_keys()))
                                   .server_says(gauss_request(salt_hex))
                                   .client_answers(gauss_right_answer())
                                   .server_says(server::welcome())
                                   .play();
  CHECK(outcome.end() == "done");
  CHECK(outcome.method == "gaussdb-sha256");
}

TEST_CASE("log-in by keys: an md5 hash") {
  const LoginOutcome outcome =
      LoginScript(with_keys(md5_keys()))
          .server_says(server::md5("salt"))
          .client_answers(auth::md5_answer(auth::md5_password("app", "pencil"), "salt") + '\0')
          .server_says(server::welcome())
          .play();
  CHECK(outcome.end() == "done");
}

TEST_CASE("log-in by keys: where the secret has changed, nothing is sent") {
  const auth::ScramVerifier changed = auth::make_scram_verifier("pencil", "another salt....", 4096);
  const LoginOutcome scram = LoginScript(with_keys(scram_keys()))
                                 .server_says(server::sasl({"SCRAM-SHA-256"}))
                                 .client_answers()
                                 .server_answers(scram_challenge(changed))
                                 .play();
  const LoginOutcome gauss =
      LoginScript(with_keys(gauss_keys())).server_says(gauss_request(other_salt_hex)).play();
  for (const LoginOutcome& outcome : {scram, gauss}) {
    CAPTURE(outcome.end());
    CHECK(outcome.failure == "credentials");
    CHECK(outcome.report.sqlstate == "28P01");
    CHECK(outcome.sent.back().empty());
  }
}

TEST_CASE("log-in by keys: those of one kind answer no request of another") {
  const std::string scram = server::sasl({"SCRAM-SHA-256"});
  const std::string legacy = server::authentication(10, "\0\0\0\1salt"s);
  struct Row {
    auth::LoginKeys keys;
    std::vector<std::string> requests;
  };
  const std::vector<Row> rows = {
      {scram_keys(), {server::cleartext(), server::md5("salt"), gauss_request(salt_hex), legacy}},
      {gauss_keys(),
       {server::cleartext(), server::md5("salt"), scram, legacy,
        server::gauss(13, 3, salt_hex, token, rounds)}},
      {md5_keys(), {server::cleartext(), scram, gauss_request(salt_hex), legacy}},
  };
  for (const Row& row : rows) {
    for (const std::string& request : row.requests) {
      const LoginOutcome outcome = LoginScript(with_keys(row.keys)).server_says(request).play();
      CAPTURE(outcome.end());
      CHECK(outcome.failure == "unsupported");
      CHECK(outcome.report.sqlstate == "28000");
      CHECK(outcome.sent.back().empty());
    }
  }
}

TEST_CASE("log-in by keys: what a password was worth, without the password where that does") {
  const auth::Credential gauss = used_by(LoginScript::identity(), gauss_request(salt_hex));
  CHECK_FALSE(gauss.password);
  CHECK(auth::fingerprint(gauss) == auth::fingerprint({std::nullopt, gauss_keys()}));
  const auth::Credential md5 = used_by(LoginScript::identity(), server::md5("salt"));
  CHECK_FALSE(md5.password);
  CHECK(md5.keys->secret.reveal() == auth::md5_password("app", "pencil"));
  const auth::Credential clear = used_by(LoginScript::identity(), server::cleartext());
  CHECK(clear.password == Secret("pencil"s));
  CHECK(used_by(LoginScript::identity(), "").empty());
  // ... and of keys the same keys.
  CHECK(used_by(with_keys(md5_keys()), server::md5("salt")).keys->secret == md5_keys().secret);
}

TEST_CASE("credentials: fingerprints tell them apart, and give nothing away") {
  const std::vector<auth::Credential> all = {
      {},
      {Secret("pencil"s), std::nullopt},
      {Secret("pencils"s), std::nullopt},
      {Secret(""s), std::nullopt},
      {std::nullopt, scram_keys()},
      {std::nullopt, gauss_keys()},
      {std::nullopt, md5_keys()},
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < all.size(); ++j) {
      CHECK((auth::fingerprint(all[i]) == auth::fingerprint(all[j])) == (i == j));
    }
    if (all[i].keys) {
      CHECK(auth::fingerprint(all[i]).find(all[i].keys->secret.reveal()) == std::string::npos);
    }
  }
}

}  // namespace dwspool::login
