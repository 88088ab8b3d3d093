// SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it: both ends as machines that take
// one message and give one. Randomness comes in as an argument.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/result.h"

namespace dwspool::auth {

inline constexpr std::string_view scram_mechanism = "SCRAM-SHA-256";
// The same, bound to the TLS connection by the digest of the server's certificate (RFC 5929,
// tls-server-end-point): who stands in between cannot pass it on.
inline constexpr std::string_view scram_plus_mechanism = "SCRAM-SHA-256-PLUS";

// What proves or checks a password without being it.
struct ScramKeys {
  std::string client_key;
  std::string stored_key;
  std::string server_key;
};
// PBKDF2: not for an event loop.
ScramKeys derive_scram_keys(std::string_view password, std::string_view salt,
                            std::uint32_t iterations);

// A row of pg_authid: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
struct ScramVerifier {
  std::uint32_t iterations = 0;
  std::string salt;
  std::string stored_key;
  std::string server_key;
};
std::optional<ScramVerifier> parse_scram_verifier(std::string_view text);
std::string to_text(const ScramVerifier& verifier);
// PBKDF2: not for an event loop.
ScramVerifier make_scram_verifier(std::string_view password, std::string_view salt,
                                  std::uint32_t iterations = 4096);

// A verifier that no password fits and that is the same every time for the same name, so that an
// unknown user looks like a known one. `secret` is the process's own.
ScramVerifier mock_scram_verifier(std::string_view user, std::string_view secret);

// The server's end.
class ScramServer {
 public:
  // `nonce`: printable, without commas, fresh for every exchange. `end_point`: the digest, when
  // channel binding was offered; empty otherwise.
  ScramServer(ScramVerifier verifier, std::string nonce, std::string end_point = {})
      : verifier_(std::move(verifier)),
        nonce_(std::move(nonce)),
        end_point_(std::move(end_point)) {}

  // The client has chosen the mechanism with channel binding. Before on_client_first.
  void bind() { bound_ = true; }

  // client-first-message to server-first-message. An error is a malformed message.
  Result<std::string> on_client_first(std::string_view message);

  struct Final {
    bool proven = false;
    std::string message;     // server-final-message, when proven
    std::string client_key;  // when proven: the proof has given it away
  };
  // client-final-message. An error is a malformed message; a wrong password is not one.
  Result<Final> on_client_final(std::string_view message);

 private:
  ScramVerifier verifier_;
  std::string nonce_;
  std::string end_point_;
  bool bound_ = false;
  std::string gs2_header_;
  std::string client_first_bare_;
  std::string server_first_;
};

// The client's end. The keys are derived by the caller in between,
// because that takes time.
class ScramClient {
 public:
  // `end_point`: the digest, where TLS has one, empty otherwise; `bound`: the server offers channel
  // binding, and it is used.
  explicit ScramClient(std::string nonce, std::string end_point = {}, bool bound = false)
      : nonce_(std::move(nonce)), end_point_(std::move(end_point)), bound_(bound) {}

  std::string first() const;

  struct Challenge {
    std::string salt;
    std::uint32_t iterations = 0;
  };
  // server-first-message. Refuses iteration counts of 0 and above `max_iterations`.
  Result<Challenge> on_server_first(std::string_view message, std::uint32_t max_iterations);

  // client-final-message. Precondition: on_server_first succeeded.
  std::string final(const ScramKeys& keys);

  // server-final-message: whether the server knows the password, too.
  Status on_server_final(std::string_view message) const;

 private:
  std::string header() const;

  std::string nonce_;
  std::string end_point_;
  bool bound_;
  std::string server_first_;
  std::string combined_nonce_;
  std::string expected_signature_;
};

// A nonce out of random bytes: base64, which has no comma.
std::string make_scram_nonce(std::string_view random);

}  // namespace dwspool::auth
