// Log-ins that go well, and what is known afterwards.
#include "dwspool/login/backend_login.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/types.h"

#include "dwspool/auth/gauss.h"
#include "dwspool/auth/md5.h"

#include "support/login_script.h"
#include "support/server_messages.h"
#include "support/vectors.h"

namespace dwspool::login {
namespace {

using namespace dwspool::testing;
using namespace std::string_literals;

// "n,,n=,r=client-nonce" as a SASLInitialResponse.
const std::string scram_first = "SCRAM-SHA-256\0\0\0\0\x14n,,n=,r=client-nonce"s;

const auth::ScramVerifier& verifier() {
  static const auth::ScramVerifier made =
      auth::make_scram_verifier("pencil", "sixteen bytes...", 4096);
  return made;
}

Identity with_password(const std::string& password) {
  Identity identity = LoginScript::identity();
  identity.credential.password = Secret(password);
  return identity;
}

}  // namespace

TEST_CASE("log-in: the start-up packet has the names, and nothing that a session may want") {
  BackendLogin login(LoginScript::identity());
  std::string out = "before";
  login.start(out);
  CHECK(out == "before\0\0\0\x1e\0\x03\0\x33user\0app\0database\0db\0\0"s);
  CHECK(login.state() == BackendLogin::State::startup);
  CHECK_FALSE(login.finished());
}

TEST_CASE("log-in: protocol 3.0 when it is asked for") {
  Identity identity = LoginScript::identity();
  identity.protocol = wire::protocol_3_0;
  BackendLogin login(identity);
  std::string out;
  login.start(out);
  CHECK(out == "\0\0\0\x1e\0\x03\0\0user\0app\0database\0db\0\0"s);
}

TEST_CASE("log-in: trust") {
  Identity identity = LoginScript::identity();
  identity.credential.password.reset();
  const LoginOutcome outcome = LoginScript(identity).server_says(server::welcome()).play();
  REQUIRE(outcome.done);
  CHECK(outcome.method == "trust");
  CHECK(outcome.dialect == "postgres");
  CHECK(outcome.parameters ==
        std::vector<std::pair<std::string, std::string>>{{"server_version", "15.1"}});
  CHECK(outcome.key.pid == 7);
  CHECK(outcome.key.secret == "\x01\x02\x03\x04");
  CHECK(outcome.notices.empty());
  CHECK(outcome.left.empty());
}

TEST_CASE("log-in: the password in clear") {
  const LoginOutcome outcome = LoginScript()
                                   .server_says(server::cleartext())
                                   .client_answers("pencil\0"s)
                                   .server_says(server::welcome())
                                   .play();
  CHECK(outcome.done);
  CHECK(outcome.method == "password");
}

TEST_CASE("log-in: md5") {
  const LoginOutcome outcome =
      LoginScript()
          .server_says(server::md5("\x01\x02\0\xff"s))
          .client_answers(auth::md5_answer(auth::md5_password("app", "pencil"), "\x01\x02\0\xff"s) +
                          '\0')
          .server_says(server::welcome())
          .play();
  CHECK(outcome.done);
  CHECK(outcome.method == "md5");
  CHECK(outcome.dialect == "postgres");
}

TEST_CASE("log-in: SCRAM-SHA-256") {
  const LoginOutcome outcome = LoginScript()
                                   .server_says(server::sasl({"SCRAM-SHA-256"}))
                                   .client_answers(scram_first)
                                   .server_answers(scram_challenge(verifier()))
                                   .client_answers()
                                   .server_answers(scram_verdict(verifier(), server::welcome()))
                                   .play();
  CHECK(outcome.done);
  CHECK(outcome.method == "scram-sha-256");
  CHECK(outcome.dialect == "postgres");
}

TEST_CASE("log-in: SCRAM-SHA-256 is found among other mechanisms") {
  const LoginOutcome outcome =
      LoginScript()
          .server_says(server::sasl({"SCRAM-SHA-256-PLUS", "OAUTHBEARER", "SCRAM-SHA-256", "X"}))
          .client_answers(scram_first)
          .server_answers(scram_challenge(verifier()))
          .client_answers()
          .server_answers(scram_verdict(verifier(), server::welcome()))
          .play();
  CHECK(outcome.done);
  CHECK(outcome.method == "scram-sha-256");
}

TEST_CASE("log-in: SCRAM-SHA-256 prepares the password as the server does") {
  const LoginOutcome outcome = LoginScript(with_password("pen\u00adcil"))
                                   .server_says(server::sasl({"SCRAM-SHA-256"}))
                                   .client_answers(scram_first)
                                   .server_answers(scram_challenge(verifier()))
                                   .client_answers()
                                   .server_answers(scram_verdict(verifier(), server::welcome()))
                                   .play();
  CHECK(outcome.done);
}

TEST_CASE("log-in: GaussDB's SHA256 at protocol 3.51, for every vector") {
  for (const char* file : {"gaussdb-auth-vectors.json", "gauss-extra-vectors.json"}) {
    for (const YAML::Node& vector : load_vectors(file)["sha256"]) {
      const std::string name = text_of(vector, "name");
      CAPTURE(name);
      const LoginOutcome outcome = LoginScript(with_password(text_of(vector, "password")))
                                       .server_says(unhex(text_of(vector, "auth_request_351_hex")))
                                       .client_says(unhex(text_of(vector, "client_message_hex")))
                                       .server_says(server::welcome())
                                       .play();
      CHECK(outcome.done);
      CHECK(outcome.method == "gaussdb-sha256");
      CHECK(outcome.dialect == "dws");
    }
  }
}

TEST_CASE("log-in: GaussDB's SM3") {
  for (const YAML::Node& vector : load_vectors("gaussdb-auth-vectors.json")["sm3"]) {
    const std::string name = text_of(vector, "name");
    CAPTURE(name);
    const LoginOutcome outcome =
        LoginScript(with_password(text_of(vector, "password")))
            .server_says(server::gauss(13, 3, text_of(vector, "random64code"),
                                       text_of(vector, "token"),
                                       vector["iterations"].as<std::uint32_t>()))
            .client_answers(text_of(vector, "client_response") + '\0')
            .server_says(server::welcome())
            .play();
    CHECK(outcome.done);
    CHECK(outcome.method == "gaussdb-sm3");
    CHECK(outcome.dialect == "dws");
  }
}

TEST_CASE("log-in: GaussDB's code 10 for a password stored as MD5") {
  const LoginOutcome outcome =
      LoginScript()
          .server_says(server::authentication(10, "\0\0\0\1\x01\x02\0\xff"s))
          .client_answers(auth::gauss_legacy_answer("app", "pencil", "\x01\x02\0\xff"s) + '\0')
          .server_says(server::welcome())
          .play();
  CHECK(outcome.done);
  CHECK(outcome.method == "gaussdb-md5");
  CHECK(outcome.dialect == "dws");
}

TEST_CASE("log-in: PostgreSQL goes on with the protocol it knows") {
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{}, std::vector<std::string>{"_pq_.a", "_pq_.b"}}) {
    const LoginOutcome outcome = LoginScript()
                                     .server_says(server::negotiate(options) + server::cleartext())
                                     .client_answers("pencil\0"s)
                                     .server_says(server::welcome())
                                     .play();
    CHECK(outcome.done);
    CHECK(outcome.dialect == "postgres");
  }
}

