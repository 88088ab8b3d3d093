// A client from its first byte until its session begins.
#include <array>

#include "dwspool/base/text.h"

#include "dwspool/wire/proxy_header.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

constexpr std::size_t nonce_bytes = 24;

using Need = session::StartupFlow::Need;

void count(Worker& worker, metrics::Refusal refusal) {
  worker.metrics().refusals[static_cast<std::size_t>(refusal)].add();
}

wire::ErrorReport refused_by_shutdown(Worker& worker) {
  count(worker, metrics::Refusal::shutdown);
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::cannot_connect_now;
  report.message = "dwspool is shutting down";
  return report;
}

}  // namespace

// False when the connection is gone.
bool FrontConn::process_proxy_header(std::string_view& in) {
  const wire::ProxyHeader header = wire::parse_proxy_header(in);
  if (header.status == wire::ProxyHeader::Status::incomplete) return true;
  if (header.status == wire::ProxyHeader::Status::bad) {
    count(worker_, metrics::Refusal::protocol_violation);
    worker_.hub().log.write_limited(
        LogLevel::warning, "client.proxy_header",
        "an address of proxy_protocol did not begin with a header of the PROXY protocol",
        {{"client", peer_.text()}});
    destroy();  // whoever it is would not understand an answer
    return false;
  }
  by_proxy_ = false;
  in.remove_prefix(header.size);
  if (!header.source.empty()) peer_ = net::Address::of_bytes(header.source, header.source_port);
  return true;
}

bool FrontConn::process_startup(std::string_view& in) {
  if (by_proxy_) {
    if (!process_proxy_header(in)) return false;
    if (by_proxy_ || in.empty()) return true;
  }
  while (true) {
    if (introduction_ && introduction_->under_way) return true;
    const std::size_t before = in.size();
    const Need need = startup_->on_bytes(in, worker_.output());
    if (!follow(need, in)) return false;
    // The next message may have come in the same segment.
    const bool goes_on = need == Need::input || need == Need::user;
    if (!goes_on || !startup_ || lingering_ || in.empty() || in.size() == before) return true;
  }
}

// Does what the start-up asks for. False when the caller must not use the connection any more.
bool FrontConn::follow(Need need, std::string_view& in) {
  if (need == Need::user) {
    if (!check_login()) {
      if (!flush()) return false;
      return finish();
    }
    // check_login has asked for the proof, or needs none.
    need =
        startup_->state() == session::StartupFlow::State::accepted ? Need::accepted : Need::input;
  }
  switch (need) {
    case Need::input:
    case Need::user:
      return flush();
    case Need::tls:
      if (!flush()) return false;
      return start_tls({});
    case Need::direct_tls: {
      const std::string_view hello = in;
      in = {};
      return start_tls(hello);
    }
    case Need::check:
      worker_.check_password_in_background(id_, startup_->password_check());
      return true;
    case Need::cancel:
      (startup_->cancel_request().by_peer ? worker_.metrics().peer_cancels_received
                                          : worker_.metrics().cancels_received)
          .add();
      lingering_ = true;  // nothing more is said on this connection
      socket_.watch(true, false);
      worker_.forward_cancel(startup_->cancel_request(), id_);
      return false;
    case Need::close:
      return refuse_login();
    case Need::accepted:
      if (!proven_) keep_proof(startup_->credential());
      introduction_.reset();
      if (!start_session()) return false;
      return process(in);
  }
  return true;
}

// The reason is in the output, and goes out: at once, or after a while when the password was wrong.
bool FrontConn::refuse_login() {
  const bool password = startup_->password_refused();
  count(worker_, password ? metrics::Refusal::password : metrics::Refusal::protocol_violation);
  worker_.hub().log.write_limited(
      LogLevel::info, password ? "client.login_refused" : "client.protocol_violation",
      password ? "a client could not prove its password" : "a client was refused before its log-in",
      {{"client", peer_.text()}, {"user", printable(startup_->user())}});
  if (!password) {
    if (!flush()) return false;
    return finish();
  }
  const Duration delay = worker_.hub().failures.on_failure(
      peer_.is_unix() ? std::string() : peer_.host(), worker_.now());
  delayed_ = worker_.output().to_client.flatten();
  worker_.output().clear();
  socket_.watch(false, false);
  worker_.add_refusal_deadline(id_, worker_.now() + delay);
  note_wrong_password();
  return false;
}

void FrontConn::on_refusal_due() {
  if (lingering_) return;  // it has been told something else meanwhile
  worker_.output().to_client.copy(delayed_);
  if (flush()) static_cast<void>(finish());
}

// `received`: what has come of the handshake already. False when the connection is gone.
bool FrontConn::start_tls(std::string_view received) {
  if (!out_.empty()) {  // the 'S' is not out, and nothing may be said in front of it
    destroy();
    return false;
  }
  socket_.start_tls(worker_.hub().tls.engine_to_client(!received.empty()), received);
  return true;
}

