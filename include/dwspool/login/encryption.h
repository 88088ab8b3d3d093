// Whether a connection to a server gets TLS: what libpq's sslmode means, as a machine.
//
//   attempt:  in clear ─► log-in
//             ask ─► 'S' ─► handshake ─► log-in,  'N' ─► log-in in clear, or the end
//
// With `allow` and `prefer` there is a second attempt the other way, where libpq has one, too: when
// there is no agreement on TLS, or when the server refuses a connection of the one kind before it
// has asked for a password. A password that was refused is never sent again by itself, which
// libpq does: it counts twice towards the lock of an account.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dwspool/base/tls_mode.h"

namespace dwspool::login {

class Encryption {
 public:
  explicit Encryption(TlsMode mode) : mode_(mode), asks_(mode >= TlsMode::prefer) {}

  // Whether this attempt begins with a request for TLS.
  bool asks() const { return asks_; }
  // Appends the request.
  static void request(std::string& out);

  enum class Answer : std::uint8_t {
    incomplete,
    start_tls,
    in_clear,  // on this connection
    again,     // on another one; see asks()
    refused,   // see reason()
  };
  // What came behind the request, taken off the front of `in`. Nothing but the one byte may have
  // come: the rest would be from somebody in between (CVE-2021-23222).
  Answer on_answer(std::string_view& in);

  // The handshake has failed, or the connection was lost within it. True: to be tried again in
  // clear.
  bool on_handshake_failed();
  // The server refuses with an error. True: to be tried again the other way. `proven`: it has got
  // a password, or the proof of one, on this connection.
  bool on_login_refused(std::string_view sqlstate, bool proven);

  std::string_view reason() const { return reason_; }

 private:
  bool try_other_way();

  TlsMode mode_;
  bool asks_;
  bool second_ = false;
  std::string_view reason_;
};

}  // namespace dwspool::login
