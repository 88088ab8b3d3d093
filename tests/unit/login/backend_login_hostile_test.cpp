// Servers that break the rules, out of malice or by mistake: nothing is given away, nothing
// crashes, and it always comes to an end.
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/auth/gauss.h"
#include "dwspool/login/backend_login.h"

#include "support/cuts.h"
#include "support/login_script.h"
#include "support/server_messages.h"

namespace dwspool::login {
namespace {

using namespace dwspool::testing;
using namespace std::string_literals;

const std::string salt_hex = "9677838199f12d36f5ee971d49f68abc68282968d696f9091570be6d9b730a07";

const auth::ScramVerifier& verifier() {
  static const auth::ScramVerifier made =
      auth::make_scram_verifier("pencil", "sixteen bytes...", 4096);
  return made;
}

// A conversation by SCRAM up to the client's proof.
LoginScript up_to_the_proof() {
  LoginScript script;
  script.server_says(server::sasl({"SCRAM-SHA-256"}))
      .client_answers()
      .server_answers(scram_challenge(verifier()))
      .client_answers();
  return script;
}

void check_protocol_error(const LoginOutcome& outcome, const std::string& mentioned = "") {
  CAPTURE(outcome.end());
  CHECK(outcome.failure == "protocol_error");
  CHECK(outcome.report.sqlstate == "08P01");
  CHECK(outcome.report.message.find(mentioned) != std::string::npos);
  CHECK(outcome.sent.back().empty());
}

}  // namespace

TEST_CASE("hostile server: a message out of its place ends the log-in") {
  const std::vector<std::string> early = {
      server::ready(),
      server::parameter("a", "b"),
      server::key(1, "1234"),
      server::message('T', "\0\0"s),
      server::message('D', "\0\0"s),
      server::message('C', "SELECT 1\0"s),
      server::message('A', "\0\0\0\1a\0b\0"s),
      server::message('G', "\0\0\0"s),
      server::message('1'),
      server::message('Q', "select 1\0"s),
      server::message('\xff'),
      server::message('K'),
  };
  for (const std::string& message : early) {
    CAPTURE(message[0]);
    check_protocol_error(LoginScript().server_says(message).play(), "unexpected message");
    check_protocol_error(LoginScript()
                             .server_says(server::cleartext())
                             .client_answers("pencil\0"s)
                             .server_says(message)
                             .play(),
                         "unexpected message");
  }
  const std::vector<std::string> late = {
      server::auth_ok(),
      server::cleartext(),
      server::md5("salt"),
      server::sasl({"SCRAM-SHA-256"}),
      server::message('T', "\0\0"s),
      server::message('\1'),
      server::message('S', "name only\0"s),
      server::message('S', ""),
      server::message('K', "\0\0\0\1abc"s),
      server::message('K', "\0\0\0\1"s + std::string(257, 's')),
      server::message('Z', ""),
      server::message('Z', "x"),
      server::ready('T'),  // a log-in leaves no transaction open
      server::ready('E'),
      server::message('Z', "I\0"s),  // GaussDB's enable_full_encryption, not asked for
  };
  for (const std::string& message : late) {
    CAPTURE(hex_encode(message));
    check_protocol_error(LoginScript().server_says(server::auth_ok() + message).play(),
                         "unexpected message");
  }
}

TEST_CASE("hostile server: not PostgreSQL at all") {
  for (const std::string& bytes :
       {"HTTP/1.1 400 Bad Request\r\n\r\n"s, "SSH-2.0-OpenSSH\r\n"s,
        "\x15\x03\x01\x00\x02\x02\x46"s, "220 mail ESMTP\r\n"s, "N"s + std::string(8, '\0'),
        std::string(5, '\0'), "R\0\0\0\3"s, "R\0\1\0\0"s, "R\x7f\xff\xff\xff"s, "R\x80\0\0\0"s,
        "R\xff\xff\xff\xff"s, "E\0\0\0\0"s + std::string(2000, 'x')}) {
    CAPTURE(hex_encode(bytes));
    check_protocol_error(LoginScript().server_says(bytes).play(), "does not speak");
  }
}

TEST_CASE("hostile server: a message is refused for its size before it has come") {
  const auto header = [](char type, std::uint32_t length) {
    std::string bytes(1, type);
    wire::append_u32(bytes, length);
    return bytes;
  };
  for (const char type : {'R', 'N', 'S'}) {
    for (const std::uint32_t length : {65536U, 10U * 1024 * 1024, 0x3fffffffU}) {
      check_protocol_error(LoginScript().server_says(header(type, length)).play(),
                           "does not speak");
    }
  }
  // 10 MB that do come are no better.
  check_protocol_error(LoginScript()
                           .server_says(server::message('N', std::string(10 * 1024 * 1024, 'x')))
                           .play_whole(),
                       "does not speak");
  // The largest that is taken.
  const std::string largest = server::message('N', "M" + std::string(65536 - 5 - 3, 'x') + "\0\0"s);
  REQUIRE(largest.size() == 65536);
  CHECK(LoginScript().server_says(largest + server::welcome()).play_whole().done);
}

TEST_CASE("hostile server: requests that are cut short or have too much") {
  const std::string gauss = server::gauss(10, 2, salt_hex, "0a1b2c3d", 10).substr(9);
  struct Row {
    std::string name;
    std::string request;
  };
  const std::vector<Row> rows = {
      {"no code", server::message('R', "")},
      {"half a code", server::message('R', "\0\0\0"s)},
      {"md5 without salt", server::authentication(5)},
      {"md5, 3 bytes", server::authentication(5, "abc")},
      {"md5, 5 bytes", server::authentication(5, "abcde")},
      {"GaussDB, cut", server::authentication(10, gauss.substr(0, 79))},
      {"GaussDB, longer", server::authentication(10, gauss + "x")},
      {"GaussDB, nothing but the method", server::authentication(10, gauss.substr(0, 4))},
      {"GaussDB, digits that are none", server::gauss(10, 2, std::string(64, 'g'), "0a1b2c3d", 10)},
      {"GaussDB, upper case", server::gauss(10, 2, std::string(64, 'A'), "0a1b2c3d", 10)},
      {"GaussDB, a token that is none", server::gauss(10, 2, salt_hex, "0a1b2c3 ", 10)},
      {"GaussDB, 0 iterations", server::gauss(10, 2, salt_hex, "0a1b2c3d", 0)},
      {"SM3, cut", server::authentication(13, "\0\0\0\3"s + salt_hex)},
      {"SM3, nothing", server::authentication(13)},
      {"method 1, cut", server::authentication(10, "\0\0\0\1abc"s)},
      {"method 1, longer", server::authentication(10, "\0\0\0\1abcde"s)},
      {"SASLFinal before anything", server::authentication(12, "v=AAAA")},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    check_protocol_error(LoginScript().server_says(row.request).play());
  }
}

TEST_CASE("hostile server: SCRAM without its proof is not a log-in") {
  // Right behind the offer, behind the challenge's answer, and with a proof that is none.
  check_protocol_error(LoginScript()
                           .server_says(server::sasl({"SCRAM-SHA-256"}))
                           .client_answers()
                           .server_says(server::welcome())
                           .play(),
                       "did not prove");
  check_protocol_error(up_to_the_proof().server_says(server::welcome()).play(), "did not prove");
  for (const std::string& payload :
       {""s, "v="s, "v=AAAA"s, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="s, "x"s,
        "e=invalid-proof"s, std::string(3000, 'v')}) {
    CAPTURE(payload.substr(0, 50));
    check_protocol_error(up_to_the_proof()
                             .server_says(server::authentication(12, payload) + server::welcome())
                             .play());
  }
}

TEST_CASE("hostile server: SCRAM out of order") {
  check_protocol_error(up_to_the_proof()
                           .server_answers([](const LoginScript::Sent& sent) {
                             return scram_challenge(verifier())({sent[0], sent[1]});
                           })
                           .play(),
                       "repeats");
  // The verdict before the proof.
  check_protocol_error(LoginScript()
                           .server_says(server::sasl({"SCRAM-SHA-256"}))
                           .client_answers()
                           .server_says(server::authentication(12, "v=AAAA"))
                           .play());
}

TEST_CASE("hostile server: SCRAM challenges that are none") {
  for (const std::string& challenge :
       {""s, "r=client-nonce,s=c2FsdA==,i=10"s, "r=other,s=c2FsdA==,i=10"s,
        "r=client-nonce+,s=,i=10"s, "r=client-nonce+,s=c2FsdA==,i=0"s, "v=AAAA"s,
        "r=client-nonce" + std::string(3000, 'n'), std::string(3000, ','), std::string(10, '\0')}) {
    CAPTURE(challenge.substr(0, 50));
    check_protocol_error(LoginScript()
                             .server_says(server::sasl({"SCRAM-SHA-256"}))
                             .client_answers()
                             .server_says(server::authentication(11, challenge))
                             .play());
  }
}

TEST_CASE("hostile server: a long nonce (CVE-2026-6665)") {
  for (const std::size_t size : {std::size_t{4000}, std::size_t{60000}}) {
    const LoginOutcome outcome =
        LoginScript()
            .server_says(server::sasl({"SCRAM-SHA-256"}))
            .client_answers()
            .server_says(server::authentication(
                11, "r=client-nonce" + std::string(size, 'n') + ",s=c2FsdA==,i=1"))
            .client_answers()
            .server_says(server::error("28P01", "no"))
            .play();
    CHECK(outcome.end() == "credentials 28P01: no");
    REQUIRE(outcome.sent.size() > 1);
    CHECK(outcome.sent[outcome.sent.size() - 2].size() > size);
  }
}

TEST_CASE("hostile server: an error without a code (CVE-2026-6666)") {
  for (const std::string& fields : {"SFATAL\0Mno\0\0"s, "SFATAL\0"s, "\0"s, ""s, "C"s, "C\0\0"s}) {
    const LoginOutcome outcome = LoginScript().server_says(server::message('E', fields)).play();
    CHECK(outcome.failure == "unavailable");
    CHECK(outcome.report.sqlstate == "08006");
  }
}

TEST_CASE("hostile server: asking twice, for less the second time, gets no second answer") {
  const std::vector<std::string> requests = {server::cleartext(),
                                             server::md5("salt"),
                                             server::sasl({"SCRAM-SHA-256"}),
                                             server::gauss(10, 2, salt_hex, "0a1b2c3d", 10),
                                             server::gauss(13, 3, salt_hex, "0a1b2c3d", 10),
                                             server::authentication(10, "\0\0\0\1salt"s)};
  for (std::size_t first = 0; first < requests.size(); ++first) {
    for (std::size_t second = 0; second < requests.size(); ++second) {
      CAPTURE(first);
      CAPTURE(second);
      check_protocol_error(LoginScript()
                               .server_says(requests[first])
                               .client_answers()
                               .server_says(requests[second])
                               .play(),
                           "twice");
    }
  }
  for (const std::string& request : requests) {
    check_protocol_error(up_to_the_proof().server_says(request).play(), "twice");
  }
}

TEST_CASE("hostile server: a second request behind the first waits for the keys, and is refused") {
  const LoginOutcome outcome =
      LoginScript()
          .server_says(server::gauss(10, 2, salt_hex, "0a1b2c3d", 10) + server::cleartext())
          .play();
  CHECK(outcome.failure == "protocol_error");
  // The answer to the first was under way; the password in clear was not.
  REQUIRE(outcome.sent.size() == 2);
  CHECK(outcome.sent.back().size() == 70);
}

TEST_CASE("hostile server: random messages at any time come to an end, always the same one") {
  std::mt19937 random(20261121);
  const std::vector<std::string> known = {
      server::auth_ok(),
      server::cleartext(),
      server::md5("salt"),
      server::sasl({"SCRAM-SHA-256"}),
      server::gauss(10, 2, salt_hex, "0a1b2c3d", 2),
      server::gauss(13, 3, salt_hex, "0a1b2c3d", 2),
      server::authentication(11, "r=client-nonce+,s=c2FsdA==,i=2"),
      server::authentication(12, "v=AAAA"),
      server::parameter("a", "b"),
      server::key(1, "1234"),
      server::ready(),
      server::notice("n"),
      server::error("28P01", "no"),
      server::negotiate()};
  int finished = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string stream;
    for (int i = 0; i < 6; ++i) {
      std::string message = known[random() % known.size()];
      if (random() % 4 == 0) message[random() % message.size()] = static_cast<char>(random());
      if (random() % 8 == 0) message.resize(random() % message.size());
      stream += message;
    }
    std::string first;
    for (const Cutting& cutting : cuttings(stream, 2)) {
      BackendLogin login(LoginScript::identity());
      std::string out;
      login.start(out);
      std::string kept;
      for (const std::string_view piece : cutting.pieces) {
        kept += piece;
        const Exact exact(kept);
        std::string_view in = exact;
        BackendLogin::Need need = login.on_bytes(in, out);
        while (need == BackendLogin::Need::derivation) {
          // A count that a flipped bit has made large is not worth the time here.
          if (login.derivation().iterations > 1000) {
            login.on_lost("too many");
            break;
          }
          need = login.on_derived(derived(login.derivation()), out);
          if (need == BackendLogin::Need::input) need = login.on_bytes(in, out);
        }
        kept = in;
      }
      if (cutting.name == "whole" && login.finished()) ++finished;
      login.on_lost("end");
      const std::string end =
          (login.state() == BackendLogin::State::done
               ? "done"
               : to_string(login.failure()) + login.report().sqlstate + login.report().message) +
          hex_encode(out);
      if (first.empty()) first = end;
      REQUIRE(end == first);
      REQUIRE(login.finished());
    }
  }
  CHECK(finished > 1000);
}

}  // namespace dwspool::login
