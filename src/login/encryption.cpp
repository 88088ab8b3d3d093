#include "dwspool/login/encryption.h"

#include "dwspool/wire/startup.h"

namespace dwspool::login {

void Encryption::request(std::string& out) {
  out += wire::write_ssl_request();
}

Encryption::Answer Encryption::on_answer(std::string_view& in) {
  if (in.empty()) return Answer::incomplete;
  const char answer = in.front();
  const bool surplus = in.size() > 1;
  in = {};
  if (surplus && (answer == 'S' || answer == 'N')) {
    reason_ = "the server sent bytes in clear behind its answer to the request for TLS";
    return Answer::refused;
  }
  switch (answer) {
    case 'S':
      return Answer::start_tls;
    case 'N':
      if (mode_ == TlsMode::prefer) {
        asks_ = false;
        second_ = true;
        return Answer::in_clear;
      }
      reason_ = "the server does not support TLS, which the configuration requires";
      return Answer::refused;
    case 'E':
      // Its text has come from anywhere (CVE-2024-10977): not even read.
      reason_ = "the server answered the request for TLS with an error";
      return try_other_way() ? Answer::again : Answer::refused;
    default:
      reason_ = "the server answered the request for TLS with something else";
      return Answer::refused;
  }
}

bool Encryption::on_handshake_failed() {
  return mode_ == TlsMode::prefer && try_other_way();
}

bool Encryption::on_login_refused(std::string_view sqlstate, bool proven) {
  // What pg_hba.conf says about connections of this kind; other errors do not depend on it. DWS
  // has 57P03 where TLS is required.
  const bool by_kind = sqlstate == "28000" || (sqlstate == "57P03" && !asks_);
  return by_kind && !proven && try_other_way();
}

bool Encryption::try_other_way() {
  const bool two_ways = mode_ == TlsMode::allow || mode_ == TlsMode::prefer;
  if (!two_ways || second_) return false;
  second_ = true;
  asks_ = !asks_;
  return true;
}

}  // namespace dwspool::login
