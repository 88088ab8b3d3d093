#include "dwspool/auth/scram.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/auth/digest.h"

#include "scram_conversation.h"
#include "support/vectors.h"

namespace dwspool::auth {
namespace {

using testing::converse;
using testing::ScramOutcome;
using namespace std::string_literals;

// The conversation of RFC 7677, section 3.
const std::string rfc_salt_text = "W22ZaJ0SNY7soEsUEjb6gQ==";
const std::string rfc_client_nonce = "rOprNGfwEbeRWgbNEkqO";
const std::string rfc_server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const std::string rfc_server_first =
    "r=" + rfc_client_nonce + rfc_server_nonce + ",s=" + rfc_salt_text + ",i=4096";

std::string rfc_salt() {
  std::string salt;
  REQUIRE(base64_decode(rfc_salt_text, salt));
  return salt;
}
ScramVerifier rfc_verifier() {
  return make_scram_verifier("pencil", rfc_salt(), 4096);
}

// A server that has got as far as its first message.
ScramServer rfc_server() {
  ScramServer server(rfc_verifier(), rfc_server_nonce);
  const auto first = server.on_client_first("n,,n=user,r=" + rfc_client_nonce);
  REQUIRE(first);
  REQUIRE(*first == rfc_server_first);
  return server;
}

constexpr std::uint32_t few = 3;  // iterations, where their number does not matter

}  // namespace

TEST_CASE("SCRAM: the keys of RFC 7677") {
  const ScramKeys keys = derive_scram_keys("pencil", rfc_salt(), 4096);
  CHECK(base64_encode(keys.client_key) == "pg/JI9Z+hkSpLRa5btpe9GVrDHJcSEN0viVTVXaZbos=");
  CHECK(base64_encode(keys.stored_key) == "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
  CHECK(base64_encode(keys.server_key) == "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
}

TEST_CASE("SCRAM server: the conversation of RFC 7677") {
  ScramServer server = rfc_server();
  const auto final = server.on_client_final("c=biws,r=" + rfc_client_nonce + rfc_server_nonce +
                                            ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  REQUIRE(final);
  CHECK(final->proven);
  CHECK(final->message == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

TEST_CASE("SCRAM client: the conversation of RFC 7677, with the empty name that libpq sends") {
  ScramClient client(rfc_client_nonce);
  CHECK(client.first() == "n,,n=,r=" + rfc_client_nonce);
  const auto challenge = client.on_server_first(rfc_server_first, 4096);
  REQUIRE(challenge);
  CHECK(challenge->salt == rfc_salt());
  CHECK(challenge->iterations == 4096);
  // Computed with Python's hmac.
  CHECK(client.final(derive_scram_keys("pencil", challenge->salt, 4096)) ==
        "c=biws,r=" + rfc_client_nonce + rfc_server_nonce +
            ",p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=");
  CHECK(client.on_server_final("v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg="));
  CHECK_FALSE(client.on_server_final("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
}

TEST_CASE("SCRAM: PostgreSQL makes the same verifiers of the same passwords") {
  const YAML::Node file = dwspool::testing::load_vectors("postgres-scram-verifiers.json");
  REQUIRE(file["verifiers"].size() == 42);
  for (const YAML::Node& vector : file["verifiers"]) {
    const std::string name = dwspool::testing::text_of(vector, "name");
    CAPTURE(name);
    const std::string text = dwspool::testing::text_of(vector, "verifier");
    const auto verifier = parse_scram_verifier(text);
    REQUIRE(verifier);
    CHECK(to_text(*verifier) == text);
    const std::string password =
        dwspool::testing::unhex(dwspool::testing::text_of(vector, "password_hex"));
    const std::string made =
        to_text(make_scram_verifier(password, verifier->salt, verifier->iterations));
    // The differences are told in the file; one that is none any more should go from there.
    CHECK((made == text) == !vector["known_difference"].IsDefined());
  }
}

TEST_CASE("SCRAM: client and server agree on every password, and only on that") {
  const std::vector<std::string> passwords = {
      "",
      "x",
      std::string(64, 'p'),
      std::string(65, 'p'),
      std::string(1000, 'p'),
      "with, comma=and equals",
      "tab\tand\x7f",
      "I\u00adX",
      "\u2168",
      "a\u00a0b",
      "\uff30\uff41\uff53\uff53",
      "\u041f\u0430\u0440\u043e\u043b\u044c",
      "\U0001f600",
      "\xff\xfe",
  };
  for (const std::string& password : passwords) {
    CAPTURE(password);
    const ScramVerifier verifier = make_scram_verifier(password, "sixteen bytes...", few);
    const ScramOutcome right = converse(password, verifier);
    CHECK(right.server_accepts);
    CHECK(right.client_accepts);
    for (const std::string& wrong : {password + "x", "y" + password, "another"s}) {
      const ScramOutcome outcome = converse(wrong, verifier);
      CHECK_FALSE(outcome.server_accepts);
      CHECK_FALSE(outcome.client_accepts);
      CHECK(outcome.error == "wrong password");
    }
  }
}

TEST_CASE("SCRAM: two spellings of one prepared password are one password") {
  const ScramVerifier verifier = make_scram_verifier("\u2168", "salt", few);
  CHECK(converse("IX", verifier).client_accepts);
  CHECK(converse("I\u00adX", verifier).client_accepts);
  CHECK_FALSE(converse("ix", verifier).server_accepts);
}

TEST_CASE("SCRAM: salts of any length") {
  for (const std::size_t size : {1U, 15U, 16U, 17U, 64U, 65U, 300U}) {
    CAPTURE(size);
    CHECK(converse("pw", make_scram_verifier("pw", std::string(size, '\0'), few)).client_accepts);
  }
}

TEST_CASE("SCRAM client: how many iterations it does") {
  const std::string front = "r=nonce+,s=c2FsdA==,i=";
  struct Row {
    std::string count;
    bool taken;
  };
  const std::vector<Row> rows = {{"1", true},
                                 {"4096", true},
                                 {"5000", true},
                                 {"5001", false},
                                 {"0", false},
                                 {"-1", false},
                                 {"+1", false},
                                 {"", false},
                                 {" 1", false},
                                 {"1 ", false},
                                 {"0x10", false},
                                 {"1e3", false},
                                 {"4294967296", false},
                                 {"4294967297", false},
                                 {"4294967295", false},
                                 {"00001", true},
                                 {"99999999999999999999", false}};
  for (const Row& row : rows) {
    CAPTURE(row.count);
    ScramClient client("nonce");
    CHECK(static_cast<bool>(client.on_server_first(front + row.count, 5000)) == row.taken);
  }
  ScramClient client("nonce");
  const auto refused = client.on_server_first(front + "5001", 5000);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("5001") != std::string::npos);
  CHECK(refused.error().message.find("max_pbkdf2_iterations") != std::string::npos);
}

TEST_CASE("SCRAM client: first messages of a server that it does not take") {
  for (const std::string& message : std::vector<std::string>{
           "",
           "r=",
           "r=nonce",
           "r=nonce+",
           "r=nonce+,s=c2FsdA==",
           "r=nonce+,i=10",
           "s=c2FsdA==,r=nonce+,i=10",
           "r=nonce,s=c2FsdA==,i=10",   // the server adds nothing
           "r=other+,s=c2FsdA==,i=10",  // not ours
           "r=Nonce+,s=c2FsdA==,i=10",
           "r=+nonce,s=c2FsdA==,i=10",
           "r=,s=c2FsdA==,i=10",
           "r=nonce+,s=,i=10",  // no salt
           "r=nonce+,s=c2FsdA=,i=10",
           "r=nonce+,s=c2Fs dA==,i=10",
           "m=ext,r=nonce+,s=c2FsdA==,i=10",
           "R=nonce+,s=c2FsdA==,i=10",
           "e=other-error",
           "r=nonce+;s=c2FsdA==;i=10",
           "\0r=nonce+,s=c2FsdA==,i=10"s,
       }) {
    CAPTURE(message);
    ScramClient client("nonce");
    CHECK_FALSE(client.on_server_first(message, 4096));
  }
  ScramClient client("nonce");
  CHECK(client.on_server_first("r=nonce+,s=c2FsdA==,i=10,x=an extension", 4096));
}

TEST_CASE("SCRAM client: a nonce of a megabyte is only bytes") {
  const std::string nonce(1000000, 'n');
  ScramClient client("nonce");
  const auto challenge = client.on_server_first("r=nonce" + nonce + ",s=c2FsdA==,i=10", 4096);
  REQUIRE(challenge);
  CHECK(client.final(derive_scram_keys("pw", challenge->salt, challenge->iterations)).size() >
        nonce.size());
}

TEST_CASE("SCRAM client: last messages of a server that it does not take") {
  const ScramVerifier verifier = make_scram_verifier("pw", "salt", few);
  ScramServer server(verifier, "server");
  ScramClient client("client");
  const auto first = server.on_client_first(client.first());
  REQUIRE(first);
  REQUIRE(client.on_server_first(*first, few));
  const auto final = server.on_client_final(client.final(derive_scram_keys("pw", "salt", few)));
  REQUIRE(final);
  REQUIRE(final->proven);
  CHECK(client.on_server_final(final->message));
  CHECK(client.on_server_final(final->message + ",x=an extension"));
  for (const std::string& message : std::vector<std::string>{
           "", "v=", "v", "v=AAAA", "x" + final->message, final->message.substr(2),
           final->message.substr(0, final->message.size() - 4), final->message + "AAAA",
           "e=invalid-proof", "e=", "e", "v=!", " " + final->message, final->message + '\0'}) {
    CAPTURE(message);
    CHECK_FALSE(client.on_server_final(message));
  }
  const Status refused = client.on_server_final("e=" + std::string(5000, 'e'));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.size() < 300);
}

TEST_CASE("SCRAM client: before it has proven anything, no server has either") {
  ScramClient client("client");
  CHECK_FALSE(client.on_server_final("v="));
  CHECK_FALSE(client.on_server_final("v=AAAA"));
  REQUIRE(client.on_server_first("r=client+,s=c2FsdA==,i=1", 10));
  CHECK_FALSE(client.on_server_final("v="));
}

TEST_CASE("SCRAM server: which headers for channel binding it takes") {
  struct Row {
    std::string header;
    bool taken;
  };
  const std::vector<Row> rows = {{"n,,", true},
                                 {"y,,", true},
                                 {"p=tls-server-end-point,,", false},
                                 {"p=tls-unique,,", false},
                                 {"n,a=admin,", false},
                                 {"y,a=,", false},
                                 {"N,,", false},
                                 {",,", false},
                                 {"x,,", false},
                                 {"n,", false},
                                 {"", false},
                                 {"nn,,", false},
                                 {"n=,,", false},
                                 {"n,,m=ext,", false},
                                 {"p,,", false}};
  for (const Row& row : rows) {
    CAPTURE(row.header);
    ScramServer server(rfc_verifier(), "server");
    CHECK(static_cast<bool>(server.on_client_first(row.header + "n=,r=client")) == row.taken);
  }
  ScramServer server(rfc_verifier(), "server");
  const auto refused = server.on_client_first("p=tls-server-end-point,,n=,r=client");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message ==
        "the SCRAM message has channel binding where it must not, or has none");
}

TEST_CASE("SCRAM server: the header is part of what is proven") {
  const ScramVerifier verifier = make_scram_verifier("pw", "salt", few);
  const ScramKeys keys = derive_scram_keys("pw", "salt", few);
  // What a client with this header proves, whatever it says it proves in c=.
  const auto accepted = [&](const std::string& header, const std::string& claimed) {
    ScramServer server(verifier, "server");
    const auto first = server.on_client_first(header + "n=,r=client");
    REQUIRE(first);
    const std::string without_proof = "c=" + base64_encode(claimed) + ",r=clientserver";
    const std::string signature =
        hmac_sha256(keys.stored_key, "n=,r=client," + *first + "," + without_proof);
    const auto final = server.on_client_final(
        without_proof + ",p=" + base64_encode(exclusive_or(keys.client_key, signature)));
    return final && final->proven;
  };
  CHECK(accepted("n,,", "n,,"));
  CHECK(accepted("y,,", "y,,"));
  CHECK_FALSE(accepted("n,,", "y,,"));
  CHECK_FALSE(accepted("y,,", "n,,"));
  CHECK_FALSE(accepted("n,,", ""));
  CHECK_FALSE(accepted("n,,", "p=tls-unique,,"));
  CHECK_FALSE(accepted("n,,", "n,,x"));
}

TEST_CASE("SCRAM server: first messages that make no sense") {
  for (const std::string& message : std::vector<std::string>{
           "", ",", ",,", "n,,", "n,,n=user", "n,,r=nonce", "n,,r=nonce,n=user",
           "n,,n=user,r=", "n,,n=user,", "n,,n=user,R=nonce", "n,,n,r=nonce", "n,,user,nonce",
           std::string(10000, ','), "\0\0\0\0"s}) {
    CAPTURE(message);
    ScramServer server(rfc_verifier(), "server");
    CHECK_FALSE(server.on_client_first(message));
  }
  ScramServer server(rfc_verifier(), "server");
  CHECK(server.on_client_first("n,,n=somebody else,r=nonce,x=an extension"));
}

TEST_CASE("SCRAM server: last messages that make no sense") {
  const std::string nonce = rfc_client_nonce + rfc_server_nonce;
  const std::string proof = ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
  for (const std::string& message : std::vector<std::string>{
           "",
           "p=",
           proof,
           "c=biws" + proof,
           "r=" + nonce + proof,
           "c=biws,r=" + nonce,
           "c=biws,r=" + nonce + ",p=",
           "c=biws,r=" + nonce + ",p=AAAA",
           "c=biws,r=" + nonce + proof + "AAAA",
           "c=biws,r=" + nonce + proof + ",x=behind the proof",
           "c=biws,r=" + rfc_client_nonce + proof,
           "c=biws,r=" + rfc_server_nonce + proof,
           "c=biws,r=" + nonce + "x" + proof,
           "c=biws,r=" + proof,
           "c=,r=" + nonce + proof,
           "c=n,,,r=" + nonce + proof,
           "c=eSws,r=" + nonce + proof,  // y,,
           "r=" + nonce + ",c=biws" + proof,
       }) {
    CAPTURE(message);
    ScramServer server = rfc_server();
    CHECK_FALSE(server.on_client_final(message));
  }
}

TEST_CASE("SCRAM server: a proof is worth nothing in front of another nonce") {
  const ScramVerifier verifier = make_scram_verifier("pw", "salt", few);
  std::string recorded;
  ScramClient client("client");
  ScramServer first_server(verifier, "server-1");
  const auto first = first_server.on_client_first(client.first());
  REQUIRE(first);
  REQUIRE(client.on_server_first(*first, few));
  recorded = client.final(derive_scram_keys("pw", "salt", few));
  ScramServer second_server(verifier, "server-2");
  REQUIRE(second_server.on_client_first(client.first()));
  CHECK_FALSE(second_server.on_client_final(recorded));  // it names the other nonce
  // Named after the new nonce it is well-formed and still wrong.
  const std::size_t at = recorded.find("server-1");
  REQUIRE(at != std::string::npos);
  recorded.replace(at, 8, "server-2");
  const auto replayed = second_server.on_client_final(recorded);
  REQUIRE(replayed);
  CHECK_FALSE(replayed->proven);
}

TEST_CASE("SCRAM verifier: written, read, written again") {
  const ScramVerifier verifier = rfc_verifier();
  const std::string text =
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  CHECK(to_text(verifier) == text);
  const auto parsed = parse_scram_verifier(text);
  REQUIRE(parsed);
  CHECK(parsed->iterations == 4096);
  CHECK(parsed->salt == verifier.salt);
  CHECK(parsed->stored_key == verifier.stored_key);
  CHECK(parsed->server_key == verifier.server_key);
}

TEST_CASE("SCRAM verifier: texts that are none") {
  const std::string salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
  const std::string stored = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";
  const std::string server = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  const std::string good = "SCRAM-SHA-256$4096:" + salt + "$" + stored + ":" + server;
  REQUIRE(parse_scram_verifier(good));
  for (const std::string& text : std::vector<std::string>{
           "",
           "SCRAM-SHA-256",
           "SCRAM-SHA-256$",
           "SCRAM-SHA-256$4096",
           "SCRAM-SHA-256$4096:" + salt,
           "SCRAM-SHA-256$4096:" + salt + "$" + stored,
           "SCRAM-SHA-256$4096:" + salt + "$" + stored + ":",
           "SCRAM-SHA-256$4096:" + salt + "$:" + server,
           "SCRAM-SHA-256$0:" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$:" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$-1:" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$4294967296:" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$4096 :" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$4096$" + salt + ":" + stored + ":" + server,
           "SCRAM-SHA-1$4096:" + salt + "$" + stored + ":" + server,
           "scram-sha-256$4096:" + salt + "$" + stored + ":" + server,
           "SCRAM-SHA-256$4096:" + salt + "$" + stored + ":" + stored.substr(4),
           "SCRAM-SHA-256$4096:" + salt + "$" + stored.substr(4) + ":" + server,
           "SCRAM-SHA-256$4096:!" + salt + "$" + stored + ":" + server,
           " " + good,
           good + " ",
           good + "\n",
           good + ":" + server,
       }) {
    CAPTURE(text);
    CHECK_FALSE(parse_scram_verifier(text));
  }
  for (std::size_t n = 0; n < good.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(parse_scram_verifier(good.substr(0, n)));
  }
}

TEST_CASE("SCRAM: the verifier for nobody is the same every time and fits no password") {
  const ScramVerifier nobody = mock_scram_verifier("nobody", "secret");
  const ScramVerifier again = mock_scram_verifier("nobody", "secret");
  CHECK(to_text(nobody) == to_text(again));
  CHECK(to_text(nobody) != to_text(mock_scram_verifier("somebody", "secret")));
  CHECK(nobody.salt != mock_scram_verifier("somebody", "secret").salt);
  CHECK(nobody.salt != mock_scram_verifier("nobody", "other secret").salt);
  // As one that make_scram_verifier makes of a salt of PostgreSQL's size.
  CHECK(nobody.iterations == make_scram_verifier("x", "y").iterations);
  CHECK(nobody.salt.size() == 16);
  REQUIRE(parse_scram_verifier(to_text(nobody)));
  for (const std::string& guess : {""s, "nobody"s, "secret"s, "postgres"s}) {
    CHECK_FALSE(converse(guess, nobody).server_accepts);
  }
}

TEST_CASE("SCRAM: nonces are printable and have no comma") {
  for (int i = 0; i < 200; ++i) {
    const std::string nonce = make_scram_nonce(random_bytes(18));
    CHECK(nonce.size() == 24);
    for (const char c : nonce) CHECK((c > ' ' && c <= '~' && c != ','));
  }
  CHECK(make_scram_nonce("same") == make_scram_nonce("same"));
}

}  // namespace dwspool::auth
