#include "dwspool/login/backend_login.h"

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"
#include "dwspool/wire/startup.h"
#include "dwspool/wire/types.h"
#include "dwspool/wire/writer.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"
#include "dwspool/auth/user_secret.h"

namespace dwspool::login {
namespace {

namespace be = wire::backend;

// Nothing that a server says before the first ReadyForQuery is longer.
constexpr std::size_t message_limit = 65536;
constexpr std::size_t parameter_limit = 256;
constexpr std::size_t notice_limit = 8;
// Of an error in the form of protocol 2, which has no length.
constexpr std::size_t plain_error_limit = 1024;

// How the password is stored, as the first word of GaussDB's request says it.
constexpr std::uint32_t gauss_method_md5 = 1;
constexpr std::uint32_t gauss_method_sha256 = 2;
constexpr std::uint32_t gauss_method_sm3 = 3;

bool mentions_protocol(const wire::ErrorFields& fields) {
  return fields.message.find("unsupported frontend protocol") != std::string_view::npos ||
         fields.message.find("unsupported protocol") != std::string_view::npos;
}

Failure failure_of(std::string_view sqlstate) {
  if (sqlstate.starts_with("28")) return Failure::credentials;
  // Without a code nothing says that the refusal will last.
  if (sqlstate.empty() || sqlstate == wire::sqlstate::cannot_connect_now ||
      sqlstate == wire::sqlstate::admin_shutdown || sqlstate.starts_with("53") ||
      sqlstate.starts_with("08") || sqlstate == "57P02") {
    return Failure::unavailable;
  }
  return Failure::refused;
}

auth::LoginKeys::Kind keys_of(Derivation::Kind kind) {
  switch (kind) {
    case Derivation::Kind::scram:
      return auth::LoginKeys::Kind::scram;
    case Derivation::Kind::gauss_sm3:
      return auth::LoginKeys::Kind::gauss_sm3;
    case Derivation::Kind::gauss_sha256:
      break;
  }
  return auth::LoginKeys::Kind::gauss_sha256;
}

}  // namespace

DerivedKeys derive(const Derivation& work) {
  switch (work.kind) {
    case Derivation::Kind::scram: {
      auth::ScramKeys keys =
          auth::derive_scram_keys(work.password.reveal(), work.salt, work.iterations);
      return {Secret(std::move(keys.client_key)), keys.stored_key, keys.server_key};
    }
    case Derivation::Kind::gauss_sha256:
    case Derivation::Kind::gauss_sm3:
      break;
  }
  auth::GaussKeys keys = auth::derive_gauss_keys(
      work.password.reveal(), work.salt, work.iterations,
      work.kind == Derivation::Kind::gauss_sm3 ? auth::GaussHash::sm3 : auth::GaussHash::sha256);
  return {Secret(std::move(keys.client_key)), keys.stored_key, keys.server_key};
}

BackendLogin::BackendLogin(Identity identity) : identity_(std::move(identity)) {}

void BackendLogin::start(std::string& out) {
  // Nothing but the names: whatever else a client wants is a setting of its session, made with
  // SET, so that RESET on this backend means the server's own default.
  out += wire::write_startup_message(
      {identity_.protocol, {{"user", identity_.user}, {"database", identity_.database}}});
}

BackendLogin::Need BackendLogin::on_bytes(std::string_view& in, std::string& out) {
  while (!finished()) {
    if (state_ == State::deriving) return Need::derivation;
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete) return Need::input;
    if (view.status == wire::FrameStatus::bad || view.total > message_limit) {
      if (state_ == State::startup && view.type == be::error_response) return on_plain_error(in);
      return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                  "the server does not speak the PostgreSQL protocol");
    }
    if (view.status == wire::FrameStatus::partial) return Need::input;
    const Need need = on_frame(wire::take_frame(in, view), out);
    if (need != Need::input) return need;
  }
  return Need::nothing;
}

