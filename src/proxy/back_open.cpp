// Opening a backend: the lock-out guard is asked, the cluster's hosts are tried in the order that
// it names, and the log-in machine is fed.
#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/login_identity.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

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
      host_(transfer.host),
      epoch_(transfer.epoch),
      label_(pool.cluster->host(transfer.host).label()),
      counted_in_cluster_(true) {
  core_.reported = worker.reported().intern(session::ReportedSet(*core_.reported));
  core_.applied = worker.settings().intern(session::SettingSet(*core_.applied));
  core_.statements.move_to(worker.statements());
  coordinator_metrics_ =
      worker.hub().metrics.coordinator(worker.index(), pool.route.cluster->name, label_);
  coordinator_metrics_->connections.add(1);
  counted_open_ = true;
  socket_ = std::make_unique<net::Socket>(worker.loop(), std::move(transfer.fd), *this,
                                          std::move(transfer.tls));
  socket_->watch(true, false);
}

BackConn::~BackConn() {
  if (counted_in_cluster_) pool_.cluster->on_closed(host_, pool_.route.target, worker_.now());
  if (counted_open_) {
    coordinator_metrics_->connections.add(-1);
    worker_.metrics().backends_closed.add();
  }
}

void BackConn::open() {
  ask_guard();
}

void BackConn::ask_guard() {
  const Credentials::Answer answer = worker_.hub().credentials.ask(
      pool_.route.account, worker_.now(), pool_.cluster->failure_budget());
  switch (answer.answer) {
    case login::LoginGuard::Answer::go:
      opening_->attempt = answer.attempt;
      try_next_host();
      return;
    case login::LoginGuard::Answer::wait:
      // As if nobody could be reached for a moment.
      come_to_nothing(worker_.now() + guard_pause);
      return;
    case login::LoginGuard::Answer::held:
      break;
  }
  refuse_held(answer.report);
}

// Whether it may answer what the server asks. If not, it asks again a little later, or is gone.
bool BackConn::has_turn() {
  if (opening_->turn) return true;
  Credentials::Answer answer = worker_.hub().credentials.ask_proof(
      pool_.route.account, worker_.now(), pool_.cluster->failure_budget());
  switch (answer.answer) {
    case login::LoginGuard::Answer::go:
      opening_->turn = std::move(answer.turn);
      if (opening_->gives_up_at != never) {
        deadline_ = std::exchange(opening_->gives_up_at, never);
        worker_.add_backend_deadline(id_, deadline_);
      }
      return true;
    case login::LoginGuard::Answer::wait:
      if (opening_->gives_up_at == never) opening_->gives_up_at = deadline_;
      deadline_ = std::min(worker_.now() + guard_pause, opening_->gives_up_at);
      worker_.add_backend_deadline(id_, deadline_);
      return false;
    case login::LoginGuard::Answer::held:
      break;
  }
  refuse_held(answer.report);
  return false;
}

// The account is left alone. Destroys *this.
void BackConn::refuse_held(wire::ErrorReport report) {
  if (report.hint.empty()) {
    report.hint = std::string(
                      "The coordinator has refused this password; dwspool does not try it "
                      "again by itself, since accounts get locked by repetition. ") +
                  (pool_.route.acquaintance.empty() ? "Correct the password in its configuration."
                                                    : "Log in anew with the right one.");
  }
  failed(report);
}

void BackConn::try_next_host() {
  ClusterState& cluster = *pool_.cluster;
  TimePoint retry_at = never;
  const auto host = cluster.begin_connection(pool_.route.target, opening_->tried, worker_.now(),
                                             worker_.random_unit(), retry_at);
  if (!host) {
    const TimePoint later = worker_.now() + round_pause;
    come_to_nothing(opening_->tried.empty() ? std::min(retry_at, later) : later);
    return;
  }
  host_ = *host;
  epoch_ = cluster.epoch(host_);
  opening_->tried.push_back(host_);
  counted_in_cluster_ = true;
  label_ = cluster.host(host_).label();
  opening_->encryption =
      login::Encryption(TlsStore::mode_of(cluster.config(), cluster.host(host_)));
  coordinator_metrics_ =
      worker_.hub().metrics.coordinator(worker_.index(), cluster.config().name, label_);
  connect();
}

void BackConn::connect() {
  deadline_ = deadline_after(worker_.now(), pool_.route.cluster->connect_timeout);
  worker_.add_backend_deadline(id_, deadline_);
  opening_->login.reset();
  opening_->turn.reset();
  opening_->gives_up_at = never;
  opening_->asked_for_tls = false;
  socket_.reset();
  in_.release();
  out_.release();
  broken_ = false;
  generation_ = pool_.cluster->generation(host_);
  opening_->connector =
      pool_.cluster->connect(host_, worker_.loop(), [this](UniqueFd fd, const std::string& error) {
        Worker& worker = worker_;
        on_connected(std::move(fd), error);
        worker.settle();
      });
}

void BackConn::on_connected(UniqueFd fd, const std::string& error) {
  if (!fd) {
    host_failed(error, metrics::OpenFailure::connect);
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
    host_failed("could not send to the server", metrics::OpenFailure::connect);
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
      socket_->start_tls(
          worker_.hub().tls.engine_to(*pool_.route.cluster, pool_.cluster->host(host_)));
      start_login();
      return;
    case Answer::in_clear:
      start_login();
      return;
    case Answer::again:
      connect();
      return;
    case Answer::refused:
      host_failed(std::string(opening_->encryption.reason()), metrics::OpenFailure::tls);
      return;
  }
}

