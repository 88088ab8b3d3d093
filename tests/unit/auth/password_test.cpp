// A password that comes in clear, against every kind of secret; and SCRAM bound to its connection.
#include <doctest/doctest.h>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "dwspool/auth/client_auth.h"
#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

namespace dwspool::auth {
namespace {

const std::string password = "right Gauss@123";

UserSecret gauss_secret() {
  const std::string salt(64, 'a');
  const GaussKeys keys = derive_gauss_keys(password, salt, 2048);
  return parse_user_secret(
      to_text(GaussVerifier{salt, keys.server_key, keys.stored_key, "", 2048}));
}

std::vector<UserSecret> secrets() {
  UserSecret prepared = parse_user_secret(password);
  add_verifier(prepared, "0123456789abcdef");
  return {parse_user_secret(password), prepared, parse_user_secret(md5_password("bob", password)),
          parse_user_secret(to_text(make_scram_verifier(password, "0123456789abcdef"))),
          gauss_secret()};
}

bool right(const UserSecret& secret, const std::string& given, const std::string& user = "bob") {
  return judge({user, secret, mock_scram_verifier(user, "mock"), Secret(given)}).right;
}

}  // namespace

TEST_CASE("passwords: the right one fits every kind of secret, and no other does") {
  CHECK(gauss_secret().kind == UserSecret::Kind::gauss);
  for (const UserSecret& secret : secrets()) {
    CAPTURE(static_cast<int>(secret.kind));
    CHECK(right(secret, password));
    for (const std::string& wrong :
         {std::string(), password + "x", std::string("x"), std::string(1024, 'x'),
          md5_password("bob", password), std::string("right gauss@123")}) {
      CHECK_FALSE(right(secret, wrong));
    }
  }
  CHECK_FALSE(right({}, password));
  CHECK_FALSE(right({}, ""));
  CHECK_FALSE(right(parse_user_secret(md5_password("bob", password)), password, "eve"));
}

TEST_CASE("passwords: what a right one is worth towards a server with the same secret") {
  for (const UserSecret& secret : secrets()) {
    CAPTURE(static_cast<int>(secret.kind));
    const ScramVerifier mock = mock_scram_verifier("bob", "mock");
    const PasswordVerdict good = judge({"bob", secret, mock, Secret(password)});
    CHECK(good.credential.empty() == (secret.kind == UserSecret::Kind::plain));
    CHECK_FALSE(good.credential.password);
    CHECK(judge({"bob", secret, mock, Secret("wrong " + password)}).credential.empty());
    if (!good.credential.keys) continue;
    const LoginKeys& keys = *good.credential.keys;
    switch (keys.kind) {
      case LoginKeys::Kind::md5:
        CHECK(keys.secret.reveal() == md5_password("bob", password));
        break;
      case LoginKeys::Kind::scram:
        CHECK(keys.salt == secret.scram->salt);
        CHECK(sha256(keys.secret.reveal()) == secret.scram->stored_key);
        break;
      case LoginKeys::Kind::gauss_sha256:
      case LoginKeys::Kind::gauss_sm3:
        CHECK(keys.salt == secret.gauss->salt_hex);
        CHECK(keys.iterations == secret.gauss->iterations);
        CHECK(sha256(keys.secret.reveal()) == secret.gauss->stored_key);
        break;
    }
  }
}

TEST_CASE("passwords: the conversation") {
  const auto ask = [](UserSecret secret) {
    ClientAuth auth(
        {ClientMethod::password, "bob", std::move(secret), std::string(24, 'r'), "mock", {}});
    CHECK(auth.start().send == std::string("R\0\0\0\x08\0\0\0\x03", 9));
    return auth;
  };
  ClientAuth known = ask(parse_user_secret(password));
  REQUIRE(known.on_answer(password + '\0').verdict == ClientAuth::Verdict::need_check);
  CHECK(judge(known.check()).right);
  CHECK(known.on_answer(password + '\0').verdict == ClientAuth::Verdict::malformed);
  ClientAuth again = ask(parse_user_secret(password));
  CHECK(again.on_checked({true, {}}).verdict == ClientAuth::Verdict::malformed);
  ClientAuth accepted = ask(parse_user_secret(password));
  accepted.on_answer(password + '\0');
  CHECK(accepted.on_checked({true, {}}).verdict == ClientAuth::Verdict::accepted);
  ClientAuth refused = ask({});
  refused.on_answer(std::string("x\0", 2));
  CHECK_FALSE(judge(refused.check()).right);
  CHECK(refused.on_checked({}).verdict == ClientAuth::Verdict::refused);
  for (const std::string& odd : {std::string("no end"), std::string("a\0b\0", 4), std::string()}) {
    ClientAuth malformed = ask(parse_user_secret(password));
    CHECK(malformed.on_answer(odd).verdict == ClientAuth::Verdict::malformed);
  }
}

TEST_CASE("scram: bound to the connection") {
  const std::string here(32, 'h');
  const std::string there(32, 't');
  const ScramVerifier verifier = make_scram_verifier(password, "0123456789abcdef");
  const ScramKeys keys = derive_scram_keys(password, verifier.salt, verifier.iterations);
  // What the server's end makes of what the client's says; nothing: malformed.
  const auto proven = [&](const std::string& of_server, const std::string& of_client, bool bound,
                          bool chosen) -> std::optional<bool> {
    ScramServer server(verifier, "server", of_server);
    if (chosen) server.bind();
    ScramClient client("client", of_client, bound);
    const Result<std::string> first = server.on_client_first(client.first());
    if (!first) return std::nullopt;
    REQUIRE(client.on_server_first(*first, 10000));
    const Result<ScramServer::Final> last = server.on_client_final(client.final(keys));
    if (!last) return std::nullopt;
    CHECK(client.on_server_final(last->message).operator bool() == last->proven);
    return last->proven;
  };
  CHECK(proven(here, here, true, true) == true);
  CHECK(proven("", "", false, false) == true);
  // The client has TLS and was offered no binding, since the server has none to offer.
  CHECK(proven("", here, false, false) == true);
  // Somebody in between has one TLS connection to each.
  CHECK_FALSE(proven(there, here, true, true));
  // ... and takes the offer away: the client says that it would have bound.
  CHECK_FALSE(proven(here, here, false, false));
  // A client that does not know binding may leave it.
  CHECK(proven(here, "", false, false) == true);
  // Mechanism and message contradict each other.
  CHECK_FALSE(proven(here, here, true, false));
  CHECK_FALSE(proven(here, here, false, true));
  CHECK_FALSE(proven(here, "", false, true));
}

TEST_CASE("scram: binding is offered where there is something to bind to") {
  for (const std::string& end_point : {std::string(), std::string(32, 'x')}) {
    ClientAuth auth(
        {ClientMethod::scram_sha_256, "bob", {}, std::string(24, 'r'), "mock", end_point});
    const std::string asked = auth.start().send;
    CHECK((asked.find("SCRAM-SHA-256-PLUS") != std::string::npos) == !end_point.empty());
    CHECK(asked.ends_with(std::string("SCRAM-SHA-256\0\0", 15)));
  }
}

}  // namespace dwspool::auth
