#include "dwspool/session/startup_flow.h"

#include <vector>

#include "dwspool/base/text.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

namespace dwspool::session {
namespace {

constexpr std::size_t max_name_size = 63;  // as in the server, which cuts longer names
// What a TLS handshake begins with. As the first byte of a length it would be too much.
constexpr char tls_handshake = 0x16;

}  // namespace
wire::ErrorReport password_failed_report(std::string_view user) {
  wire::ErrorReport report;
  report.severity = wire::Severity::fatal;
  report.sqlstate = wire::sqlstate::invalid_password;
  report.message = "password authentication failed for user \"" + printable(user) + "\"";
  return report;
}

std::string StartupFlow::user() const {
  return std::string(startup_.find("user").substr(0, max_name_size));
}

std::string StartupFlow::database() const {
  const std::string_view given = startup_.find("database");
  return given.empty() ? user() : std::string(given.substr(0, max_name_size));
}

StartupFlow::Need StartupFlow::on_bytes(std::string_view& in, Output& out) {
  switch (state_) {
    case State::first_packet:
      return on_first_packet(in, out);
    case State::authenticating:
      return on_password(in, out);
    case State::checking:
      return Need::user;
    case State::comparing:
      // Who is not in yet has nothing to say.
      return in.size() > wire::max_startup_length ? violation("too much before the log-in", out)
                                                  : Need::input;
    case State::accepted:
      return Need::accepted;
    case State::refused:
      break;
  }
  in = {};
  return Need::close;
}

StartupFlow::Need StartupFlow::on_first_packet(std::string_view& in, Output& out) {
  while (true) {
    if (offers_tls_ && !asked_ssl_ && !in.empty() && in.front() == tls_handshake) {
      asked_ssl_ = true;
      return Need::direct_tls;
    }
    wire::StartupPacket packet = wire::read_startup_packet(in, wire::max_startup_length);
    if (std::holds_alternative<wire::NeedMore>(packet)) return Need::input;
    if (const auto* bad = std::get_if<wire::BadStartup>(&packet)) {
      return violation(bad->reason, out);
    }
    if (std::holds_alternative<wire::SslRequest>(packet) ||
        std::holds_alternative<wire::GssEncRequest>(packet)) {
      const bool ssl = std::holds_alternative<wire::SslRequest>(packet);
      bool& asked = ssl ? asked_ssl_ : asked_gss_;
      if (asked) return violation("encryption was requested twice", out);
      asked = true;
      // Whatever was sent together with the request came before the answer: refuse it, so that
      // nobody can smuggle bytes in front of an encrypted session (CVE-2021-3935).
      if (!in.empty()) {
        return violation("received unencrypted data after an encryption request", out);
      }
      const bool granted = ssl && offers_tls_;
      out.to_client.copy(granted ? "S" : "N");
      return granted ? Need::tls : Need::input;
    }
    if (auto* cancel = std::get_if<wire::CancelRequest>(&packet)) {
      cancel_ = std::move(*cancel);
      state_ = State::refused;
      return Need::cancel;
    }
    return on_startup(std::get<wire::StartupMessage>(std::move(packet)), out);
  }
}

StartupFlow::Need StartupFlow::on_startup(wire::StartupMessage message, Output& out) {
  startup_ = std::move(message);
  std::vector<std::string> unknown_options;
  for (const auto& [name, value] : startup_.parameters) {
    if (name.starts_with("_pq_.")) unknown_options.push_back(name);
  }
  if (startup_.version != wire::protocol_3_0 || !unknown_options.empty()) {
    std::string bytes;
    wire::append_negotiate_protocol_version(bytes, wire::protocol_3_0, unknown_options);
    out.to_client.copy(bytes);
  }
  wire::ErrorReport report;
  report.severity = wire::Severity::fatal;
  const std::string_view user_name = startup_.find("user");
  if (user_name.empty()) {
    report.sqlstate = wire::sqlstate::invalid_authorization;
    report.message = "no PostgreSQL user name specified in startup packet";
    return refuse(std::move(report), out);
  }
  const std::string_view replication = startup_.find("replication");
  if (!replication.empty() && replication != "false" && replication != "off" &&
      replication != "0" && replication != "no") {
    report.sqlstate = wire::sqlstate::feature_not_supported;
    report.message = "dwspool does not pass replication connections on";
    report.hint = "Connect to the database server itself for replication.";
    return refuse(std::move(report), out);
  }
  settings_ = settings_of(startup_);
  state_ = State::checking;
  return Need::user;
}

StartupFlow::Need StartupFlow::authenticate(auth::ClientAuth::Request request, Output& out) {
  state_ = State::authenticating;
  auth_.emplace(std::move(request));
  return take(auth_->start(), out);
}

StartupFlow::Need StartupFlow::on_checked(const auth::PasswordVerdict& verdict, Output& out) {
  if (state_ != State::comparing) return Need::input;
  return take(auth_->on_checked(verdict), out);
}

StartupFlow::Need StartupFlow::on_password(std::string_view& in, Output& out) {
  const wire::FrameView view = wire::peek_frame(in);
  if (view.status == wire::FrameStatus::incomplete) return Need::input;
  if (view.type != wire::frontend::password) {
    return violation("expected password response, got message type " +
                         std::to_string(static_cast<unsigned char>(view.type)),
                     out);
  }
  if (view.status == wire::FrameStatus::bad || view.total > wire::max_startup_length) {
    return violation("invalid password packet size", out);
  }
  if (view.status == wire::FrameStatus::partial) return Need::input;
  return take(auth_->on_answer(wire::take_frame(in, view).body()), out);
}

StartupFlow::Need StartupFlow::take(const auth::ClientAuth::Step& step, Output& out) {
  out.to_client.copy(step.send);
  switch (step.verdict) {
    case auth::ClientAuth::Verdict::need_answer:
      return Need::input;
    case auth::ClientAuth::Verdict::need_check:
      state_ = State::comparing;
      return Need::check;
    case auth::ClientAuth::Verdict::accepted:
      state_ = State::accepted;
      credential_ = auth_->credential();
      auth_.reset();
      return Need::accepted;
    case auth::ClientAuth::Verdict::refused:
      password_refused_ = true;
      return refuse(password_failed_report(user()), out);
    case auth::ClientAuth::Verdict::malformed:
      break;
  }
  return violation("malformed answer to the authentication request", out);
}

StartupFlow::Need StartupFlow::refuse(wire::ErrorReport report, Output& out) {
  report.severity = wire::Severity::fatal;
  out.note_error(report.sqlstate);
  out.to_client.copy(wire::encode(report));
  state_ = State::refused;
  auth_.reset();
  return Need::close;
}

StartupFlow::Need StartupFlow::violation(std::string_view what, Output& out) {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::protocol_violation;
  report.message = what;
  return refuse(std::move(report), out);
}

}  // namespace dwspool::session
