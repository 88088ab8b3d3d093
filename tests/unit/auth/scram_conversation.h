// A SCRAM client and a SCRAM server of dwspool's own, with someone in the middle.
#pragma once

#include <functional>
#include <string>

#include <doctest/doctest.h>

#include "dwspool/auth/scram.h"

namespace dwspool::auth::testing {

enum class ScramStep { client_first, server_first, client_final, server_final };

// Gets a message on its way and gives what arrives.
using Middle = std::function<std::string(ScramStep, std::string)>;

struct ScramOutcome {
  bool server_accepts = false;
  bool client_accepts = false;
  std::string error;  // of the first end that gave up
};

inline ScramOutcome converse(const std::string& password, const ScramVerifier& verifier,
                             const Middle& middle, std::uint32_t max_iterations = 1000000) {
  ScramOutcome outcome;
  ScramClient client("client-nonce");
  ScramServer server(verifier, "server-nonce");
  const auto server_first = server.on_client_first(middle(ScramStep::client_first, client.first()));
  if (!server_first) return {false, false, server_first.error().message};
  const auto challenge =
      client.on_server_first(middle(ScramStep::server_first, *server_first), max_iterations);
  if (!challenge) return {false, false, challenge.error().message};
  const ScramKeys keys = derive_scram_keys(password, challenge->salt, challenge->iterations);
  const auto final = server.on_client_final(middle(ScramStep::client_final, client.final(keys)));
  if (!final) return {false, false, final.error().message};
  outcome.server_accepts = final->proven;
  if (!final->proven) {
    CHECK(final->message.empty());
    return {false, false, "wrong password"};
  }
  const Status proven = client.on_server_final(middle(ScramStep::server_final, final->message));
  outcome.client_accepts = static_cast<bool>(proven);
  if (!proven) outcome.error = proven.error().message;
  return outcome;
}

inline ScramOutcome converse(const std::string& password, const ScramVerifier& verifier) {
  return converse(password, verifier, [](ScramStep, std::string message) { return message; });
}

}  // namespace dwspool::auth::testing