BackendLogin::Need BackendLogin::on_frame(const wire::Frame& frame, std::string& out) {
  switch (frame.type) {
    case be::authentication:
      if (state_ == State::starting_up) break;
      return on_authentication(frame.body(), out);
    case be::error_response:
      return on_error(frame.body());
    case be::notice_response:
      if (notices_.size() < notice_limit) {
        notices_.push_back(printable(wire::read_error(frame.body()).message, 256));
      }
      return Need::input;
    case be::negotiate_protocol_version:
      dialect_ = Dialect::postgres;
      return Need::input;  // it goes on with what it knows
    case be::parameter_status:
      if (state_ != State::starting_up) break;
      if (const auto status = wire::read_parameter_status(frame.body())) {
        if (parameters_.size() >= parameter_limit) break;
        parameters_.emplace_back(status->name, status->value);
        return Need::input;
      }
      break;
    case be::backend_key_data:
      if (state_ != State::starting_up) break;
      if (auto key = wire::read_key_data(frame.body())) {
        key_ = std::move(*key);
        return Need::input;
      }
      break;
    case be::ready_for_query:
      if (state_ != State::starting_up) break;
      if (wire::read_ready_for_query(frame.body()) != wire::TxStatus::idle) break;
      return finish();
    default:
      break;
  }
  return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
              "the server sent an unexpected message during log-in");
}

BackendLogin::Need BackendLogin::on_authentication(std::string_view body, std::string& out) {
  wire::Cursor cursor(body);
  const std::uint32_t code = cursor.u32();
  const std::string_view payload = cursor.rest();
  if (!cursor.ok()) {
    return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                "the server sent a malformed authentication request");
  }
  state_ = State::authenticating;
  // A server asks once. One that asks again, perhaps for less, is not to be answered: each answer
  // counts as an attempt, and one in clear would give away what the one before has hidden.
  const bool goes_on =
      code == wire::auth_code::ok ||
      (scram_ && (code == wire::auth_code::sasl_continue || code == wire::auth_code::sasl_final));
  if (!goes_on && asked_) {
    return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                "the server asks for authentication twice");
  }
  asked_ = true;
  switch (code) {
    case wire::auth_code::ok:
      if (scram_ && !server_proven_) {
        return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                    "the server did not prove that it knows the password");
      }
      state_ = State::starting_up;
      return Need::input;
    case wire::auth_code::cleartext:
      return send_cleartext(out);
    case wire::auth_code::md5:
      if (payload.size() != 4) break;
      return send_md5(payload, out);
    case wire::auth_code::sasl:  // and gauss_sha256
      if (auth::is_gauss_payload(payload)) return on_gauss(payload, false, out);
      return on_sasl(payload, out);
    case wire::auth_code::sasl_continue:  // and gauss_md5_sha256
      if (scram_) return on_scram_challenge(payload, out);
      return on_md5_sha256();
    case wire::auth_code::sasl_final:
      if (!scram_ || !scram_answered_) break;
      if (const Status proven = scram_->on_server_final(payload); !proven) {
        return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                    proven.error().message);
      }
      server_proven_ = true;
      return Need::input;
    case wire::auth_code::gauss_sm3:
      return on_gauss(payload, true, out);
    default:
      return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
                  "the server asks for authentication method " + std::to_string(code) +
                      ", which dwspool does not have",
                  "Allow scram-sha-256, md5 or sha256 for this user on the server.");
  }
  return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
              "the server sent a malformed authentication request");
}

BackendLogin::Need BackendLogin::send_cleartext(std::string& out) {
  if (!identity_.credential.password) return nothing_fits("in clear");
  method_ = "password";
  proven_ = true;
  used_.password = identity_.credential.password;
  wire::append_password(out, identity_.credential.password->reveal() + '\0');
  return Need::input;
}

BackendLogin::Need BackendLogin::send_md5(std::string_view salt, std::string& out) {
  const std::optional<Secret>& password = identity_.credential.password;
  const auth::LoginKeys* const known = keys(auth::LoginKeys::Kind::md5);
  if (!password && known == nullptr) return nothing_fits("by md5");
  method_ = "md5";
  proven_ = true;
  used_.keys =
      password ? auth::login_keys(auth::md5_password(identity_.user, password->reveal())) : *known;
  wire::append_password(out, auth::md5_answer(used_.keys->secret.reveal(), salt) + '\0');
  return Need::input;
}

// Keys in the place of a password, of this kind.
const auth::LoginKeys* BackendLogin::keys(auth::LoginKeys::Kind kind) const {
  const std::optional<auth::LoginKeys>& keys = identity_.credential.keys;
  return !identity_.credential.password && keys && keys->kind == kind ? &*keys : nullptr;
}

// There is no password, and what stands in its place does not fit what the server asks.
BackendLogin::Need BackendLogin::nothing_fits(std::string_view wanted) {
  if (identity_.credential.keys) {
    return fail(Failure::unsupported, wire::sqlstate::invalid_authorization,
                "the server asks for the password of user \"" + identity_.user + "\" " +
                    std::string(wanted) + ", and what is known of it does not do for that",
                "Give the user a password in the configuration of dwspool, or let clients prove "
                "theirs by the method that the server asks for.");
  }
  return fail(Failure::unsupported, wire::sqlstate::invalid_authorization,
              "the server asks for the password of user \"" + identity_.user +
                  "\", and the configuration has none",
              "Give the user a password in the configuration of dwspool.");
}