void FrontConn::note_tls_failure(const net::IoResult& result) {
  const bool failed = result.status == net::IoResult::Status::failed;
  if (!failed && !socket_.shaking_hands()) return;
  count(worker_, metrics::Refusal::tls);
  worker_.hub().log.write_limited(
      LogLevel::info, "client.tls_failed", "a client could not agree with dwspool on TLS",
      {{"client", peer_.text()},
       {"reason", failed ? printable(socket_.failure_text(result), 256)
                         : std::string("the client closed the connection")}});
}

// Whether this connection may go on as it is; the reason is in the output if not. Cancel requests
// are let through: libpq sends them in clear.
bool FrontConn::may_come_in_clear() {
  const TlsMode mode = worker_.config().client_tls.mode;
  if (peer_.is_unix() || socket_.tls() != nullptr || mode < TlsMode::require) return true;
  count(worker_, metrics::Refusal::tls);
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::invalid_authorization;
  report.message = "TLS is required";
  report.hint = "Connect with sslmode=require, or better with verify-full.";
  static_cast<void>(startup_->refuse(std::move(report), worker_.output()));
  return false;
}

// Who the client says it is, and how it is to prove that. False when it is refused at once; the
// reason is in the output.
bool FrontConn::check_login() {
  Hub& hub = worker_.hub();
  const config::Config& config = worker_.config();
  user_ = startup_->user();
  wire::ErrorReport report;
  if (hub.draining.load(std::memory_order_relaxed)) {
    static_cast<void>(startup_->refuse(refused_by_shutdown(worker_), worker_.output()));
    return false;
  }
  // Administrators come in even when it is full.
  const bool console = config::is_console(startup_->database()) && config.console.is_admin(user_);
  if (!console && hub.clients.fetch_add(1, std::memory_order_relaxed) >= config.max_client_conn) {
    hub.clients.fetch_sub(1, std::memory_order_relaxed);
    count(worker_, metrics::Refusal::too_many_clients);
    hub.log.write_limited(LogLevel::warning, "client.too_many",
                          "a client was refused: max_client_conn is reached",
                          {{"client", peer_.text()},
                           {"max_client_conn", static_cast<std::int64_t>(config.max_client_conn)}});
    report.sqlstate = wire::sqlstate::too_many_connections;
    report.message = "sorry, too many clients already";
    report.hint = "dwspool accepts max_client_conn clients; raise it, or close what is not used.";
    static_cast<void>(startup_->refuse(std::move(report), worker_.output()));
    return false;
  }
  counted_ = !console;
  if (!may_come_in_clear()) return false;
  if (!peer_.is_unix() && hub.failures.is_blocked(peer_.host(), worker_.now())) {
    count(worker_, metrics::Refusal::password);
    report.sqlstate = wire::sqlstate::invalid_authorization;
    report.message = "too many failed log-ins from " + peer_.host();
    report.hint = "Correct the password, and try again in a minute.";
    static_cast<void>(startup_->refuse(std::move(report), worker_.output()));
    return false;
  }
  auto admitted = admission();
  if (auto* const refused = std::get_if<wire::ErrorReport>(&admitted)) {
    count(worker_, metrics::Refusal::access);
    hub.log.write_limited(LogLevel::info, "client.access_refused",
                          "the access rules, or a method without a password, keep a client out",
                          {{"client", peer_.text()},
                           {"user", printable(user_)},
                           {"database", printable(startup_->database())},
                           {"tls", socket_.tls_text()}});
    static_cast<void>(startup_->refuse(std::move(*refused), worker_.output()));
    return false;
  }
  method_ = std::get<auth::ClientMethod>(admitted);
  introduction_ = introduction();
  if (introduction_ && !introduction_->known && !introduction_->passes_through) return look_up();
  return ask_proof();
}

// False when the client is refused at once.
bool FrontConn::ask_proof() {
  const Hub& hub = worker_.hub();
  const config::User* const user = worker_.config().find_user(user_);
  auth::ClientAuth::Request request;
  request.method = method_;
  request.user = user_;
  if (introduction_ && introduction_->known) {
    request.secret = introduction_->known->secret;
  } else if (user != nullptr) {
    request.secret = user->secret;
  }
  if (socket_.tls() != nullptr) request.end_point = socket_.tls()->server_end_point();
  request.random = auth::random_bytes(nonce_bytes);
  request.mock_secret = hub.mock_secret;
  const Need need = startup_->authenticate(std::move(request), worker_.output());
  return need == Need::input || need == Need::accepted;
}