TEST_CASE("log-in: GaussDB is known by what it reports, too") {
  for (const char* name : {"is_sysadmin", "IS_SYSADMIN"}) {
    const LoginOutcome outcome =
        LoginScript()
            .server_says(server::auth_ok() + server::parameter("server_version", "9.2.4") +
                         server::parameter(name, "off") + server::ready())
            .play();
    CHECK(outcome.done);
    CHECK(outcome.dialect == "dws");
    CHECK(outcome.method == "trust");
  }
  CHECK(LoginScript()
            .server_says(server::auth_ok() + server::parameter("is_superuser", "off") +
                         server::ready())
            .play()
            .dialect == "postgres");
}

TEST_CASE("log-in: parameters are kept in order, with their case, however often they come") {
  const LoginOutcome outcome =
      LoginScript()
          .server_says(server::auth_ok() + server::parameter("DateStyle", "ISO, MDY") +
                       server::parameter("application_name", "") +
                       server::parameter("DateStyle", "German") + server::ready())
          .play();
  CHECK(outcome.parameters ==
        std::vector<std::pair<std::string, std::string>>{
            {"DateStyle", "ISO, MDY"}, {"application_name", ""}, {"DateStyle", "German"}});
}

TEST_CASE("log-in: 256 parameters are taken, more are too many") {
  std::string parameters;
  for (int i = 0; i < 256; ++i) parameters += server::parameter("p" + std::to_string(i), "v");
  const LoginOutcome most =
      LoginScript().server_says(server::auth_ok() + parameters + server::ready()).play_whole();
  REQUIRE(most.done);
  CHECK(most.parameters.size() == 256);
  CHECK(most.parameters.back().first == "p255");
  parameters += server::parameter("p256", "v");
  const LoginOutcome too_many =
      LoginScript().server_says(server::auth_ok() + parameters + server::ready()).play();
  CHECK(too_many.failure == "protocol_error");
  CHECK(too_many.report.sqlstate == "08P01");
}

