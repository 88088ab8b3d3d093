// A client connection from its first byte to the end of its log-in.
//
//   first_packet ─► (SSLRequest, GSSENCRequest: each once) ─► first_packet
//        │  CancelRequest ─► cancel
//        ▼ StartupMessage, exactly once
//   checking ─► authenticating ─► (comparing: a password in clear) ─► accepted
//   any ─► refused
//
// Whoever connects may send anything: nothing is kept beyond one packet of at most 10 kB, and no
// more than that is ever read before the client is known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/startup.h"

#include "dwspool/auth/client_auth.h"

#include "dwspool/session/output.h"
#include "dwspool/session/settings.h"

namespace dwspool::session {

class StartupFlow {
 public:
  enum class State : std::uint8_t {
    first_packet,
    checking,
    authenticating,
    comparing,
    accepted,
    refused
  };
  enum class Need : std::uint8_t {
    input,
    tls,         // 'S' is in the output; what comes behind it is encrypted
    direct_tls,  // what is in the input is the beginning of a handshake already
    user,        // see startup(); answer with authenticate() or refuse()
    check,       // see password_check(), which takes time; then on_checked
    cancel,      // see cancel_request(); then the connection ends without a word
    accepted,    // AuthenticationOk is in the output; what is left of the input is the session's
    close,       // the reason is in the output
  };

  // `offers_tls`: requests for it are granted.
  explicit StartupFlow(bool offers_tls = false) : offers_tls_(offers_tls) {}

  // Consumes from the front of `in`.
  Need on_bytes(std::string_view& in, Output& out);

  // After `user`: what the client says it is, and the method to make it prove it by.
  const wire::StartupMessage& startup() const { return startup_; }
  const StartupSettings& settings() const { return settings_; }
  Need authenticate(auth::ClientAuth::Request request, Output& out);
  // After `check`. Until on_checked, nothing is taken from the input.
  auth::PasswordCheck password_check() const { return auth_->check(); }
  Need on_checked(const auth::PasswordVerdict& verdict, Output& out);
  // After `accepted`; see ClientAuth::credential.
  const auth::Credential& credential() const { return credential_; }
  // The client may not log in; `report` says why.
  Need refuse(wire::ErrorReport report, Output& out);

  const wire::CancelRequest& cancel_request() const { return cancel_; }
  State state() const { return state_; }
  // As PostgreSQL reads them: cut to 63 bytes; the user's name stands for a database not given.
  std::string user() const;
  std::string database() const;
  // Whether the password was wrong, for the log and the metrics.
  bool password_refused() const { return password_refused_; }

 private:
  Need on_first_packet(std::string_view& in, Output& out);
  Need on_startup(wire::StartupMessage message, Output& out);
  Need on_password(std::string_view& in, Output& out);
  Need take(const auth::ClientAuth::Step& step, Output& out);
  Need violation(std::string_view what, Output& out);

  State state_ = State::first_packet;
  bool offers_tls_;
  bool asked_ssl_ = false;
  bool asked_gss_ = false;
  bool password_refused_ = false;
  wire::StartupMessage startup_;
  StartupSettings settings_;
  wire::CancelRequest cancel_;
  std::optional<auth::ClientAuth> auth_;
  auth::Credential credential_;
};

// The one refusal for a wrong password, an unknown user and a user without a password.
wire::ErrorReport password_failed_report(std::string_view user);

}  // namespace dwspool::session
