// Both ends of SCRAM against anybody: no message gets in, none crashes.
#include "dwspool/auth/scram.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "dwspool/auth/gauss.h"

#include "fuzz/input.h"

using namespace dwspool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auth::ScramVerifier verifier = auth::make_scram_verifier("secret", "salt", 1);
  static const auth::ScramKeys keys = auth::derive_scram_keys("secret", "salt", 1);
  fuzz::Input input(data, size);
  const std::uint8_t kind = input.byte() % 4;
  const std::string_view first = input.bytes(input.byte());
  const std::string_view second = input.rest();
  if (kind == 0) {
    auth::ScramServer server(verifier, "servernonce");
    if (server.on_client_first(first)) {
      const auto result = server.on_client_final(second);
      fuzz::require(!result || !result->proven);
    }
  } else if (kind == 1) {
    auth::ScramClient client("clientnonce");
    if (client.on_server_first(first, 4096)) {
      client.final(keys);
      fuzz::require(!client.on_server_final(second));
    }
  } else if (kind == 2) {
    if (const auto parsed = auth::parse_scram_verifier(second)) {
      fuzz::require(auth::parse_scram_verifier(auth::to_text(*parsed)).has_value());
    }
    if (const auto parsed = auth::parse_gauss_verifier(second)) {
      fuzz::require(auth::to_text(*parsed) == second);
    }
  } else {
    const auto challenge = auth::read_gauss_challenge(second);
    static_cast<void>(challenge);
    fuzz::require(!auth::gauss_verify(verifier.stored_key, first, second));
  }
  return 0;
}
