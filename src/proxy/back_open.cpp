// Opening a backend: the lock-out guard is asked, the coordinators are tried in turn, and the
// log-in machine is fed.
#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

constexpr std::size_t nonce_bytes = 18;
// While another attempt proves the password: when to ask the guard again.
constexpr Duration guard_pause = std::chrono::milliseconds{20};
// Between rounds over coordinators of which none could be had.
constexpr Duration round_pause = std::chrono::milliseconds{100};
// After a refusal that will last: so often, a new client may find out that it does not any more.
constexpr Duration refused_pause = std::chrono::seconds{1};

metrics::OpenFailure failure_label(login::Failure failure) {
  switch (failure) {
    case login::Failure::credentials:
      return metrics::OpenFailure::credentials;
    case login::Failure::refused:
      return metrics::OpenFailure::refused;
    case login::Failure::unavailable:
      return metrics::OpenFailure::unavailable;
    case login::Failure::old_protocol:
    case login::Failure::unsupported:
    case login::Failure::protocol_error:
      break;
  }
  return metrics::OpenFailure::protocol;
}

}  // namespace

BackConn::BackConn(Worker& worker, BackendId id, PoolContext& pool, pool::Slot slot)
    : worker_(worker),
      id_(id),
      pool_(pool),
      slot_(slot),
      opening_since_(worker.now()),
      opening_(std::make_unique<Opening>()) {}

BackConn::BackConn(Worker& worker, BackendId id, PoolContext& pool, BackendTransfer transfer)
    : worker_(worker),
      id_(id),
      pool_(pool),
      state_(State::ready),
      core_(std::move(transfer.core)),
      in_(std::move(transfer.in)),
      opened_at_(transfer.opened_at),
      coordinator_(transfer.coordinator) {
  core_.reported = worker.reported().intern(session::ReportedSet(*core_.reported));
  core_.applied = worker.settings().intern(session::SettingSet(*core_.applied));
  core_.statements.move_to(worker.statements());
  coordinator_metrics_ =
      worker.hub().metrics.coordinator(worker.index(), pool.route.cluster->name,
                                       pool.route.cluster->coordinators[coordinator_].label());
  coordinator_metrics_->connections.add(1);
  counted_open_ = true;
  socket_ = std::make_unique<net::Socket>(worker.loop(), std::move(transfer.fd), *this,
                                          std::move(transfer.tls));
  socket_->watch(true, false);
}

BackConn::~BackConn() {
  if (counted_open_) {
    coordinator_metrics_->connections.add(-1);
    worker_.metrics().backends_closed.add();
  }
}

void BackConn::open() {
  opening_->order = worker_.rotation(pool_.route.cluster_index).order(worker_.now());
  ask_guard();
}

void BackConn::ask_guard() {
  const Credentials::Answer answer =
      worker_.hub().credentials.ask(pool_.route.account, worker_.now());
  switch (answer.answer) {
    case login::LoginGuard::Answer::go:
      opening_->attempt = answer.attempt;
      next_coordinator();
      return;
    case login::LoginGuard::Answer::wait: {
      // As if nobody could be reached for a moment; nobody hears of it.
      Worker& worker = worker_;
      pool_.pool.on_open_failed(slot_, worker.now() + guard_pause, worker.now());
      worker.touch(pool_);
      worker.remove_backend(id_);
      return;
    }
    case login::LoginGuard::Answer::held:
      break;
  }
  wire::ErrorReport report = answer.report;
  report.hint =
      "The coordinator has refused this password; dwspool does not try it again by itself, since "
      "accounts get locked by repetition. Correct the password in its configuration.";
  failed(report, true);
}

void BackConn::next_coordinator() {
  coordinator_ = opening_->order[opening_->next];
  opening_->encryption =
      login::Encryption(worker_.hub().tls.mode_of(pool_.route.cluster_index, coordinator_));
  try_coordinator();
}

void BackConn::try_coordinator() {
  const config::Cluster& cluster = *pool_.route.cluster;
  const config::Coordinator& coordinator = cluster.coordinators[coordinator_];
  coordinator_metrics_ =
      worker_.hub().metrics.coordinator(worker_.index(), cluster.name, coordinator.label());
  deadline_ = deadline_after(worker_.now(), cluster.connect_timeout);
  worker_.add_backend_deadline(id_, deadline_);
  opening_->login.reset();
  opening_->asked_for_tls = false;
  socket_.reset();
  in_.release();
  out_.release();
  broken_ = false;
  opening_->connector =
      std::make_unique<net::Connector>(worker_.loop(), coordinator.host, coordinator.port,
                                       [this](UniqueFd fd, const std::string& error) {
                                         Worker& worker = worker_;
                                         on_connected(std::move(fd), error);
                                         worker.settle();
                                       });
}