void BackConn::tls_failed(const std::string& why) {
  if (opening_->encryption.on_handshake_failed()) {
    connect();
  } else {
    host_failed(why, metrics::OpenFailure::tls);
  }
}

void BackConn::start_login() {
  login::Identity identity = login_identity(*pool_.cluster, host_, pool_.route.user,
                                            pool_.route.database, pool_.route.credential);
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
  core_.local_port = socket_->local_port();
  const Dialect known = pool_.cluster->dialect();
  core_.dialect = known == Dialect::unknown ? login.dialect() : known;
  // Else the probes find out, together with the roles.
  if (known == Dialect::unknown &&
      (login.dialect() == Dialect::dws || !pool_.cluster->is_probed())) {
    pool_.cluster->learn_dialect(login.dialect());
  }
  worker_.hub().credentials.on_success(pool_.route.account);
  pool_.cluster->on_opened(host_, worker_.now());
  coordinator_metrics_->opened.add();
  coordinator_metrics_->up.set(1);
  coordinator_metrics_->connections.add(1);
  counted_open_ = true;
  worker_.metrics().backends_opened.add();
  worker_.metrics().backend_open_seconds.observe(worker_.now() - opening_since_);
  worker_.hub().log.write(LogLevel::debug, "backend.opened", "a backend has logged in",
                          {{"coordinator", label()},
                           {"database", printable(pool_.database)},
                           {"user", printable(pool_.route.user)},
                           {"method", login.method()},
                           {"tls", socket_->tls_text()},
                           {"dialect", to_string(core_.dialect)}});
  for (const std::string& notice : login.notices()) {
    worker_.hub().log.write_limited(
        LogLevel::warning, "backend.login_notice", "the server says at log-in: " + notice,
        {{"coordinator", label()}, {"user", printable(pool_.route.user)}});
  }
  pool_.sessions->welcome.on_login(core_.reported);
  pool_.last_failure.clear();
  opening_.reset();
  deadline_ = never;
  state_ = State::ready;
  opened_at_ = worker_.now();
  make_way();
  pool_.pool.on_opened(slot_, id_, pool_.slots->foreign_wait(worker_.index()), worker_.now());
  worker_.touch(pool_);
}

void BackConn::on_login_failed() {
  const login::BackendLogin& login = *opening_->login;
  const login::Failure failure = login.failure();
  const wire::ErrorReport report = login.report();
  if (failure == login::Failure::old_protocol) {
    pool_.cluster->wants_protocol_3_0(host_) = true;
    connect();
    return;
  }
  const bool by_server =
      failure == login::Failure::credentials || failure == login::Failure::unavailable;
  if (by_server && opening_->encryption.on_login_refused(report.sqlstate, login.proven())) {
    connect();
    return;
  }
  if (failure == login::Failure::unavailable) {
    host_failed(report.message, metrics::OpenFailure::unavailable);
    return;
  }
  worker_.metrics().open_failures[static_cast<std::size_t>(failure_label(failure))].add();
  coordinator_metrics_->failed.add();
  coordinator_metrics_->up.set(1);  // it answers, if only to refuse
  const bool refused = failure == login::Failure::credentials;
  worker_.hub().log.write_limited(
      LogLevel::error, refused ? "backend.password_refused" : "backend.login_failed",
      refused ? "a coordinator refused the log-in; the account is not tried again for a while"
              : "a coordinator refused the log-in",
      {{"coordinator", label()},
       {"database", printable(pool_.route.database)},
       {"user", printable(pool_.route.user)},
       {"sqlstate", printable(report.sqlstate)},
       {"reason", printable(report.message, 512)}});
  if (refused) {
    opening_->attempt.reset();
    worker_.hub().credentials.on_refused(pool_.route.account, report, worker_.now(), counts(login));
    if (!pool_.route.acquaintance.empty()) {
      worker_.hub().acquaintances.forget(pool_.route.acquaintance);
    }
  }
  failed(report);
}

// This host does not answer: the next one, or, after the last one, a pause.
void BackConn::host_failed(const std::string& why, metrics::OpenFailure reason) {
  counted_in_cluster_ = false;
  pool_.cluster->on_open_failed(
      host_, pool_.route.target,
      opening_->login ? trouble_of(opening_->login->report()) : cluster::Trouble::unreachable,
      worker_.now(), worker_.random_unit());
  worker_.metrics().open_failures[static_cast<std::size_t>(reason)].add();
  coordinator_metrics_->failed.add();
  coordinator_metrics_->up.set(0);
  worker_.hub().log.write_limited(LogLevel::warning, "backend.connect_failed",
                                  "a coordinator does not answer",
                                  {{"coordinator", label_}, {"reason", printable(why, 256)}});
  pool_.last_failure = label_ + ": " + printable(why, 256);
  try_next_host();
}

// The attempt is over, and nobody hears of it: those who wait go on waiting. Destroys *this.
void BackConn::come_to_nothing(TimePoint not_before) {
  Worker& worker = worker_;
  PoolContext& pool = pool_;
  if (opening_->attempt) {
    worker.hub().credentials.on_no_verdict(pool.route.account, *opening_->attempt);
  }
  pool.pool.on_open_failed(slot_, not_before, worker.now());
  worker.touch(pool);
  worker.remove_backend(id_);
}

// The same when waiting cannot help: those who wait are told. Destroys *this.
void BackConn::failed(const wire::ErrorReport& report) {
  Worker& worker = worker_;
  PoolContext& pool = pool_;
  come_to_nothing(worker.now() + refused_pause);
  worker.fail_waiters(pool, report);
}

}  // namespace dwspool::proxy
