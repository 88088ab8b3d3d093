// What is known of a user's password: the password itself, or what can be checked against it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/secret.h"

#include "dwspool/auth/credential.h"
#include "dwspool/auth/gauss.h"
#include "dwspool/auth/scram.h"

namespace dwspool::auth {

// Exactly what the text stood for; see parse_user_secret.
struct UserSecret {
  enum class Kind : std::uint8_t { none, plain, md5, scram, gauss };
  Kind kind = Kind::none;
  Secret plain;                        // kind plain
  std::string md5;                     // kind md5: "md5" and 32 hexadecimal digits
  std::optional<ScramVerifier> scram;  // kind scram; of a plain one, see add_verifier
  std::optional<GaussVerifier> gauss;  // kind gauss
};

// As in pg_authid.rolpassword: "SCRAM-SHA-256$..." is a verifier, "md5" with 32 hexadecimal
// digits a hash, "sha256..." as long as GaussDB's a verifier of GaussDB's, everything else the
// password itself. Empty: no password, which nobody can prove.
UserSecret parse_user_secret(std::string_view text);

// Gives a plain secret the verifier that SCRAM needs. Runs PBKDF2: some milliseconds of CPU, not
// for an event loop. `salt` should be random. No effect on other kinds.
void add_verifier(UserSecret& secret, std::string_view salt);

// What a verifier is worth towards a server that keeps it, together with the ClientKey that a
// client's proof gives away; and an md5 hash by itself.
LoginKeys login_keys(const ScramVerifier& verifier, std::string_view client_key);
LoginKeys login_keys(const std::string& md5);

// Whether a password that came in clear is the right one. Runs PBKDF2, also when there is no secret
// to compare with, so that a clock does not tell: not for an event loop. `mock` stands in for a
// secret of kind none.
struct PasswordCheck {
  std::string user;
  UserSecret secret;
  ScramVerifier mock;
  Secret given;
};
struct PasswordVerdict {
  bool right = false;
  // When it is right and the secret is no plain one: what a server is satisfied with that keeps the
  // same secret.
  Credential credential;
};
PasswordVerdict judge(const PasswordCheck& check);

}  // namespace dwspool::auth
