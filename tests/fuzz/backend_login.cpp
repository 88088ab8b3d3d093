// A hostile server: a log-in ends, with the same outcome however the bytes are cut, and never
// believes that it is in when nobody has said so.
#include "dwspool/login/backend_login.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz/input.h"

using namespace dwspool;

namespace {

struct Outcome {
  std::string sent;
  login::BackendLogin::State state = login::BackendLogin::State::startup;
  std::size_t parameters = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome play(std::string_view bytes, std::size_t cut) {
  login::Identity identity;
  identity.user = "user";
  identity.database = "database";
  identity.credential.password = Secret(std::string_view("secret"));
  identity.max_iterations = 3;
  identity.nonce = "nonce";
  login::BackendLogin machine(std::move(identity));
  Outcome outcome;
  machine.start(outcome.sent);
  std::string pending;
  while (!bytes.empty() && !machine.finished()) {
    const std::size_t piece = cut == 0 ? bytes.size() : std::min(cut, bytes.size());
    pending += bytes.substr(0, piece);
    bytes.remove_prefix(piece);
    std::string_view view = pending;
    while (machine.on_bytes(view, outcome.sent) == login::BackendLogin::Need::derivation) {
      machine.on_derived(login::derive(machine.derivation()), outcome.sent);
    }
    pending.erase(0, pending.size() - view.size());
  }
  outcome.state = machine.state();
  outcome.parameters = machine.parameters().size();
  fuzz::require(outcome.parameters <= 256);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t cut = input.byte();
  const Outcome whole = play(input.rest(), 0);
  fuzz::require(play(input.rest(), 1) == whole);
  fuzz::require(play(input.rest(), cut) == whole);
  return 0;
}
