// How a client is to prove who it is: the access rules, or what its user's entry says.
#include <array>

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

using auth::AccessMethod;
using auth::ClientMethod;

// Who the operating system says is at the other end of a Unix socket. Empty when it does not know.
// Reads the list of users, as PostgreSQL does.
std::string peer_name(int fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (::getpwuid_r(credentials.uid, &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return {};
  }
  return found->pw_name;
}

wire::ErrorReport refusal(std::string message, std::string hint = {}) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::invalid_authorization;
  report.message = std::move(message);
  report.hint = std::move(hint);
  return report;
}

}  // namespace

std::variant<ClientMethod, wire::ErrorReport> FrontConn::admission() const {
  const config::Config& config = worker_.config();
  const config::User* const user = config.find_user(user_);
  const bool encrypted = socket_.tls() != nullptr;
  AccessMethod method = user != nullptr && user->auth ? *user->auth : config.auth_method;
  bool needs_certificate = false;
  bool names_user = config.client_tls.mode == TlsMode::verify_full && !peer_.is_unix();
  if (config.has_access_rules) {
    const std::string database = startup_->database();
    const auth::AccessRule* const rule =
        auth::first_match(config.access, {peer_.bytes(), encrypted}, database, user_);
    if (rule == nullptr || rule->method == AccessMethod::reject) {
      return refusal("no access rule lets user \"" + printable(user_) + "\" into database \"" +
                         printable(database) + "\" from " +
                         (peer_.is_unix() ? std::string("a Unix socket") : peer_.host()) +
                         (encrypted ? ", by TLS" : ", without TLS"),
                     "The configuration of dwspool says who may come in how.");
    }
    if (rule->method != AccessMethod::automatic) method = rule->method;
    needs_certificate = rule->needs_certificate;
    names_user = names_user || rule->names_user;
  }
  const std::optional<tls::PeerNames> names =
      encrypted ? socket_.tls()->peer_names() : std::nullopt;
  if (needs_certificate && !names) return session::password_failed_report(user_);
  if (names_user && !(names && names->include(user_))) {
    return session::password_failed_report(user_);
  }
  switch (method) {
    case AccessMethod::scram_sha_256:
      return ClientMethod::scram_sha_256;
    case AccessMethod::md5:
      return ClientMethod::md5;
    case AccessMethod::password:
      if (encrypted || peer_.is_unix() || config.cleartext_passwords) return ClientMethod::password;
      return refusal("a password in clear is taken by TLS only",
                     "Connect with sslmode=require, or better with verify-full.");
    case AccessMethod::trust:
      if (user != nullptr) return ClientMethod::trust;
      break;
    case AccessMethod::cert:
      if (user != nullptr && names && names->include(user_)) return ClientMethod::trust;
      break;
    case AccessMethod::peer:
      if (user != nullptr && peer_.is_unix() && peer_name(socket_.fd()) == user_) {
        return ClientMethod::trust;
      }
      break;
    case AccessMethod::automatic:
    case AccessMethod::reject:
      break;
  }
  return session::password_failed_report(user_);
}

}  // namespace dwspool::proxy