TEST_CASE("log-in: keys of protocol 3.2, and a server without any") {
  const std::string secret(256, 'k');
  CHECK(LoginScript()
            .server_says(server::auth_ok() + server::key(0x80000001, secret) + server::ready())
            .play()
            .key.secret == secret);
  const LoginOutcome none = LoginScript().server_says(server::auth_ok() + server::ready()).play();
  CHECK(none.done);
  CHECK(none.key.secret.empty());
}

TEST_CASE("log-in: what the server says behind ReadyForQuery belongs to the session") {
  const std::string behind =
      server::parameter("TimeZone", "UTC") + server::notice("late") + "S\0\0"s;
  const LoginOutcome outcome = LoginScript().server_says(server::welcome() + behind).play();
  CHECK(outcome.done);
  CHECK(outcome.left == behind);
  CHECK(outcome.parameters.size() == 1);
  CHECK(outcome.notices.empty());
}

TEST_CASE("log-in: notices are kept, wherever they come") {
  const LoginOutcome outcome = LoginScript()
                                   .server_says(server::notice("one") + server::cleartext())
                                   .client_answers("pencil\0"s)
                                   .server_says(server::notice("two") + server::auth_ok() +
                                                server::notice("three") + server::ready())
                                   .play();
  CHECK(outcome.done);
  CHECK(outcome.notices == std::vector<std::string>{"one", "two", "three"});
}

TEST_CASE("log-in: of many notices the first eight are kept, printable and short") {
  std::string many;
  for (int i = 0; i < 300; ++i) many += server::notice("n" + std::to_string(i));
  const LoginOutcome outcome = LoginScript().server_says(many + server::welcome()).play_whole();
  CHECK(outcome.done);
  REQUIRE(outcome.notices.size() == 8);
  CHECK(outcome.notices.back() == "n7");
  const LoginOutcome odd =
      LoginScript()
          .server_says(server::notice("a\nb\x1b[0m") + server::notice(std::string(5000, 'x')) +
                       server::report('N', {{'m', "put_line"}}) + server::message('N', "") +
                       server::welcome())
          .play_whole();
  REQUIRE(odd.done);
  REQUIRE(odd.notices.size() == 4);
  CHECK(odd.notices[0] == "a\\x0ab\\x1b[0m");
  CHECK(odd.notices[1] == std::string(256, 'x') + "...");
  CHECK(odd.notices[2].empty());
  CHECK(odd.notices[3].empty());
}

TEST_CASE("log-in: a machine that is done takes nothing more and loses nothing") {
  BackendLogin login(LoginScript::identity());
  std::string out;
  login.start(out);
  out.clear();
  const std::string welcome = server::welcome();
  std::string_view in = welcome;
  CHECK(login.on_bytes(in, out) == BackendLogin::Need::nothing);
  CHECK(login.finished());
  const std::string more = server::error("57P01", "later");
  in = more;
  CHECK(login.on_bytes(in, out) == BackendLogin::Need::nothing);
  CHECK(in == more);
  login.on_lost("the connection is gone");
  CHECK(login.state() == BackendLogin::State::done);
  CHECK(out.empty());
}

TEST_CASE("log-in: keys are derived as the server's own verifier was made") {
  const DerivedKeys scram =
      derive({Derivation::Kind::scram, Secret(std::string("pencil")), "sixteen bytes...", 4096});
  CHECK(scram.stored_key == verifier().stored_key);
  CHECK(scram.server_key == verifier().server_key);
  for (const YAML::Node& vector : load_vectors("gaussdb-auth-vectors.json")["sha256"]) {
    const DerivedKeys keys =
        derive({Derivation::Kind::gauss_sha256, Secret(text_of(vector, "password")),
                text_of(vector, "random64code"), vector["iterations"].as<std::uint32_t>()});
    CHECK(hex_encode(keys.client_key.reveal()) == text_of(vector, "client_key"));
    CHECK(hex_encode(keys.stored_key) == text_of(vector, "stored_key"));
    CHECK(hex_encode(keys.server_key) == text_of(vector, "server_key"));
  }
  for (const YAML::Node& vector : load_vectors("gaussdb-auth-vectors.json")["sm3"]) {
    const DerivedKeys keys =
        derive({Derivation::Kind::gauss_sm3, Secret(text_of(vector, "password")),
                text_of(vector, "random64code"), vector["iterations"].as<std::uint32_t>()});
    CHECK(hex_encode(keys.stored_key) == text_of(vector, "stored_key"));
    CHECK(hex_encode(keys.server_key) == text_of(vector, "server_key"));
  }
}

}  // namespace dwspool::login
