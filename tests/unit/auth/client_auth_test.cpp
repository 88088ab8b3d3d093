#include "dwspool/auth/client_auth.h"

#include <optional>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

#include "support/cuts.h"

namespace dwspool::auth {
namespace {

using dwspool::testing::Exact;
using dwspool::testing::random_text;
using Verdict = ClientAuth::Verdict;
using namespace std::string_literals;

const std::string user = "bob";
const std::string password = "pencil";
const std::string random_bytes_given = "0123456789abcdefghijklmn";
const std::string mock_secret = "the secret of the process";

enum class Known { nothing, plain, plain_with_verifier, md5, scram };
const std::vector<Known> all_known = {Known::nothing, Known::plain, Known::plain_with_verifier,
                                      Known::md5, Known::scram};

std::string to_string(Known known) {
  switch (known) {
    case Known::nothing:
      return "nothing";
    case Known::plain:
      return "plain";
    case Known::plain_with_verifier:
      return "plain, with verifier";
    case Known::md5:
      return "md5";
    case Known::scram:
      return "scram";
  }
  return "?";
}

// PBKDF2 takes milliseconds: once for all tests.
const ScramVerifier& verifier() {
  static const ScramVerifier made = make_scram_verifier(password, "sixteen bytes...");
  return made;
}

UserSecret secret_of(Known known) {
  switch (known) {
    case Known::nothing:
      return parse_user_secret("");
    case Known::plain:
      return parse_user_secret(password);
    case Known::plain_with_verifier: {
      UserSecret secret = parse_user_secret(password);
      secret.scram = verifier();
      return secret;
    }
    case Known::md5:
      return parse_user_secret(md5_password(user, password));
    case Known::scram:
      return parse_user_secret(to_text(verifier()));
  }
  return {};
}

ClientAuth machine(ClientMethod method, Known known) {
  return ClientAuth({method, user, secret_of(known), random_bytes_given, mock_secret, {}});
}

// The one AuthenticationRequest in `bytes`.
struct Asked {
  std::uint32_t code = 0;
  std::string payload;
};
Asked read_request(std::string_view bytes) {
  const wire::FrameView view = wire::peek_frame(bytes);
  REQUIRE(view.status == wire::FrameStatus::complete);
  REQUIRE(view.type == 'R');
  const wire::Frame frame = wire::take_frame(bytes, view);
  REQUIRE(bytes.empty());
  return {wire::load_u32(frame.body().data()), std::string(frame.body().substr(4))};
}

std::string sasl_initial(std::string_view mechanism, std::string_view message) {
  std::string body = std::string(mechanism) + '\0';
  wire::append_u32(body, static_cast<std::uint32_t>(message.size()));
  return body.append(message);
}

// A client as libpq: gives the answer that is asked for.
class Client {
 public:
  explicit Client(std::string its_password) : password_(std::move(its_password)) {}

  std::string answer(const std::string& bytes) {
    const Asked asked = read_request(bytes);
    switch (asked.code) {
      case wire::auth_code::md5:
        return md5_answer(md5_password(user, password_), asked.payload) + '\0';
      case wire::auth_code::sasl:
        REQUIRE(asked.payload == "SCRAM-SHA-256\0\0"s);
        return sasl_initial("SCRAM-SHA-256", scram_.first());
      case wire::auth_code::sasl_continue: {
        const auto challenge = scram_.on_server_first(asked.payload, 100000);
        REQUIRE(challenge);
        return scram_.final(derive_scram_keys(password_, challenge->salt, challenge->iterations));
      }
      default:
        break;
    }
    FAIL("unexpected authentication request ", asked.code);
    return {};
  }
  // What came with the acceptance: the server's proof, if any, and AuthenticationOk.
  void check_acceptance(std::string_view bytes, bool with_proof) {
    if (with_proof) {
      const std::string_view proof = bytes.substr(0, wire::peek_frame(bytes).total);
      bytes.remove_prefix(proof.size());
      const Asked asked = read_request(proof);
      CHECK(asked.code == wire::auth_code::sasl_final);
      CHECK(scram_.on_server_final(asked.payload));
    }
    CHECK(bytes == "R\0\0\0\x08\0\0\0\0"s);
  }

