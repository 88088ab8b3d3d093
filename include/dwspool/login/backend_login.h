// Log-in to a coordinator: one machine for PostgreSQL and GaussDB(DWS), which does what the
// server asks: nothing (trust), the password in clear, md5, SCRAM-SHA-256, or GaussDB's SHA256.
//
//   start ─► startup ─► authenticating ⇄ deriving ─► starting_up ─► done
//                                  any ─► failed
//
// It asks for protocol 3.51, which GaussDB needs in order to say how many iterations a password
// was hashed with; PostgreSQL answers with NegotiateProtocolVersion and goes on with 3.0. Where a
// server refuses 3.51, the shell connects again and passes protocol_3_0
// (doc/gaussdb-protocol.md).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/pool_mode.h"
#include "dwspool/base/secret.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "dwspool/auth/credential.h"
#include "dwspool/auth/gauss.h"
#include "dwspool/auth/scram.h"

namespace dwspool::login {

// What the log-in must know. Everything is a copy: the machine outlives its maker's patience.
struct Identity {
  std::string user;
  std::string database;
  auth::Credential credential;
  std::uint32_t protocol = wire::protocol_gauss_3_51;
  std::uint32_t max_iterations = 1000000;
  std::string nonce;      // fresh, printable, without commas
  std::string end_point;  // of TLS, for SCRAM's channel binding; empty without
};

// A key derivation that the machine waits for: tens of milliseconds of CPU, to be done off the
// loop. The result depends on nothing but these fields, and may be kept.
struct Derivation {
  enum class Kind : std::uint8_t { scram, gauss_sha256, gauss_sm3 };
  Kind kind = Kind::scram;
  Secret password;
  std::string salt;  // scram: bytes; gauss: 64 hexadecimal digits
  std::uint32_t iterations = 0;
};
// The three keys of either family.
struct DerivedKeys {
  Secret client_key;
  std::string stored_key;
  std::string server_key;
};
// Blocking: runs PBKDF2.
DerivedKeys derive(const Derivation& work);

// Why a log-in failed, which decides what may be tried next.
enum class Failure : std::uint8_t {
  credentials,     // 28xxx, or it would be: never again by itself, the account may get locked
  refused,         // the server says no for another lasting reason (no such database ...)
  unavailable,     // it cannot at the moment (57P03, 53300), or the connection was lost
  old_protocol,    // 3.51 is not understood: once more with 3.0
  unsupported,     // an authentication method that dwspool does not have
  protocol_error,  // what it sent makes no sense
};

class BackendLogin {
 public:
  enum class Need : std::uint8_t { input, derivation, nothing };
  enum class State : std::uint8_t { startup, authenticating, deriving, starting_up, done, failed };

  explicit BackendLogin(Identity identity);

  // Appends the start-up packet to `out`.
  void start(std::string& out);
  // The digest for channel binding, which is there once hands are shaken.
  void set_end_point(std::string end_point) { identity_.end_point = std::move(end_point); }

  // Consumes whole messages from the front of `in`; answers go to `out`. With `derivation`, see
  // derivation(). With `nothing`, state() is done or failed; after done, what is left in `in`
  // belongs to the session.
  Need on_bytes(std::string_view& in, std::string& out);

  // Precondition: the state is deriving.
  const Derivation& derivation() const { return *derivation_; }
  Need on_derived(const DerivedKeys& keys, std::string& out);

  // The connection ended, or took too long, before the log-in was over.
  void on_lost(std::string_view cause);

  State state() const { return state_; }
  bool finished() const { return state_ == State::done || state_ == State::failed; }

  // After `failed`.
  Failure failure() const { return failure_; }
  const wire::ErrorReport& report() const { return report_; }

  // What the server has shown itself to be; unknown if the log-in failed too early to tell.
  Dialect dialect() const { return dialect_; }
  // Whether the server has been sent the password, or the proof of one.
  bool proven() const { return proven_; }

  // After `done`.
  const std::vector<std::pair<std::string, std::string>>& parameters() const { return parameters_; }
  const wire::KeyData& key() const { return key_; }
  // How the server let us in: "trust", "password", "md5", "scram-sha-256", "gaussdb-sha256".
  std::string_view method() const { return method_; }
  // What the server was satisfied with: the password itself only where it asked for that. Empty
  // unless proven().
  const auth::Credential& used() const { return used_; }
  // NoticeResponses that came on the way, such as a password about to expire.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  Need on_frame(const wire::Frame& frame, std::string& out);
  Need on_authentication(std::string_view body, std::string& out);
  Need on_sasl(std::string_view payload, std::string& out);
  Need on_scram_challenge(std::string_view payload, std::string& out);
  Need on_gauss(std::string_view payload, bool sm3, std::string& out);
  Need on_md5_sha256();
  Need on_error(std::string_view body);
  Need on_plain_error(std::string_view& in);
  Need send_cleartext(std::string& out);
  Need send_md5(std::string_view salt, std::string& out);
  Need nothing_fits(std::string_view wanted);
  const auth::LoginKeys* keys(auth::LoginKeys::Kind kind) const;
  Need derive_or_take(Derivation::Kind kind, std::string salt, std::uint32_t iterations,
                      std::string& out);
  Need fail(Failure failure, std::string_view sqlstate, std::string message, std::string hint = {});
  Need finish();

  Identity identity_;
  State state_ = State::startup;
  std::optional<auth::ScramClient> scram_;
  std::optional<auth::GaussChallenge> gauss_;
  std::optional<Derivation> derivation_;
  auth::Credential used_;
  std::vector<std::pair<std::string, std::string>> parameters_;
  std::vector<std::string> notices_;
  wire::KeyData key_;
  wire::ErrorReport report_;
  Failure failure_ = Failure::protocol_error;
  Dialect dialect_ = Dialect::unknown;
  std::string_view method_ = "trust";
  bool asked_ = false;  // for authentication
  bool proven_ = false;
  bool scram_answered_ = false;
  bool server_proven_ = false;
};

}  // namespace dwspool::login
