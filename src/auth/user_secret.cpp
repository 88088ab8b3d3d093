#include "dwspool/auth/user_secret.h"

#include "dwspool/base/text.h"

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
  secret.kind = UserSecret::Kind::plain;
  secret.plain = Secret(text);
  return secret;
}

void add_verifier(UserSecret& secret, std::string_view salt) {
  if (secret.kind != UserSecret::Kind::plain || secret.scram) return;
  secret.scram = make_scram_verifier(secret.plain.reveal(), salt);
}

}  // namespace dwspool::auth
