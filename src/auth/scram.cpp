#include "dwspool/auth/scram.h"

#include <charconv>

#include "dwspool/auth/digest.h"

namespace dwspool::auth {
namespace {

constexpr std::size_t key_size = 32;
constexpr std::size_t mock_salt_size = 16;
constexpr std::uint32_t default_iterations = 4096;
constexpr std::string_view bound_header = "p=tls-server-end-point,,";

bool parse_number(std::string_view text, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// Takes the attribute `letter`=... from the front of a comma-separated message.
std::optional<std::string_view> take_attribute(std::string_view& message, char letter) {
  if (message.size() < 2 || message[0] != letter || message[1] != '=') return std::nullopt;
  const std::size_t comma = message.find(',');
  const std::string_view value =
      message.substr(2, comma == std::string_view::npos ? std::string_view::npos : comma - 2);
  message.remove_prefix(comma == std::string_view::npos ? message.size() : comma + 1);
  return value;
}

std::string server_signature(std::string_view server_key, std::string_view auth_message) {
  return hmac_sha256(server_key, auth_message);
}

ScramKeys keys_of(std::string_view salted_password) {
  ScramKeys keys;
  keys.client_key = hmac_sha256(salted_password, "Client Key");
  keys.stored_key = sha256(keys.client_key);
  keys.server_key = hmac_sha256(salted_password, "Server Key");
  return keys;
}

}  // namespace

ScramKeys derive_scram_keys(std::string_view password, std::string_view salt,
                            std::uint32_t iterations) {
  return keys_of(pbkdf2_sha256(sasl_prepare(password), salt, iterations));
}

std::optional<ScramVerifier> parse_scram_verifier(std::string_view text) {
  static constexpr std::string_view prefix = "SCRAM-SHA-256$";
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  const std::size_t colon = text.find(':');
  const std::size_t dollar = text.find('$');
  const std::size_t second_colon = text.rfind(':');
  if (colon == std::string_view::npos || dollar == std::string_view::npos || colon > dollar ||
      second_colon < dollar) {
    return std::nullopt;
  }
  ScramVerifier verifier;
  const bool good =
      parse_number(text.substr(0, colon), verifier.iterations) && verifier.iterations > 0 &&
      base64_decode(text.substr(colon + 1, dollar - colon - 1), verifier.salt) &&
      base64_decode(text.substr(dollar + 1, second_colon - dollar - 1), verifier.stored_key) &&
      base64_decode(text.substr(second_colon + 1), verifier.server_key) &&
      verifier.stored_key.size() == key_size && verifier.server_key.size() == key_size;
  if (!good) return std::nullopt;
  return verifier;
}

std::string to_text(const ScramVerifier& verifier) {
  return "SCRAM-SHA-256$" + std::to_string(verifier.iterations) + ":" +
         base64_encode(verifier.salt) + "$" + base64_encode(verifier.stored_key) + ":" +
         base64_encode(verifier.server_key);
}

ScramVerifier make_scram_verifier(std::string_view password, std::string_view salt,
                                  std::uint32_t iterations) {
  const ScramKeys keys = derive_scram_keys(password, salt, iterations);
  return {iterations, std::string(salt), keys.stored_key, keys.server_key};
}

ScramVerifier mock_scram_verifier(std::string_view user, std::string_view secret) {
  ScramVerifier verifier;
  verifier.iterations = default_iterations;
  verifier.salt = hmac_sha256(secret, "salt:" + std::string(user)).substr(0, mock_salt_size);
  verifier.stored_key = hmac_sha256(secret, "stored:" + std::string(user));
  verifier.server_key = hmac_sha256(secret, "server:" + std::string(user));
  return verifier;
}

Result<std::string> ScramServer::on_client_first(std::string_view message) {
  // gs2-header: 'n' no channel binding, 'y' the client could but thinks the server cannot, which is
  // a lie of somebody in between when we have offered it.
  const std::size_t bare = message.find(',') == std::string_view::npos
                               ? std::string_view::npos
                               : message.find(',', message.find(',') + 1);
  if (bare == std::string_view::npos) return Error{"malformed SCRAM message"};
  const std::string_view header = message.substr(0, bare + 1);
  const bool good =
      bound_ ? header == bound_header : header == "n,," || (header == "y,," && end_point_.empty());
  if (!good) return Error{"the SCRAM message has channel binding where it must not, or has none"};
  gs2_header_ = header;
  std::string_view rest = message.substr(bare + 1);
  client_first_bare_ = rest;
  // The user name in it is ignored, as in PostgreSQL: the start-up packet has said who it is.
  const auto user = take_attribute(rest, 'n');
  const auto client_nonce = take_attribute(rest, 'r');
  if (!user || !client_nonce || client_nonce->empty()) return Error{"malformed SCRAM message"};
  nonce_ = std::string(*client_nonce) + nonce_;
  server_first_ = "r=" + nonce_ + ",s=" + base64_encode(verifier_.salt) +
                  ",i=" + std::to_string(verifier_.iterations);
  return server_first_;
}

Result<ScramServer::Final> ScramServer::on_client_final(std::string_view message) {
  const std::size_t proof_at = message.rfind(",p=");
  if (proof_at == std::string_view::npos) return Error{"malformed SCRAM message"};
  const std::string_view without_proof = message.substr(0, proof_at);
  std::string_view rest = without_proof;
  const auto binding = take_attribute(rest, 'c');
  const auto nonce = take_attribute(rest, 'r');
  std::string proof;
  std::string bound;
  if (!binding || !nonce || !base64_decode(*binding, bound) ||
      !base64_decode(message.substr(proof_at + 3), proof) || proof.size() != key_size) {
    return Error{"malformed SCRAM message"};
  }
  if (bound != gs2_header_ + (bound_ ? end_point_ : std::string()) ||
      !equal_in_constant_time(*nonce, nonce_)) {
    return Error{"malformed SCRAM message"};
  }
  const std::string auth_message =
      client_first_bare_ + "," + server_first_ + "," + std::string(without_proof);
  const std::string client_key =
      exclusive_or(proof, hmac_sha256(verifier_.stored_key, auth_message));
  if (!equal_in_constant_time(sha256(client_key), verifier_.stored_key)) return Final{};
  return Final{true, "v=" + base64_encode(server_signature(verifier_.server_key, auth_message)),
               client_key};
}

std::string ScramClient::header() const {
  if (bound_) return std::string(bound_header);
  return end_point_.empty() ? "n,," : "y,,";
}

std::string ScramClient::first() const {
  return header() + "n=,r=" + nonce_;
}

Result<ScramClient::Challenge> ScramClient::on_server_first(std::string_view message,
                                                            std::uint32_t max_iterations) {
  server_first_ = message;
  std::string_view rest = message;
  const auto nonce = take_attribute(rest, 'r');
  const auto salt = take_attribute(rest, 's');
  const auto iterations = take_attribute(rest, 'i');
  Challenge challenge;
  if (!nonce || !salt || !iterations || !base64_decode(*salt, challenge.salt) ||
      challenge.salt.empty() || !parse_number(*iterations, challenge.iterations)) {
    return Error{"the server sent a malformed SCRAM message"};
  }
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) {
    return Error{"the server sent a SCRAM nonce that does not extend ours"};
  }
  if (challenge.iterations == 0 || challenge.iterations > max_iterations) {
    return Error{"the server asks for " + std::to_string(challenge.iterations) +
                 " PBKDF2 iterations; at most " + std::to_string(max_iterations) +
                 " are allowed (max_pbkdf2_iterations)"};
  }
  combined_nonce_ = *nonce;
  return challenge;
}

std::string ScramClient::final(const ScramKeys& keys) {
  const std::string binding = header() + (bound_ ? end_point_ : std::string());
  const std::string without_proof = "c=" + base64_encode(binding) + ",r=" + combined_nonce_;
  const std::string auth_message = "n=,r=" + nonce_ + "," + server_first_ + "," + without_proof;
  const std::string proof =
      exclusive_or(keys.client_key, hmac_sha256(keys.stored_key, auth_message));
  expected_signature_ = server_signature(keys.server_key, auth_message);
  return without_proof + ",p=" + base64_encode(proof);
}

Status ScramClient::on_server_final(std::string_view message) const {
  std::string_view rest = message;
  if (const auto failed = take_attribute(rest, 'e')) {
    return Error{"the server refused the SCRAM exchange: " + std::string(failed->substr(0, 200))};
  }
  const auto signature = take_attribute(rest, 'v');
  std::string bytes;
  if (!signature || !base64_decode(*signature, bytes)) {
    return Error{"the server sent a malformed SCRAM message"};
  }
  // Without a proof of ours there is nothing that the server could have signed.
  if (expected_signature_.empty() || !equal_in_constant_time(bytes, expected_signature_)) {
    return Error{"the server could not prove that it knows the password"};
  }
  return Ok{};
}

std::string make_scram_nonce(std::string_view random) {
  return base64_encode(random);
}

}  // namespace dwspool::auth
