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

// The keys that the password has by the verifier's salt, if it is the right one.
std::optional<ScramKeys> keys_for(const ScramVerifier& verifier, std::string_view password) {
  ScramKeys keys = derive_scram_keys(password, verifier.salt, verifier.iterations);
  if (!equal_in_constant_time(keys.stored_key, verifier.stored_key)) return std::nullopt;
  return keys;
}

PasswordVerdict judge_scram(const ScramVerifier& verifier, std::string_view given) {
  const std::optional<ScramKeys> keys = keys_for(verifier, given);
  if (!keys) return {};
  return {true, {std::nullopt, login_keys(verifier, keys->client_key)}};
}

PasswordVerdict judge_gauss(const GaussVerifier& verifier, std::string_view given) {
  const GaussKeys keys = derive_gauss_keys(given, verifier.salt_hex, verifier.iterations);
  if (!equal_in_constant_time(keys.stored_key, verifier.stored_key)) return {};
  return {true,
          {std::nullopt,
           LoginKeys{LoginKeys::Kind::gauss_sha256, Secret(keys.client_key), verifier.salt_hex,
                     verifier.iterations, keys.stored_key, keys.server_key}}};
}

}  // namespace

LoginKeys login_keys(const ScramVerifier& verifier, std::string_view client_key) {
  return {LoginKeys::Kind::scram, Secret(client_key),  verifier.salt,
          verifier.iterations,    verifier.stored_key, verifier.server_key};
}

LoginKeys login_keys(const std::string& md5) {
  return {LoginKeys::Kind::md5, Secret(md5), {}, 0, {}, {}};
}

PasswordVerdict judge(const PasswordCheck& check) {
  const std::string& given = check.given.reveal();
  if (given.empty()) return {};
  switch (check.secret.kind) {
    case UserSecret::Kind::none:
      break;
    case UserSecret::Kind::plain:
      if (check.secret.scram) return {keys_for(*check.secret.scram, given).has_value(), {}};
      // As slow as one that is not known; digests, as a comparison tells how long the texts are.
      static_cast<void>(keys_for(check.mock, given));
      return {equal_in_constant_time(sha256(given), sha256(check.secret.plain.reveal())), {}};
    case UserSecret::Kind::md5:
      static_cast<void>(keys_for(check.mock, given));
      if (!equal_in_constant_time(md5_password(check.user, given), check.secret.md5)) return {};
      return {true, {std::nullopt, login_keys(check.secret.md5)}};
    case UserSecret::Kind::scram:
      return judge_scram(*check.secret.scram, given);
    case UserSecret::Kind::gauss:
      return judge_gauss(*check.secret.gauss, given);
  }
  static_cast<void>(keys_for(check.mock, given));
  return {};
}

}  // namespace dwspool::auth