// The limits of the database and of the user. False when one is reached: `report` says which.
// `beyond`: whoever is in already may stay in.
bool FrontConn::count_client(const std::string& database, wire::ErrorReport& report, bool beyond) {
  const config::Config& config = worker_.config();
  const config::Database* const entry = config.find_database(database);
  const config::User* const user = config.find_user(user_);
  const auto enter = [&](std::string_view kind, const std::string& name, std::uint32_t limit) {
    std::string key = std::string(kind) + '\0' + name;
    const std::uint32_t most = beyond && limit > 0 ? UINT32_MAX : limit;
    if (!worker_.hub().client_counts.enter(key, most)) {
      report.sqlstate = wire::sqlstate::too_many_connections;
      report.message = "too many clients of " + std::string(kind) + " \"" + printable(name) + "\"";
      report.hint = "dwspool accepts max_clients of it, " + std::to_string(limit) +
                    "; raise it, or close what is not used.";
      return false;
    }
    if (limit > 0) counted_as_.push_back(std::move(key));
    return true;
  };
  return enter("database", database, entry != nullptr ? entry->max_clients : 0) &&
         enter("user", user_, user != nullptr ? user->max_clients : 0);
}

// The client has proven who it is. False when the connection must not be used by the caller any
// more.
bool FrontConn::start_session() {
  const std::string database = startup_->database();
  if (config::is_console(database)) return start_console();
  wire::ErrorReport report;
  const bool draining = worker_.hub().draining.load(std::memory_order_relaxed);
  const bool disabled = worker_.gates().disabled.contains(database);
  if (!draining && !disabled) pool_ = find_own_pool(database);
  if (draining) {
    report = refused_by_shutdown(worker_);
  } else if (disabled) {
    report.sqlstate = wire::sqlstate::cannot_connect_now;
    report.message = "database \"" + printable(database) + "\" is disabled";
    report.hint = "An administrator has closed it for new clients (DISABLE); ENABLE opens it.";
  } else if (pool_ == nullptr) {
    count(worker_, metrics::Refusal::unknown_database);
    report.sqlstate = wire::sqlstate::invalid_catalog_name;
    report.message = "database \"" + printable(database) + "\" does not exist";
    report.hint =
        "The configuration of dwspool has no database of that name, and none named \"*\".";
  } else if (!startup_->settings().error.empty()) {
    report.sqlstate = wire::sqlstate::invalid_parameter_value;
    report.message = startup_->settings().error;
  }
  if (pool_ != nullptr && report.message.empty() && !count_client(database, report)) {
    count(worker_, metrics::Refusal::too_many_clients);
    worker_.hub().log.write_limited(
        LogLevel::warning, "client.too_many", report.message,
        {{"client", peer_.text()}, {"user", printable(user_)}, {"database", printable(database)}});
  }
  if (pool_ == nullptr || !report.message.empty()) {
    return end_by(std::move(report));
  }
  ++pool_->clients;
  // The pid that the client is told is that of the backend it is going to have, if one is free.
  last_backend_ = pool_->pool.first_idle();
  const BackConn* next_backend = worker_.find_backend(last_backend_);
  key_ = worker_.hub().cancels.add({worker_.index(), id_},
                                   next_backend != nullptr ? next_backend->core().key.pid : 0);
  sessions_ = pool_->sessions;
  session_ = std::make_unique<session::ReplayedSession>(
      sessions_->context, &sessions_->replay, worker_.next_session_number(),
      worker_.settings().intern(startup_->settings().settings), key_);
  startup_.reset();
  worker_.metrics().logins_succeeded.add();
  pool_->metrics->logins.add();
  worker_.metrics().login_seconds.observe(worker_.now() - accepted_at_);
  log_arrival(database);
  std::string_view nothing;
  const session::Next next = session_->start(worker_.output());
  return run(next, nothing);
}

// The first backend is there, and the client has not been told its key yet.
void FrontConn::adopt_pid() {
  if (session_->state() != session::SessionState::starting) return;
  worker_.hub().cancels.remove(key_);
  key_ = worker_.hub().cancels.add({worker_.index(), id_}, backend_->core().key.pid);
  session_->set_key(key_);
}

void FrontConn::on_login_timeout() {
  if (logged_in() || lingering_) return;
  if (worker_.hub().draining.load(std::memory_order_relaxed)) {
    // Who has not said a word does not wait for one.
    if (startup_->state() == session::StartupFlow::State::first_packet) {
      destroy();
      return;
    }
    static_cast<void>(startup_->refuse(refused_by_shutdown(worker_), worker_.output()));
    if (flush()) static_cast<void>(finish());
    return;
  }
  count(worker_, metrics::Refusal::login_timeout);
  worker_.hub().log.write_limited(LogLevel::info, "client.login_timeout",
                                  "a client took too long to log in", {{"client", peer_.text()}});
  destroy();
}

void FrontConn::on_cancel_done() {
  destroy();
}

}  // namespace dwspool::proxy
