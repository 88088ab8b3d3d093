// Servers that say no, and what dwspool makes of their reasons.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/auth/md5.h"
#include "dwspool/login/backend_login.h"

#include "support/login_script.h"
#include "support/server_messages.h"

namespace dwspool::login {
namespace {

using namespace dwspool::testing;
using namespace std::string_literals;

const std::string salt_hex = "9677838199f12d36f5ee971d49f68abc68282968d696f9091570be6d9b730a07";

}  // namespace

TEST_CASE("refused log-in: the SQLSTATE decides what may be tried next") {
  struct Row {
    std::string sqlstate;
    std::string failure;
  };
  const std::vector<Row> rows = {
      {"28P01", "credentials"},  // wrong password
      {"28000", "credentials"},  // no entry in pg_hba.conf, account locked
      {"28P02", "credentials"},  // GaussDB: initial password not changed
      {"3D000", "refused"},      // no such database
      {"42501", "refused"},     {"0A000", "refused"},
      {"YY006", "refused"},     {"XX000", "refused"},
      {"57P03", "unavailable"},  // starting up, shutting down, in recovery
      {"57P01", "unavailable"}, {"57P02", "unavailable"},
      {"53300", "unavailable"},  // too many clients
      {"53200", "unavailable"}, {"08006", "unavailable"},
      {"08P01", "unavailable"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.sqlstate);
    const std::string error = server::error(row.sqlstate, "no");
    // Before any request, in answer to the password, and behind AuthenticationOk.
    const LoginOutcome at_once = LoginScript().server_says(error).play();
    CHECK(at_once.end() == row.failure + " " + row.sqlstate + ": no");
    const LoginOutcome after_password = LoginScript()
                                            .server_says(server::cleartext())
                                            .client_answers("pencil\0"s)
                                            .server_says(error)
                                            .play();
    CHECK(after_password.end() == row.failure + " " + row.sqlstate + ": no");
    const LoginOutcome at_last =
        LoginScript().server_says(server::auth_ok() + server::parameter("a", "b") + error).play();
    CHECK(at_last.end() == row.failure + " " + row.sqlstate + ": no");
  }
}

TEST_CASE("refused log-in: what the server says is passed on") {
  const LoginOutcome outcome = LoginScript()
                                   .server_says(server::error({{'S', "FATAL"},
                                                               {'C', "53300"},
                                                               {'M', "too many"},
                                                               {'D', "of them"},
                                                               {'H', "wait"},
                                                               {'F', "proc.c"}}))
                                   .play();
  CHECK(outcome.report.severity == wire::Severity::error);
  CHECK(outcome.report.sqlstate == "53300");
  CHECK(outcome.report.message == "too many");
  CHECK(outcome.report.detail == "of them");
  CHECK(outcome.report.hint == "wait");
}

TEST_CASE("refused log-in: an ERROR is as final as a FATAL") {
  // GaussDB in thread-pool mode.
  const LoginOutcome outcome = LoginScript()
                                   .server_says(server::error({{'S', "ERROR"},
                                                               {'c', "1234"},
                                                               {'M', "pending mode"},
                                                               {'C', "57P03"},
                                                               {'d', "INIT"}}) +
                                                server::ready())
                                   .play();
  CHECK(outcome.end() == "unavailable 57P03: pending mode");
  CHECK(outcome.left == server::ready());
}

TEST_CASE("refused log-in: errors that lack something") {
  struct Row {
    std::string name;
    std::string body;
    std::string sqlstate;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"no SQLSTATE", "SFATAL\0Mno\0\0"s, "08006", "no"},
      {"no message", "SFATAL\0C28P01\0\0"s, "28P01", ""},
      {"no severity", "C28P01\0Mno\0\0"s, "28P01", "no"},
      {"nothing", "\0"s, "08006", ""},
      {"not even the terminator", "", "08006", ""},
      {"unterminated", "SFATAL\0C28P01\0Mno", "08006", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const LoginOutcome outcome = LoginScript().server_says(server::message('E', row.body)).play();
    CHECK_FALSE(outcome.done);
    CHECK(outcome.report.sqlstate == row.sqlstate);
    CHECK(outcome.report.message == row.message);
  }
}

TEST_CASE("refused log-in: a server that does not know 3.51 is asked for 3.0 next") {
  for (const char* text :
       {"unsupported frontend protocol 3.51: server supports 2.0 to 3.0",
        "dn_1: unsupported frontend protocol 3.51.", "unsupported protocol version 196659"}) {
    CAPTURE(text);
    const std::string error = server::error("0A000", text);
    CHECK(LoginScript().server_says(error).play().failure == "old_protocol");
    CHECK(LoginScript().server_says(server::notice("x") + error).play().failure == "old_protocol");
    // Not when it has not been asked for, nor when the server has got further than that.
    Identity identity = LoginScript::identity();
    identity.protocol = wire::protocol_3_0;
    CHECK(LoginScript(identity).server_says(error).play().failure == "refused");
    CHECK(LoginScript()
              .server_says(server::cleartext())
              .client_answers("pencil\0"s)
              .server_says(error)
              .play()
              .failure == "refused");
  }
}

TEST_CASE("refused log-in: a server without a process for us says so as in protocol 2") {
  const std::string text = "Ecould not fork new process for connection: Out of memory\n\0"s;
  const LoginOutcome outcome = LoginScript().server_says(text).play();
  CHECK(outcome.end() ==
        "unavailable 08006: could not fork new process for connection: Out of memory");
  CHECK(outcome.left.empty());
  // Only as the first thing it says, and not for ever.
  CHECK(LoginScript()
            .server_says(server::cleartext())
            .client_answers("pencil\0"s)
            .server_says(text)
            .play()
            .failure == "protocol_error");
  CHECK(LoginScript().server_says("E" + std::string(1023, 'x')).play().failure == "protocol_error");
  CHECK(LoginScript().server_says("E" + std::string(1022, 'x') + '\0').play().failure ==
        "unavailable");
}

TEST_CASE("refused log-in: no password in the configuration") {
  for (const std::string& request :
       {server::cleartext(), server::md5("salt"), server::sasl({"SCRAM-SHA-256"}),
        server::gauss(10, 2, salt_hex, "0a1b2c3d", 10),
        server::gauss(13, 3, salt_hex, "0a1b2c3d", 10),
        server::authentication(10, "\0\0\0\1salt"s)}) {
    Identity identity = LoginScript::identity();
    identity.credential.password.reset();
    const LoginOutcome outcome = LoginScript(identity).server_says(request).play();
    CHECK(outcome.failure == "unsupported");
    CHECK(outcome.report.sqlstate == "28000");
    CHECK(outcome.report.message.find("\"app\"") != std::string::npos);
    CHECK_FALSE(outcome.report.hint.empty());
    CHECK(outcome.sent.back().empty());
  }
}

TEST_CASE("refused log-in: an empty password is one") {
  Identity identity = LoginScript::identity();
  identity.credential.password = Secret(std::string());
  CHECK(LoginScript(identity)
            .server_says(server::cleartext())
            .client_answers("\0"s)
            .server_says(server::error("28P01", "no"))
            .play()
            .failure == "credentials");
}

TEST_CASE("refused log-in: methods that dwspool does not have") {
  struct Row {
    std::string name;
    std::string request;
    std::string mentioned;
  };
  const std::vector<Row> rows = {
      {"Kerberos 5", server::authentication(2), "method 2"},
      {"crypt", server::authentication(4, "ab"), "method 4"},
      {"GSS", server::authentication(7), "method 7"},
      {"SSPI", server::authentication(9), "method 9"},
      {"an IAM token", server::authentication(14), "method 14"},
      {"the largest", server::authentication(0xffffffff), "method 4294967295"},
      {"no mechanism", server::sasl({}), "SCRAM-SHA-256"},
      {"no SASL payload", server::authentication(10), "SCRAM-SHA-256"},
      {"other mechanisms", server::sasl({"SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "scram-sha-256"}),
       "SCRAM-SHA-256"},
      {"a mechanism without its NUL", server::authentication(10, "SCRAM-SHA-256"), "SCRAM-SHA-256"},
      {"code 11", server::authentication(11, salt_hex + "\1\2\3\4"), "md5"},
      {"code 10, method 0", server::gauss(10, 0, salt_hex, "0a1b2c3d", 10), "(0)"},
      {"code 10, method 3", server::gauss(10, 3, salt_hex, "0a1b2c3d", 10), "(3)"},
      {"code 10, method 6", server::gauss(10, 6, salt_hex, "0a1b2c3d", 10), "(6)"},
      {"code 13, method 2", server::gauss(13, 2, salt_hex, "0a1b2c3d", 10), "(2)"},
      {"code 13, method 1", server::authentication(13, "\0\0\0\1salt"s), "(1)"},
      {"3.0's form, which does not say the iterations",
       server::authentication(10, "\0\0\0\2"s + salt_hex + "0a1b2c3d" + std::string(64, 'a')),
       "iterations"},
      {"3.50's form", server::authentication(10, "\0\0\0\2"s + salt_hex + "0a1b2c3d"),
       "iterations"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const LoginOutcome outcome = LoginScript().server_says(row.request).play();
    CAPTURE(outcome.end());
    CHECK(outcome.failure == "unsupported");
    CHECK(outcome.report.sqlstate == "0A000");
    CHECK(outcome.report.message.find(row.mentioned) != std::string::npos);
    CHECK(outcome.sent.back().empty());  // nothing was given away
  }
}

TEST_CASE("refused log-in: too many iterations are not begun") {
  Identity identity = LoginScript::identity();
  identity.max_iterations = 5000;
  for (const std::uint32_t iterations : {5001U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    CAPTURE(iterations);
    for (const std::string& request : {server::gauss(10, 2, salt_hex, "0a1b2c3d", iterations),
                                       server::gauss(13, 3, salt_hex, "0a1b2c3d", iterations)}) {
      const LoginOutcome outcome = LoginScript(identity).server_says(request).play();
      CHECK(outcome.failure == "unsupported");
      CHECK(outcome.report.message.find(std::to_string(iterations)) != std::string::npos);
      CHECK(outcome.report.message.find("5000") != std::string::npos);
      CHECK(outcome.report.hint.find("max_pbkdf2_iterations") != std::string::npos);
    }
    const LoginOutcome scram =
        LoginScript(identity)
            .server_says(server::sasl({"SCRAM-SHA-256"}))
            .client_answers()
            .server_says(server::authentication(
                11, "r=client-nonce+,s=c2FsdA==,i=" + std::to_string(iterations)))
            .play();
    CHECK_FALSE(scram.done);
    CHECK(scram.report.message.find("max_pbkdf2_iterations") != std::string::npos);
  }
  CHECK(LoginScript(identity)
            .server_says(server::gauss(10, 2, salt_hex, "0a1b2c3d", 5000))
            .client_answers()
            .server_says(server::welcome())
            .play()
            .done);
  CHECK(LoginScript(identity)
            .server_says(server::sasl({"SCRAM-SHA-256"}))
            .client_answers()
            .server_says(server::authentication(11, "r=client-nonce+,s=c2FsdA==,i=5000"))
            .client_answers()
            .server_says(server::error("28P01", "no"))
            .play()
            .failure == "credentials");
}

TEST_CASE("refused log-in: a lost connection is a server that is unavailable") {
  BackendLogin login(LoginScript::identity());
  std::string out;
  login.start(out);
  login.on_lost("connect timeout");
  CHECK(login.state() == BackendLogin::State::failed);
  CHECK(login.failure() == Failure::unavailable);
  CHECK(login.report().sqlstate == "08006");
  CHECK(login.report().message == "connect timeout");
  // The first reason counts, and nothing is read any more.
  login.on_lost("something else");
  CHECK(login.report().message == "connect timeout");
  const std::string welcome = server::welcome();
  std::string_view in = welcome;
  out.clear();
  CHECK(login.on_bytes(in, out) == BackendLogin::Need::nothing);
  CHECK(in == welcome);
  CHECK(login.state() == BackendLogin::State::failed);
  CHECK(out.empty());
}

TEST_CASE("refused log-in: lost while the keys are being derived") {
  BackendLogin login(LoginScript::identity());
  std::string out;
  login.start(out);
  const std::string request = server::gauss(10, 2, salt_hex, "0a1b2c3d", 10);
  std::string_view in = request;
  REQUIRE(login.on_bytes(in, out) == BackendLogin::Need::derivation);
  CHECK(login.state() == BackendLogin::State::deriving);
  CHECK(login.derivation().kind == Derivation::Kind::gauss_sha256);
  CHECK(login.derivation().password.reveal() == "pencil");
  CHECK(login.derivation().salt == salt_hex);
  CHECK(login.derivation().iterations == 10);
  login.on_lost("timeout");
  CHECK(login.failure() == Failure::unavailable);
}

}  // namespace dwspool::login