 private:
  std::string password_;
  ScramClient scram_{"client-nonce"};
};

// The conversation to its end. Nothing is sent along with a refusal.
Verdict log_in(ClientMethod method, Known known, const std::string& given) {
  ClientAuth auth = machine(method, known);
  Client client(given);
  ClientAuth::Step step = auth.start();
  bool scram = false;
  while (step.verdict == Verdict::need_answer) {
    scram = scram || read_request(step.send).code == wire::auth_code::sasl;
    step = auth.on_answer(Exact(client.answer(step.send)));
  }
  if (step.verdict == Verdict::accepted) {
    client.check_acceptance(step.send, scram);
  } else {
    CHECK(step.send.empty());
  }
  // It is over, whatever comes.
  CHECK(auth.on_answer("more\0"s).verdict == Verdict::malformed);
  return step.verdict;
}

ClientAuth after_start(ClientMethod method, Known known) {
  ClientAuth auth = machine(method, known);
  REQUIRE(auth.start().verdict == Verdict::need_answer);
  return auth;
}

// A machine that waits for client-final-message, and the right one.
struct AtFinal {
  ClientAuth auth;
  std::string right;
};
AtFinal at_final(Known known) {
  ClientAuth auth = machine(ClientMethod::scram_sha_256, known);
  Client client(password);
  const ClientAuth::Step challenge = auth.on_answer(client.answer(auth.start().send));
  REQUIRE(challenge.verdict == Verdict::need_answer);
  std::string right = client.answer(challenge.send);
  return {std::move(auth), std::move(right)};
}

}  // namespace

TEST_CASE("client auth: every method with every kind of secret") {
  struct Row {
    ClientMethod method;
    Known known;
    bool can_succeed;
  };
  const std::vector<Row> rows = {
      {ClientMethod::md5, Known::nothing, false},
      {ClientMethod::md5, Known::plain, true},
      {ClientMethod::md5, Known::plain_with_verifier, true},
      {ClientMethod::md5, Known::md5, true},
      {ClientMethod::md5, Known::scram, true},  // asked for by SCRAM, as PostgreSQL does
      {ClientMethod::scram_sha_256, Known::nothing, false},
      {ClientMethod::scram_sha_256, Known::plain, false},  // nobody has called add_verifier
      {ClientMethod::scram_sha_256, Known::plain_with_verifier, true},
      {ClientMethod::scram_sha_256, Known::md5, false},  // nothing to make a verifier of
      {ClientMethod::scram_sha_256, Known::scram, true},
  };
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.method));
    CAPTURE(to_string(row.known));
    CHECK(log_in(row.method, row.known, password) ==
          (row.can_succeed ? Verdict::accepted : Verdict::refused));
    for (const std::string& wrong :
         {""s, "Pencil"s, "pencil "s, std::string(1024, 'p'), "\0pencil"s, mock_secret, user,
          md5_password(user, password), to_text(verifier())}) {
      CAPTURE(wrong);
      CHECK(log_in(row.method, row.known, wrong) == Verdict::refused);
    }
  }
}

TEST_CASE("client auth: a proof by SCRAM gives the key for the server") {
  for (const Known known : {Known::scram, Known::plain_with_verifier}) {
    AtFinal here = at_final(known);
    CHECK(here.auth.credential().empty());
    REQUIRE(here.auth.on_answer(here.right).verdict == Verdict::accepted);
    const Credential& credential = here.auth.credential();
    CHECK_FALSE(credential.password);
    // A password that is known is worth more.
    REQUIRE(credential.keys.has_value() == (known == Known::scram));
    if (!credential.keys) continue;
    CHECK(credential.keys->kind == LoginKeys::Kind::scram);
    CHECK(sha256(credential.keys->secret.reveal()) == verifier().stored_key);
  }
}

TEST_CASE("client auth: trust asks nothing of anybody") {
  for (const Known known : all_known) {
    CAPTURE(to_string(known));
    ClientAuth auth = machine(ClientMethod::trust, known);
    const ClientAuth::Step step = auth.start();
    CHECK(step.verdict == Verdict::accepted);
    CHECK(step.send == "R\0\0\0\x08\0\0\0\0"s);
    CHECK(auth.on_answer("x\0"s).verdict == Verdict::malformed);
  }
}

TEST_CASE("client auth: the exact requests") {
  CHECK(machine(ClientMethod::md5, Known::plain).start().send ==
        "R\0\0\0\x0c\0\0\0\5"
        "0123"s);
  ClientAuth scram = machine(ClientMethod::scram_sha_256, Known::scram);
  CHECK(scram.start().send == "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"s);
  const Asked asked =
      read_request(scram.on_answer(sasl_initial("SCRAM-SHA-256", "n,,n=,r=mine")).send);
  CHECK(asked.code == wire::auth_code::sasl_continue);
  CHECK(asked.payload == "r=mine" + base64_encode(random_bytes_given.substr(0, 18)) +
                             ",s=" + base64_encode(verifier().salt) + ",i=4096");
}