void BackConn::on_connected(UniqueFd fd, const std::string& error) {
  if (!fd) {
    coordinator_failed(error, metrics::OpenFailure::connect);
    return;
  }
  const config::Cluster& cluster = *pool_.route.cluster;
  net::set_tcp_options(
      fd.get(), {cluster.keepalive.idle, cluster.keepalive.interval, cluster.keepalive.count});
  socket_ = std::make_unique<net::Socket>(worker_.loop(), std::move(fd), *this);
  socket_->watch(true, false);
  if (!opening_->encryption.asks()) {
    start_login();
    return;
  }
  std::string request;
  login::Encryption::request(request);
  opening_->asked_for_tls = true;
  if (!send_raw(request)) {
    coordinator_failed("could not send to the server", metrics::OpenFailure::connect);
  }
}

void BackConn::on_encryption_answer(std::string_view& in) {
  using Answer = login::Encryption::Answer;
  const Answer answer = opening_->encryption.on_answer(in);
  if (answer == Answer::incomplete) return;
  opening_->asked_for_tls = false;
  switch (answer) {
    case Answer::incomplete:
      return;
    case Answer::start_tls:
      // The log-in waits for the end of the handshake by itself.
      socket_->start_tls(worker_.hub().tls.engine_to(pool_.route.cluster_index, coordinator_));
      start_login();
      return;
    case Answer::in_clear:
      start_login();
      return;
    case Answer::again:
      try_coordinator();
      return;
    case Answer::refused:
      coordinator_failed(std::string(opening_->encryption.reason()), metrics::OpenFailure::tls);
      return;
  }
}

void BackConn::tls_failed(const std::string& why) {
  if (opening_->encryption.on_handshake_failed()) {
    try_coordinator();
  } else {
    coordinator_failed(why, metrics::OpenFailure::tls);
  }
}

void BackConn::start_login() {
  const config::Cluster& cluster = *pool_.route.cluster;
  login::Identity identity;
  identity.user = pool_.route.user;
  identity.database = pool_.route.database;
  identity.password = pool_.route.password;
  identity.max_iterations = cluster.max_pbkdf2_iterations;
  identity.nonce = auth::make_scram_nonce(auth::random_bytes(nonce_bytes));
  identity.protocol = worker_.wants_protocol_3_0(pool_.route.cluster_index, coordinator_)
                          ? wire::protocol_3_0
                          : wire::protocol_gauss_3_51;
  opening_->protocol = identity.protocol;
  opening_->login.emplace(std::move(identity));
  std::string bytes;
  opening_->login->start(bytes);
  if (!send_raw(bytes)) {
    opening_->login->on_lost("could not send to the server");
    on_login_failed();
  }
}

void BackConn::on_login_progress(login::BackendLogin::Need need) {
  switch (need) {
    case login::BackendLogin::Need::input:
      return;
    case login::BackendLogin::Need::derivation:
      if (opening_->login->state() == login::BackendLogin::State::deriving) derive_keys();
      return;
    case login::BackendLogin::Need::nothing:
      break;
  }
  if (opening_->login->state() == login::BackendLogin::State::done) {
    on_logged_in();
  } else {
    on_login_failed();
  }
}

// PBKDF2 takes as long as a thousand transactions: never on the loop, and once per role.
void BackConn::derive_keys() {
  const login::Derivation& work = opening_->login->derivation();
  if (const auto known = worker_.hub().credentials.find_keys(pool_.route.account, work)) {
    std::string bytes;
    const login::BackendLogin::Need need = opening_->login->on_derived(*known, bytes);
    if (!send_raw(bytes)) {
      opening_->login->on_lost("could not send to the server");
      on_login_failed();
      return;
    }
    on_login_progress(need);
    return;
  }
  worker_.derive_in_background(id_, work);
}

void BackConn::on_derived(const login::Derivation& work, const login::DerivedKeys& keys) {
  worker_.hub().credentials.store_keys(pool_.route.account, work, keys);
  if (state_ != State::opening || !opening_->login ||
      opening_->login->state() != login::BackendLogin::State::deriving) {
    return;
  }
  derive_keys();
}

