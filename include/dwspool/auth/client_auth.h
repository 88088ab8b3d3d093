// Log-in of a client to dwspool: the server's end of trust, a password in clear, md5 and
// SCRAM-SHA-256 as one machine.
//
// A user that does not exist, one without a password and a wrong password are told apart by
// nothing that a client can see.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/auth/scram.h"
#include "dwspool/auth/user_secret.h"

namespace dwspool::auth {

enum class ClientMethod : std::uint8_t { trust, password, md5, scram_sha_256 };

class ClientAuth {
 public:
  enum class Verdict : std::uint8_t {
    need_answer,  // send the bytes, wait for a message of type 'p'
    need_check,   // see check(), which takes time; the outcome goes to on_checked
    accepted,     // send the bytes (AuthenticationOk is among them)
    refused,      // wrong password, or nothing to check it against
    malformed,    // not an answer to what was asked: a protocol violation
  };
  struct Step {
    Verdict verdict = Verdict::refused;
    std::string send;
  };

  struct Request {
    ClientMethod method = ClientMethod::scram_sha_256;
    std::string user;
    UserSecret secret;        // kind none for an unknown user
    std::string random;       // 24 fresh random bytes
    std::string mock_secret;  // the process's own, for the challenges of unknown users
    std::string end_point;    // of TLS, for channel binding; empty without
  };
  explicit ClientAuth(Request request);

  Step start();
  // `body` of a message of type 'p'. Only after need_answer; whatever else the verdict was, it is
  // over, and every further answer is malformed.
  Step on_answer(std::string_view body);
  // After need_check.
  PasswordCheck check() const;
  Step on_checked(const PasswordVerdict& verdict);

  // After accepted: what the client's proof, with the secret that it was held against, is worth
  // towards a server. Empty for a plain secret, which is worth more by itself.
  const Credential& credential() const { return credential_; }

 private:
  enum class Stage : std::uint8_t {
    password,
    checking,
    md5_answer,
    sasl_initial,
    sasl_final,
    done
  };

  Step on_password(std::string_view body);
  Step on_md5(std::string_view body);
  Step on_sasl_initial(std::string_view body);
  Step on_sasl_final(std::string_view body);
  Step accept(std::string before = {});
  Step refuse();
  Step malformed();

  Request request_;
  Stage stage_ = Stage::done;
  Secret given_;
  std::string md5_salt_;
  std::optional<ScramServer> scram_;
  bool may_succeed_ = false;
  Credential credential_;
};

}  // namespace dwspool::auth
