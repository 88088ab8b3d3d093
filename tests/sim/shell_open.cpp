// Opening a backend: guard, hosts in order, log-in; after proxy/back_open.cpp.
#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"

#include "sim/shell.h"

namespace dwspool::sim {
namespace {

constexpr Duration guard_pause = std::chrono::milliseconds{20};
constexpr Duration round_pause = std::chrono::milliseconds{100};
constexpr Duration refused_pause = std::chrono::seconds{1};
const std::string account = "cluster app";  // NOLINT(cert-err58-cpp)

}  // namespace

Back::Back(Shell& shell, BackendId id, pool::Slot slot)
    : shell_(shell), id_(id), slot_(slot), opening_(std::make_unique<Opening>()) {}

Back::~Back() {
  if (counted_) shell_.topology_.on_closed(static_cast<cluster::HostId>(coordinator_), Target::any);
}

void Back::open() {
  const TimePoint now = shell_.context_.now;
  switch (shell_.guard_.ask(account, now)) {
    case login::LoginGuard::Answer::go:
      opening_->attempt = shell_.guard_.attempt(account);
      try_next_host();
      return;
    case login::LoginGuard::Answer::wait:
      come_to_nothing(now + guard_pause);
      return;
    case login::LoginGuard::Answer::held:
      break;
  }
  failed(shell_.guard_.held_report(account));
}

void Back::try_next_host() {
  const TimePoint now = shell_.context_.now;
  const cluster::Choice choice = shell_.topology_.choose(Target::any, opening_->tried, now, 0.5);
  if (choice.hosts.empty()) {
    come_to_nothing(now + round_pause);
    return;
  }
  coordinator_ = choice.hosts.front();
  opening_->tried.push_back(choice.hosts.front());
  counted_ = true;
  shell_.topology_.on_connecting(choice.hosts.front(), Target::any, now);
  connect();
}

void Back::connect() {
  deadline_ = deadline_after(shell_.context_.now, shell_.options_.connect_timeout);
  opening_->login.reset();
  plug_.close();
  in_.release();
  broken_ = false;
  connecting_ = true;
}

void Back::on_connected(bool reachable) {
  connecting_ = false;
  auto [mine, theirs] = shell_.network_.connect();
  if (!reachable || shell_.cluster_.connect(coordinator_, std::move(theirs)) == nullptr) {
    mine.close();
    coordinator_failed("connection refused");
    return;
  }
  plug_ = std::move(mine);
  plug_.attach(*this);
  login::Identity identity;
  identity.user = backend_user;
  identity.database = "db";
  identity.credential.password = Secret(std::string(backend_password));
  identity.nonce = "a nonce that is always the same";
  identity.protocol =
      shell_.old_protocol_[coordinator_] ? wire::protocol_3_0 : wire::protocol_gauss_3_51;
  opening_->login.emplace(std::move(identity));
  std::string bytes;
  opening_->login->start(bytes);
  if (!send_raw(bytes)) {
    opening_->login->on_lost("could not send to the server");
    on_login_failed();
  }
}

void Back::on_login_progress(login::BackendLogin::Need need) {
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

void Back::derive_keys() {
  const auto known = shell_.keys_.find(account, opening_->login->derivation());
  if (!known) {
    deriving_ = true;
    return;
  }
  std::string bytes;
  const login::BackendLogin::Need need = opening_->login->on_derived(*known, bytes);
  if (!send_raw(bytes)) {
    opening_->login->on_lost("could not send to the server");
    on_login_failed();
    return;
  }
  on_login_progress(need);
}

void Back::on_derived() {
  deriving_ = false;
  if (state_ != State::opening || !opening_->login ||
      opening_->login->state() != login::BackendLogin::State::deriving) {
    return;
  }
  const login::Derivation& work = opening_->login->derivation();
  shell_.keys_.store(account, work, login::derive(work));
  derive_keys();
}

void Back::on_logged_in() {
  login::BackendLogin& login = *opening_->login;
  session::ReportedSet reported;
  for (const auto& [name, value] : login.parameters()) reported.set(name, value);
  core_.reported = shell_.reported_.intern(std::move(reported));
  core_.applied = shell_.no_settings_;
  core_.key = login.key();
  core_.local_port = 1;
  core_.dialect = login.dialect();
  shell_.guard_.on_success(account);
  shell_.topology_.on_opened(static_cast<cluster::HostId>(coordinator_));
  shell_.sessions_->welcome.on_login(core_.reported);
  shell_.last_failure_.clear();
  opening_.reset();
  deadline_ = never;
  state_ = State::ready;
  make_way();
  shell_.pool_.on_opened(slot_, id_, never, shell_.context_.now);
}

void Back::on_login_failed() {
  const login::Failure failure = opening_->login->failure();
  const wire::ErrorReport report = opening_->login->report();
  if (failure == login::Failure::old_protocol) {
    shell_.old_protocol_[coordinator_] = true;
    connect();
    return;
  }
  if (failure == login::Failure::unavailable) {
    coordinator_failed(report.message);
    return;
  }
  if (failure == login::Failure::protocol_error) {
    shell_.context_.violate("the log-in does not understand the server: " + report.message);
  }
  if (failure == login::Failure::credentials) {
    opening_->attempt.reset();
    shell_.guard_.on_refused(account, report, shell_.context_.now);
    shell_.keys_.forget(account);
  }
  failed(report);
}

void Back::coordinator_failed(const std::string& why) {
  counted_ = false;
  shell_.topology_.on_open_failed(static_cast<cluster::HostId>(coordinator_), Target::any,
                                  cluster::Trouble::unreachable, shell_.context_.now, 0.5);
  shell_.last_failure_ = why;
  try_next_host();
}

void Back::come_to_nothing(TimePoint not_before) {
  Shell& shell = shell_;
  if (opening_->attempt) shell.guard_.on_no_verdict(account, *opening_->attempt);
  plug_.close();
  shell.pool_.on_open_failed(slot_, not_before, shell.context_.now);
  shell.dead_backends_.push_back(shell.backends_.take(id_));
}

void Back::failed(const wire::ErrorReport& report) {
  Shell& shell = shell_;
  come_to_nothing(shell.context_.now + refused_pause);
  shell.fail_waiters(report);
}

}  // namespace dwspool::sim
