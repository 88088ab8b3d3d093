// A client before its log-in: any bytes, cut anywhere. Nobody gets in without the password, and
// the same bytes have the same effect however they are cut.
#include <cstddef>
#include <cstdint>
#include <string>

#include "dwspool/session/startup_flow.h"

#include "fuzz/input.h"

using namespace dwspool;

namespace {

struct Outcome {
  std::string sent;
  session::StartupFlow::State state = session::StartupFlow::State::first_packet;
};

Outcome play(std::string_view bytes, std::uint8_t method, std::uint8_t cut) {
  session::StartupFlow flow;
  session::Output out;
  Outcome outcome;
  std::string pending;
  while (!bytes.empty()) {
    const std::size_t piece = cut == 0 ? bytes.size() : std::min<std::size_t>(cut, bytes.size());
    pending += bytes.substr(0, piece);
    bytes.remove_prefix(piece);
    std::string_view view = pending;
    while (true) {
      const std::size_t before = view.size();
      const session::StartupFlow::Need need = flow.on_bytes(view, out);
      outcome.sent += out.to_client.flatten();
      out.clear();
      if (need == session::StartupFlow::Need::user) {
        auth::ClientAuth::Request request;
        request.method =
            method % 2 == 0 ? auth::ClientMethod::md5 : auth::ClientMethod::scram_sha_256;
        request.user = flow.user();
        request.secret = auth::parse_user_secret("a password that no fuzzer guesses");
        request.random = "123456789012345678901234";
        request.mock_secret = "mock";
        flow.authenticate(std::move(request), out);
        outcome.sent += out.to_client.flatten();
        out.clear();
        continue;
      }
      if (need == session::StartupFlow::Need::accepted) std::abort();
      if (need != session::StartupFlow::Need::input || view.size() == before) break;
    }
    pending.erase(0, pending.size() - view.size());
    fuzz::require(pending.size() <= 10004 || flow.state() == session::StartupFlow::State::refused);
    if (flow.state() == session::StartupFlow::State::refused) break;
  }
  outcome.state = flow.state();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t method = input.byte();
  const std::uint8_t cut = input.byte();
  play(input.rest(), method, 0);
  play(input.rest(), method, 1);
  play(input.rest(), method, cut);
  return 0;
}