TEST_CASE("client auth: nobody can see that a user does not exist") {
  for (const Known known : {Known::nothing, Known::md5, Known::scram}) {
    CAPTURE(to_string(known));
    ClientAuth auth = machine(ClientMethod::scram_sha_256, known);
    CHECK(auth.start().send ==
          machine(ClientMethod::scram_sha_256, Known::plain_with_verifier).start().send);
    const Asked asked =
        read_request(auth.on_answer(sasl_initial("SCRAM-SHA-256", "n,,n=,r=mine")).send);
    // As long as that of a known user, and the same at every attempt.
    const std::string real = "r=mine" + base64_encode(random_bytes_given.substr(0, 18)) +
                             ",s=" + base64_encode(verifier().salt) + ",i=4096";
    CHECK(asked.payload.size() == real.size());
    ClientAuth again = after_start(ClientMethod::scram_sha_256, known);
    CHECK(
        read_request(again.on_answer(sasl_initial("SCRAM-SHA-256", "n,,n=,r=mine")).send).payload ==
        asked.payload);
    CHECK((asked.payload == real) == (known == Known::scram));
  }
  CHECK(machine(ClientMethod::md5, Known::nothing).start().send ==
        machine(ClientMethod::md5, Known::plain).start().send);
}

TEST_CASE("client auth: md5 answers that are none") {
  const std::string right = md5_answer(md5_password(user, password), "0123");
  struct Row {
    std::string name;
    std::string body;
    Verdict verdict;
  };
  const std::vector<Row> rows = {
      {"the right one", right + '\0', Verdict::accepted},
      {"nothing", "", Verdict::malformed},
      {"empty", "\0"s, Verdict::refused},
      {"no NUL", right, Verdict::malformed},
      {"two NULs", right + "\0\0"s, Verdict::malformed},
      {"bytes behind the NUL", right + "\0x"s, Verdict::malformed},
      {"a NUL inside", right.substr(0, 20) + '\0' + right.substr(20) + '\0', Verdict::malformed},
      {"a NUL in front", '\0' + right + '\0', Verdict::malformed},
      {"upper case", "MD5" + right.substr(3) + '\0', Verdict::refused},
      {"without md5", right.substr(3) + '\0', Verdict::refused},
      {"one digit short", right.substr(0, 34) + '\0', Verdict::refused},
      {"one digit more", right + "0\0"s, Verdict::refused},
      {"1 KB", std::string(1024, 'm') + '\0', Verdict::refused},
      {"1 KB without NUL", std::string(1024, 'm'), Verdict::malformed},
      {"1 KB of NULs", std::string(1024, '\0'), Verdict::malformed},
      {"the password in clear", password + '\0', Verdict::refused},
      {"the stored hash", md5_password(user, password) + '\0', Verdict::refused},
      {"an answer to another salt", md5_answer(md5_password(user, password), "9999") + '\0',
       Verdict::refused},
      {"a SASL message", sasl_initial("SCRAM-SHA-256", "n,,n=,r=mine"), Verdict::malformed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    for (const Known known : {Known::plain, Known::md5}) {
      ClientAuth auth = after_start(ClientMethod::md5, known);
      CHECK(auth.on_answer(Exact(row.body)).verdict == row.verdict);
      CHECK(auth.on_answer(right + '\0').verdict == Verdict::malformed);  // one attempt only
    }
    ClientAuth nobody = after_start(ClientMethod::md5, Known::nothing);
    const Verdict verdict = row.verdict == Verdict::accepted ? Verdict::refused : row.verdict;
    CHECK(nobody.on_answer(Exact(row.body)).verdict == verdict);
  }
  for (std::size_t i = 0; i < right.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string wrong = right;
      wrong[i] = static_cast<char>(static_cast<unsigned char>(wrong[i]) ^ (1U << bit));
      ClientAuth auth = after_start(ClientMethod::md5, Known::plain);
      CHECK(auth.on_answer(wrong + '\0').verdict != Verdict::accepted);
    }
  }
}

