#include "dwspool/auth/user_secret.h"

#include "dwspool/base/text.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

namespace dwspool::auth {

UserSecret parse_user_secret(std::string_view text) {
  static constexpr std::size_t md5_size = 35;
  UserSecret secret;
  if (text.empty()) return secret;
  if (std::optional<ScramVerifier> verifier = parse_scram_verifier(text)) {
    secret.kind = UserSecret::Kind::scram;
    secret.scram = std::move(verifier);
    return secret;
  }
  std::string digits;
  if (text.size() == md5_size && text.starts_with("md5") && hex_decode(text.substr(3), digits)) {
    secret.kind = UserSecret::Kind::md5;
    secret.md5 = to_lower(text);
    return secret;
  }
  if (std::optional<GaussVerifier> verifier = parse_gauss_verifier(text)) {
    secret.kind = UserSecret::Kind::gauss;
    secret.gauss = std::move(verifier);
    return secret;
  }
  secret.kind = UserSecret::Kind::plain;
  secret.plain = Secret(text);
  return secret;
}

void add_verifier(UserSecret& secret, std::string_view salt) {
  if (secret.kind != UserSecret::Kind::plain || secret.scram) return;
  secret.scram = make_scram_verifier(secret.plain.reveal(), salt);
}

namespace {

bool fits(const ScramVerifier& verifier, std::string_view password) {
  const ScramKeys keys = derive_scram_keys(password, verifier.salt, verifier.iterations);
  return equal_in_constant_time(keys.stored_key, verifier.stored_key);
}

}  // namespace

bool is_right(const PasswordCheck& check) {
  const std::string& given = check.given.reveal();
  if (given.empty()) return false;
  switch (check.secret.kind) {
    case UserSecret::Kind::none:
      break;
    case UserSecret::Kind::plain:
      if (check.secret.scram) return fits(*check.secret.scram, given);
      // As slow as one that is not known; digests, as a comparison tells how long the texts are.
      static_cast<void>(fits(check.mock, given));
      return equal_in_constant_time(sha256(given), sha256(check.secret.plain.reveal()));
    case UserSecret::Kind::md5:
      static_cast<void>(fits(check.mock, given));
      return equal_in_constant_time(md5_password(check.user, given), check.secret.md5);
    case UserSecret::Kind::scram:
      return fits(*check.secret.scram, given);
    case UserSecret::Kind::gauss: {
      const GaussVerifier& verifier = *check.secret.gauss;
      const GaussKeys keys = derive_gauss_keys(given, verifier.salt_hex, verifier.iterations);
      return equal_in_constant_time(keys.stored_key, verifier.stored_key);
    }
  }
  static_cast<void>(fits(check.mock, given));
  return false;
}

}  // namespace dwspool::auth