BackendLogin::Need BackendLogin::on_sasl(std::string_view payload, std::string& out) {
  dialect_ = Dialect::postgres;
  if (!identity_.credential.password && keys(auth::LoginKeys::Kind::scram) == nullptr) {
    return nothing_fits("by SCRAM-SHA-256");
  }
  bool offered = false;
  bool bound = false;
  wire::Cursor cursor(payload);
  while (cursor.ok() && !cursor.rest().empty()) {
    const std::string_view mechanism = cursor.cstring();
    offered = offered || mechanism == auth::scram_mechanism;
    bound = bound || (mechanism == auth::scram_plus_mechanism && !identity_.end_point.empty());
  }
  if (!offered && !bound) {
    return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
                "the server offers no SASL mechanism that dwspool has (SCRAM-SHA-256)");
  }
  scram_.emplace(identity_.nonce, identity_.end_point, bound);
  method_ = bound ? "scram-sha-256-plus" : "scram-sha-256";
  const std::string first = scram_->first();
  std::string answer(bound ? auth::scram_plus_mechanism : auth::scram_mechanism);
  answer += '\0';
  wire::append_u32(answer, static_cast<std::uint32_t>(first.size()));
  wire::append_password(out, answer + first);
  return Need::input;
}

BackendLogin::Need BackendLogin::on_scram_challenge(std::string_view payload, std::string& out) {
  const Result<auth::ScramClient::Challenge> challenge =
      scram_->on_server_first(payload, identity_.max_iterations);
  if (!challenge || scram_answered_) {
    return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                challenge ? "the server repeats the SCRAM exchange" : challenge.error().message);
  }
  return derive_or_take(Derivation::Kind::scram, challenge->salt, challenge->iterations, out);
}

BackendLogin::Need BackendLogin::on_gauss(std::string_view payload, bool sm3, std::string& out) {
  dialect_ = Dialect::dws;
  const std::optional<Secret>& password = identity_.credential.password;
  if (identity_.credential.empty()) return nothing_fits({});
  // An answer made for another method than the one asked for would be a wrong password.
  wire::Cursor cursor(payload);
  const std::uint32_t method = cursor.u32();
  const bool known = sm3 ? method == gauss_method_sm3
                         : method == gauss_method_sha256 || method == gauss_method_md5;
  if (cursor.ok() && !known) {
    return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
                "the server stores this user's password with a method that is not supported (" +
                    std::to_string(method) + ")");
  }
  Result<auth::GaussChallenge> challenge = auth::read_gauss_challenge(payload);
  if (!challenge) {
    return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                challenge.error().message);
  }
  method_ = sm3 ? "gaussdb-sm3" : "gaussdb-sha256";
  gauss_ = std::move(*challenge);
  if (gauss_->salt_hex.empty()) {
    if (!password) return nothing_fits("as old servers do");
    used_.password = password;
    method_ = "gaussdb-md5";
    proven_ = true;
    wire::append_password(
        out, auth::gauss_legacy_answer(identity_.user, password->reveal(), gauss_->token) + '\0');
    return Need::input;
  }
  if (gauss_->iterations == 0) {
    return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
                "the server does not say how many iterations the password was hashed with",
                "Connect to a GaussDB server that speaks protocol 3.51.");
  }
  if (gauss_->iterations > identity_.max_iterations) {
    return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
                "the server asks for " + std::to_string(gauss_->iterations) +
                    " PBKDF2 iterations; at most " + std::to_string(identity_.max_iterations) +
                    " are allowed",
                "Raise max_pbkdf2_iterations of the cluster, if the server is to be trusted.");
  }
  return derive_or_take(sm3 ? Derivation::Kind::gauss_sm3 : Derivation::Kind::gauss_sha256,
                        gauss_->salt_hex, gauss_->iterations, out);
}

// Code 11 comes where the server's pg_hba.conf says md5 and the role's password is stored as
// SHA256 only; current servers accept no answer to it at all (doc/gaussdb-protocol.md).
BackendLogin::Need BackendLogin::on_md5_sha256() {
  dialect_ = Dialect::dws;
  return fail(Failure::unsupported, wire::sqlstate::feature_not_supported,
              "the server asks for md5 authentication of a user whose password it stores as SHA256",
              "Set the method sha256 for this user in the server's pg_hba.conf.");
}

