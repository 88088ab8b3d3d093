#include "dwspool/auth/client_auth.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/messages.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/md5.h"

namespace dwspool::auth {
namespace {

constexpr std::size_t md5_salt_size = 4;
constexpr std::size_t nonce_size = 18;

}  // namespace

ClientAuth::ClientAuth(Request request) : request_(std::move(request)) {
  // As in PostgreSQL: a method of md5 serves users with a SCRAM verifier by SCRAM.
  if (request_.method == ClientMethod::md5 && request_.secret.kind == UserSecret::Kind::scram) {
    request_.method = ClientMethod::scram_sha_256;
  }
}

ClientAuth::Step ClientAuth::start() {
  std::string bytes;
  switch (request_.method) {
    case ClientMethod::trust:
      return accept();
    case ClientMethod::password:
      stage_ = Stage::password;
      wire::append_authentication(bytes, wire::auth_code::cleartext);
      break;
    case ClientMethod::md5:
      stage_ = Stage::md5_answer;
      md5_salt_ = request_.random.substr(0, md5_salt_size);
      wire::append_authentication(bytes, wire::auth_code::md5, md5_salt_);
      break;
    case ClientMethod::scram_sha_256: {
      stage_ = Stage::sasl_initial;
      const std::optional<ScramVerifier>& known = request_.secret.scram;
      may_succeed_ = known.has_value();
      scram_.emplace(known ? *known : mock_scram_verifier(request_.user, request_.mock_secret),
                     make_scram_nonce(request_.random.substr(0, nonce_size)), request_.end_point);
      std::string mechanisms;
      if (!request_.end_point.empty()) mechanisms.append(scram_plus_mechanism).push_back('\0');
      mechanisms.append(scram_mechanism).append(2, '\0');
      wire::append_authentication(bytes, wire::auth_code::sasl, mechanisms);
      break;
    }
  }
  return {Verdict::need_answer, std::move(bytes)};
}

ClientAuth::Step ClientAuth::on_answer(std::string_view body) {
  switch (stage_) {
    case Stage::password:
      return on_password(body);
    case Stage::md5_answer:
      return on_md5(body);
    case Stage::sasl_initial:
      return on_sasl_initial(body);
    case Stage::sasl_final:
      return on_sasl_final(body);
    case Stage::checking:
    case Stage::done:
      break;
  }
  return malformed();
}

ClientAuth::Step ClientAuth::on_password(std::string_view body) {
  wire::Cursor cursor(body);
  given_ = Secret(cursor.cstring());
  if (!cursor.finished_cleanly()) return malformed();
  stage_ = Stage::checking;
  return {Verdict::need_check, {}};
}

PasswordCheck ClientAuth::check() const {
  return {request_.user, request_.secret, mock_scram_verifier(request_.user, request_.mock_secret),
          given_};
}

ClientAuth::Step ClientAuth::on_checked(const PasswordVerdict& verdict) {
  if (stage_ != Stage::checking) return malformed();
  if (!verdict.right) return refuse();
  credential_ = verdict.credential;
  return accept();
}

ClientAuth::Step ClientAuth::on_md5(std::string_view body) {
  wire::Cursor cursor(body);
  const std::string_view answer = cursor.cstring();
  if (!cursor.finished_cleanly()) return malformed();
  std::string stored;
  switch (request_.secret.kind) {
    case UserSecret::Kind::plain:
      stored = md5_password(request_.user, request_.secret.plain.reveal());
      may_succeed_ = true;
      break;
    case UserSecret::Kind::md5:
      stored = request_.secret.md5;
      may_succeed_ = true;
      break;
    case UserSecret::Kind::none:
    case UserSecret::Kind::scram:
    case UserSecret::Kind::gauss:
      stored = md5_password(request_.user, request_.mock_secret);
      break;
  }
  const bool right = equal_in_constant_time(answer, md5_answer(stored, md5_salt_));
  if (!right || !may_succeed_) return refuse();
  if (request_.secret.kind == UserSecret::Kind::md5) {
    credential_.keys = login_keys(request_.secret.md5);
  }
  return accept();
}

ClientAuth::Step ClientAuth::on_sasl_initial(std::string_view body) {
  wire::Cursor cursor(body);
  const std::string_view mechanism = cursor.cstring();
  const std::uint32_t length = cursor.u32();
  const std::string_view message = cursor.bytes(length);
  const bool plus = mechanism == scram_plus_mechanism && !request_.end_point.empty();
  if (!cursor.finished_cleanly() || (mechanism != scram_mechanism && !plus)) return malformed();
  if (plus) scram_->bind();
  Result<std::string> answer = scram_->on_client_first(message);
  if (!answer) return malformed();
  stage_ = Stage::sasl_final;
  std::string bytes;
  wire::append_authentication(bytes, wire::auth_code::sasl_continue, *answer);
  return {Verdict::need_answer, std::move(bytes)};
}

ClientAuth::Step ClientAuth::on_sasl_final(std::string_view body) {
  const Result<ScramServer::Final> result = scram_->on_client_final(body);
  if (!result) return malformed();
  if (!result->proven || !may_succeed_) return refuse();
  if (request_.secret.kind == UserSecret::Kind::scram) {
    credential_.keys = login_keys(*request_.secret.scram, result->client_key);
  }
  std::string bytes;
  wire::append_authentication(bytes, wire::auth_code::sasl_final, result->message);
  return accept(std::move(bytes));
}

ClientAuth::Step ClientAuth::accept(std::string before) {
  stage_ = Stage::done;
  wire::append_authentication(before, wire::auth_code::ok);
  return {Verdict::accepted, std::move(before)};
}

ClientAuth::Step ClientAuth::refuse() {
  stage_ = Stage::done;
  return {Verdict::refused, {}};
}

ClientAuth::Step ClientAuth::malformed() {
  stage_ = Stage::done;
  return {Verdict::malformed, {}};
}

}  // namespace dwspool::auth