void BackConn::on_logged_in() {
  login::BackendLogin& login = *opening_->login;
  session::ReportedSet reported;
  for (const auto& [name, value] : login.parameters()) reported.set(name, value);
  core_.reported = worker_.reported().intern(std::move(reported));
  core_.applied = worker_.no_settings();
  core_.key = login.key();
  const Dialect configured = pool_.route.cluster->dialect;
  core_.dialect = configured == Dialect::unknown ? login.dialect() : configured;
  worker_.hub().credentials.on_success(pool_.route.account);
  worker_.rotation(pool_.route.cluster_index).on_success(coordinator_);
  coordinator_metrics_->opened.add();
  coordinator_metrics_->up.set(1);
  coordinator_metrics_->connections.add(1);
  counted_open_ = true;
  worker_.metrics().backends_opened.add();
  worker_.metrics().backend_open_seconds.observe(worker_.now() - opening_since_);
  worker_.hub().log.write(LogLevel::debug, "backend.opened", "a backend has logged in",
                          {{"coordinator", pool_.route.cluster->coordinators[coordinator_].label()},
                           {"database", printable(pool_.database)},
                           {"user", printable(pool_.route.user)},
                           {"method", login.method()},
                           {"tls", socket_->tls_text()},
                           {"dialect", to_string(core_.dialect)}});
  for (const std::string& notice : login.notices()) {
    worker_.hub().log.write_limited(
        LogLevel::warning, "backend.login_notice", "the server says at log-in: " + notice,
        {{"coordinator", pool_.route.cluster->coordinators[coordinator_].label()},
         {"user", printable(pool_.route.user)}});
  }
  pool_.welcome.on_login(core_.reported);
  pool_.last_failure.clear();
  opening_.reset();
  deadline_ = never;
  state_ = State::ready;
  opened_at_ = worker_.now();
  pool_.pool.on_opened(slot_, id_, pool_.slots->foreign_wait(worker_.index()), worker_.now());
  worker_.touch(pool_);
}

void BackConn::on_login_failed() {
  const login::BackendLogin& login = *opening_->login;
  const login::Failure failure = login.failure();
  const wire::ErrorReport report = login.report();
  if (failure == login::Failure::old_protocol) {
    worker_.wants_protocol_3_0(pool_.route.cluster_index, coordinator_) = true;
    try_coordinator();
    return;
  }
  const bool by_server =
      failure == login::Failure::credentials || failure == login::Failure::unavailable;
  if (by_server && opening_->encryption.on_login_refused(report.sqlstate, login.proven())) {
    try_coordinator();
    return;
  }
  if (failure == login::Failure::unavailable) {
    coordinator_failed(report.message, metrics::OpenFailure::unavailable);
    return;
  }
  worker_.metrics().open_failures[static_cast<std::size_t>(failure_label(failure))].add();
  coordinator_metrics_->failed.add();
  coordinator_metrics_->up.set(1);  // it answers, if only to refuse
  const std::string label = pool_.route.cluster->coordinators[coordinator_].label();
  const bool refused = failure == login::Failure::credentials;
  worker_.hub().log.write_limited(
      LogLevel::error, refused ? "backend.password_refused" : "backend.login_failed",
      refused ? "a coordinator refused the log-in; the account is not tried again for a while"
              : "a coordinator refused the log-in",
      {{"coordinator", label},
       {"database", printable(pool_.route.database)},
       {"user", printable(pool_.route.user)},
       {"sqlstate", printable(report.sqlstate)},
       {"reason", printable(report.message, 512)}});
  if (refused) {
    opening_->attempt.reset();
    worker_.hub().credentials.on_refused(pool_.route.account, report, worker_.now());
  }
  failed(report, true);
}

// This coordinator does not answer: the next one, or, after the last one, a pause.
void BackConn::coordinator_failed(const std::string& why, metrics::OpenFailure reason) {
  const std::string label = pool_.route.cluster->coordinators[coordinator_].label();
  worker_.rotation(pool_.route.cluster_index)
      .on_failure(coordinator_, worker_.now(), worker_.random_unit());
  worker_.metrics().open_failures[static_cast<std::size_t>(reason)].add();
  coordinator_metrics_->failed.add();
  coordinator_metrics_->up.set(0);
  worker_.hub().log.write_limited(LogLevel::warning, "backend.connect_failed",
                                  "a coordinator does not answer",
                                  {{"coordinator", label}, {"reason", printable(why, 256)}});
  pool_.last_failure = label + ": " + printable(why, 256);
  if (++opening_->next < opening_->order.size()) {
    next_coordinator();
    return;
  }
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::connection_failure;
  report.message = why;
  failed(report, false);
}

// The attempt is over. Those who wait are told if waiting cannot help. Destroys *this.
void BackConn::failed(const wire::ErrorReport& report, bool for_all_who_wait) {
  Worker& worker = worker_;
  PoolContext& pool = pool_;
  if (opening_->attempt) {
    worker.hub().credentials.on_no_verdict(pool.route.account, *opening_->attempt);
  }
  const Duration pause = for_all_who_wait ? refused_pause : round_pause;
  pool.pool.on_open_failed(slot_, worker.now() + pause, worker.now());
  worker.remove_backend(id_);
  if (for_all_who_wait) worker.fail_waiters(pool, report);
  worker.touch(pool);
}

}  // namespace dwspool::proxy