TEST_CASE("client auth: first SASL messages that are none end it") {
  const std::string first = "n,,n=,r=mine";
  std::string huge_length = "SCRAM-SHA-256\0\xff\xff\xff\xff"s;
  struct Row {
    std::string name;
    std::string body;
  };
  const std::vector<Row> rows = {
      {"nothing", ""},
      {"a NUL", "\0"s},
      {"no length", "SCRAM-SHA-256\0"s},
      {"no initial response, and none", huge_length},
      {"CVE-2026-6664: a length of 2^32-1", huge_length + first},
      {"a length of 2^31-1", "SCRAM-SHA-256\0\x7f\xff\xff\xff"s + first},
      {"one byte too few", sasl_initial("SCRAM-SHA-256", first).substr(0, 29)},
      {"one byte too many", sasl_initial("SCRAM-SHA-256", first) + "x"},
      {"a mechanism without NUL", "SCRAM-SHA-256"},
      {"channel binding", sasl_initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,," + first)},
      {"channel binding in the message", sasl_initial("SCRAM-SHA-256", "p=tls-unique,,n=,r=x")},
      {"another mechanism", sasl_initial("PLAIN", first)},
      {"another case", sasl_initial("scram-sha-256", first)},
      {"no mechanism", sasl_initial("", first)},
      {"an empty message", sasl_initial("SCRAM-SHA-256", "")},
      {"1 KB of commas", sasl_initial("SCRAM-SHA-256", std::string(1024, ','))},
      {"1 KB of NULs", std::string(1024, '\0')},
      {"a password", password + '\0'},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    for (const Known known : {Known::scram, Known::nothing}) {
      ClientAuth auth = after_start(ClientMethod::scram_sha_256, known);
      const ClientAuth::Step step = auth.on_answer(Exact(row.body));
      CHECK(step.verdict == Verdict::malformed);
      CHECK(step.send.empty());
      CHECK(auth.on_answer(sasl_initial("SCRAM-SHA-256", first)).verdict == Verdict::malformed);
    }
  }
}

TEST_CASE("client auth: last SASL messages that are none end it") {
  const std::string right = at_final(Known::scram).right;
  struct Row {
    std::string name;
    std::string body;
    Verdict verdict;
  };
  const std::vector<Row> rows = {
      {"the right one", right, Verdict::accepted},
      {"nothing", "", Verdict::malformed},
      {"a NUL behind it", right + '\0', Verdict::malformed},
      {"a NUL in front of it", '\0' + right, Verdict::malformed},
      {"no proof", right.substr(0, right.rfind(",p=")), Verdict::malformed},
      {"an empty proof", right.substr(0, right.rfind(",p=") + 3), Verdict::malformed},
      {"a proof of zeros",
       right.substr(0, right.rfind(",p=") + 3) + base64_encode(std::string(32, '\0')),
       Verdict::refused},
      {"a proof of 31 bytes",
       right.substr(0, right.rfind(",p=") + 3) + base64_encode(std::string(31, '\0')),
       Verdict::malformed},
      {"the first message again", sasl_initial("SCRAM-SHA-256", "n,,n=,r=mine"),
       Verdict::malformed},
      {"1 KB", std::string(1024, 'x'), Verdict::malformed},
      {"1 KB of NULs", std::string(1024, '\0'), Verdict::malformed},
      {"the password", password + '\0', Verdict::malformed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    AtFinal known = at_final(Known::scram);
    CHECK(known.auth.on_answer(Exact(row.body)).verdict == row.verdict);
    // Nothing brings it back: not even the right answer.
    CHECK(known.auth.on_answer(right).verdict == Verdict::malformed);
    AtFinal unknown = at_final(Known::nothing);
    const Verdict verdict = row.verdict == Verdict::accepted ? Verdict::refused : row.verdict;
    // (The right answer to the challenge for nobody is another one.)
    if (row.verdict == Verdict::accepted) {
      CHECK(unknown.auth.on_answer(Exact(unknown.right)).verdict == verdict);
    } else {
      CHECK(unknown.auth.on_answer(Exact(row.body)).verdict == verdict);
    }
  }
}

TEST_CASE("client auth: an answer before anything was asked") {
  for (const ClientMethod method :
       {ClientMethod::trust, ClientMethod::md5, ClientMethod::scram_sha_256}) {
    for (const Known known : all_known) {
      ClientAuth auth = machine(method, known);
      CHECK(auth.on_answer("md5\0"s).verdict == Verdict::malformed);
      CHECK(auth.on_answer("").verdict == Verdict::malformed);
    }
  }
}

TEST_CASE("client auth: bytes of any kind at any stage let nobody in") {
  std::mt19937 random(2026);
  for (int round = 0; round < 4000; ++round) {
    const Exact body(round % 2 == 0 ? random_text(random, random() % 100)
                                    : "SCRAM-SHA-256\0\0\0\0"s +
                                          random_text(random, random() % 30, "\x05\x0cn,=rp\0y"s));
    for (const Known known : {Known::nothing, Known::plain_with_verifier}) {
      ClientAuth md5 = after_start(ClientMethod::md5, known);
      REQUIRE(md5.on_answer(body).verdict != Verdict::accepted);
      ClientAuth scram = after_start(ClientMethod::scram_sha_256, known);
      REQUIRE(scram.on_answer(body).verdict != Verdict::accepted);
    }
  }
  AtFinal good = at_final(Known::scram);
  for (int round = 0; round < 2000; ++round) {
    std::string body = good.right;
    body[random() % body.size()] = static_cast<char>(random() % 256);
    if (body == good.right) continue;
    ClientAuth auth = good.auth;  // a copy that waits for the same
    REQUIRE(auth.on_answer(Exact(body)).verdict != Verdict::accepted);
  }
  CHECK(good.auth.on_answer(good.right).verdict == Verdict::accepted);
}

}  // namespace dwspool::auth