// The keys that the challenge wants: from the password, which takes time, or as they are known.
BackendLogin::Need BackendLogin::derive_or_take(Derivation::Kind kind, std::string salt,
                                                std::uint32_t iterations, std::string& out) {
  const std::optional<Secret>& password = identity_.credential.password;
  if (password) {
    derivation_ = {kind, *password, std::move(salt), iterations};
    state_ = State::deriving;
    return Need::derivation;
  }
  const auth::LoginKeys* const known = keys(keys_of(kind));
  if (known == nullptr) return nothing_fits("by another method");
  // Made for another salt, the answer would be a wrong password, which counts.
  if (known->salt != salt || known->iterations != iterations) {
    return fail(Failure::credentials, wire::sqlstate::invalid_password,
                "the password of user \"" + identity_.user + "\" has changed on the server",
                "Log in anew with the new one.");
  }
  derivation_ = {kind, {}, std::move(salt), iterations};
  return on_derived({known->secret, known->stored_key, known->server_key}, out);
}

BackendLogin::Need BackendLogin::on_derived(const DerivedKeys& keys, std::string& out) {
  state_ = State::authenticating;
  if (gauss_) {
    const auth::GaussKeys gauss{keys.client_key.reveal(), keys.stored_key, keys.server_key};
    proven_ = true;
    wire::append_password(out, auth::gauss_answer(gauss, gauss_->token) + '\0');
  } else {
    const auth::ScramKeys scram{keys.client_key.reveal(), keys.stored_key, keys.server_key};
    proven_ = true;
    wire::append_password(out, scram_->final(scram));
    scram_answered_ = true;
  }
  used_.keys = auth::LoginKeys{keys_of(derivation_->kind), keys.client_key, derivation_->salt,
                               derivation_->iterations,    keys.stored_key, keys.server_key};
  derivation_.reset();
  return Need::input;
}

// Before the first ReadyForQuery every ErrorResponse is final, whatever its severity: GaussDB
// sends ERROR where PostgreSQL sends FATAL.
BackendLogin::Need BackendLogin::on_error(std::string_view body) {
  const wire::ErrorFields fields = wire::read_error(body);
  if (state_ == State::startup && identity_.protocol != wire::protocol_3_0 &&
      mentions_protocol(fields)) {
    return fail(Failure::old_protocol, fields.sqlstate, std::string(fields.message));
  }
  report_.detail = fields.detail;
  return fail(failure_of(fields.sqlstate),
              fields.sqlstate.empty() ? wire::sqlstate::connection_failure : fields.sqlstate,
              std::string(fields.message), std::string(fields.hint));
}

// A server that has no process left for the connection says so as in protocol 2: 'E', a text, a
// NUL. (Its text looks like a length that cannot be true.)
BackendLogin::Need BackendLogin::on_plain_error(std::string_view& in) {
  const std::string_view front = in.substr(0, plain_error_limit);
  const std::size_t end = front.find('\0');
  if (end == std::string_view::npos && in.size() < plain_error_limit) return Need::input;
  if (end == std::string_view::npos || end == 1) {
    return fail(Failure::protocol_error, wire::sqlstate::protocol_violation,
                "the server does not speak the PostgreSQL protocol");
  }
  in.remove_prefix(end + 1);
  return fail(Failure::unavailable, wire::sqlstate::connection_failure,
              std::string(trim(front.substr(1, end - 1))));
}

void BackendLogin::on_lost(std::string_view cause) {
  if (finished()) return;
  fail(Failure::unavailable, wire::sqlstate::connection_failure, std::string(cause));
}

BackendLogin::Need BackendLogin::fail(Failure failure, std::string_view sqlstate,
                                      std::string message, std::string hint) {
  state_ = State::failed;
  failure_ = failure;
  report_.severity = wire::Severity::error;
  report_.sqlstate = sqlstate;
  report_.message = std::move(message);
  report_.hint = std::move(hint);
  identity_.credential = {};
  used_ = {};
  derivation_.reset();
  return Need::nothing;
}

BackendLogin::Need BackendLogin::finish() {
  for (const auto& [name, value] : parameters_) {
    // PostgreSQL reports is_superuser instead.
    if (equals_ignore_case(name, "is_sysadmin")) dialect_ = Dialect::dws;
  }
  if (dialect_ == Dialect::unknown) dialect_ = Dialect::postgres;
  state_ = State::done;
  identity_.credential = {};
  return Need::nothing;
}

}  // namespace dwspool::login
