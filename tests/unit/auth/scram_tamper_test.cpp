// Someone sits in the middle and changes one byte: whichever it is, nobody is taken in.
#include <string>

#include <doctest/doctest.h>

#include "dwspool/auth/scram.h"

#include "scram_conversation.h"

namespace dwspool::auth {
namespace {

using testing::converse;
using testing::ScramOutcome;
using testing::ScramStep;

constexpr std::uint32_t few = 1;
// So that a changed iteration count does not make a test of a minute.
constexpr std::uint32_t most = 64;

// Runs the conversation with `change` applied to the message of `step`, once for every position.
template <class Change>
void tamper(ScramStep step, const Change& change) {
  const ScramVerifier verifier = make_scram_verifier("pencil", "0123456789abcdef", few);
  std::size_t length = 1;
  for (std::size_t at = 0; at < length; ++at) {
    std::string arrived;
    const ScramOutcome outcome = converse(
        "pencil", verifier,
        [&](ScramStep now, std::string message) {
          if (now != step) return message;
          length = message.size();
          const std::string original = message;
          change(message, at);
          if (message == original) message += "\xff";  // a change it must be
          arrived = message;
          return message;
        },
        most);
    CAPTURE(at);
    CAPTURE(arrived);
    REQUIRE_FALSE(outcome.client_accepts);
    REQUIRE(outcome.server_accepts == (step == ScramStep::server_final));
  }
  CHECK(length >= 20);  // there was something to change
}

void tamper_everywhere(ScramStep step) {
  for (unsigned bit = 0; bit < 8; ++bit) {
    CAPTURE(bit);
    tamper(step, [bit](std::string& message, std::size_t at) {
      message[at] = static_cast<char>(static_cast<unsigned char>(message[at]) ^ (1U << bit));
    });
  }
  for (const char c : {'\0', ',', '=', 'A', '\xff'}) {
    CAPTURE(c);
    tamper(step, [c](std::string& message, std::size_t at) { message[at] = c; });
    if (step == ScramStep::server_final) continue;  // extensions may follow there: see scram_test
    tamper(step, [c](std::string& message, std::size_t at) { message.insert(at, 1, c); });
  }
  tamper(step, [](std::string& message, std::size_t at) { message.erase(at, 1); });
  tamper(step, [](std::string& message, std::size_t at) { message.resize(at); });
}

}  // namespace

TEST_CASE("SCRAM tampering: the untouched conversation works") {
  const ScramVerifier verifier = make_scram_verifier("pencil", "0123456789abcdef", few);
  CHECK(converse("pencil", verifier).client_accepts);
}

TEST_CASE("SCRAM tampering: client-first-message") {
  tamper_everywhere(ScramStep::client_first);
}
TEST_CASE("SCRAM tampering: server-first-message") {
  tamper_everywhere(ScramStep::server_first);
}
TEST_CASE("SCRAM tampering: client-final-message") {
  tamper_everywhere(ScramStep::client_final);
}
TEST_CASE("SCRAM tampering: server-final-message") {
  tamper_everywhere(ScramStep::server_final);
}

}  // namespace dwspool::auth
