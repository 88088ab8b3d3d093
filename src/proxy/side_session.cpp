#include "dwspool/proxy/side_session.h"

#include <array>
#include <cstring>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/net/work.h"

#include "dwspool/proxy/login_identity.h"

namespace dwspool::proxy {
namespace {

// While another log-in proves the password.
constexpr Duration guard_pause = std::chrono::milliseconds{20};
// More than this no question of ours has for an answer.
constexpr std::size_t most_input = 1U << 20U;
// Temporary objects last, where nobody's can stand in for the catalog's.
constexpr std::string_view pinned_path = "set search_path to pg_catalog, pg_temp";
constexpr std::string_view no_types("\0\0", 2);

std::vector<std::string> read_row(std::string_view body) {
  wire::Cursor cursor(body);
  std::vector<std::string> row(cursor.u16());
  for (std::string& value : row) {
    const std::uint32_t length = cursor.u32();
    if (length != UINT32_MAX) value = std::string(cursor.bytes(length));  // else NULL
    if (!cursor.ok()) return {};
  }
  return row;
}

}  // namespace

SideSession::SideSession(Hub& hub, ClusterState& state, net::Loop& loop, cluster::HostId host)
    : hub_(hub),
      state_of_cluster_(state),
      loop_(loop),
      host_(host),
      timer_(loop, [this] { state_ == State::login ? feed_login() : open(); }),
      self_(std::make_shared<SideSession*>(this)) {}

SideSession::~SideSession() {
  *self_ = nullptr;
  abort();
}

void SideSession::ask(const Account& account, std::string_view sql, Done done) {
  std::string question;
  wire::append_query(question, sql);
  begin(account, std::move(question), std::move(done));
}

// One transaction, whose first statement is in force for the second.
void SideSession::ask_about(const Account& account, std::string_view sql, std::string_view value,
                            Done done) {
  std::string question;
  wire::append_parse(question, "", pinned_path, no_types);
  wire::append_bind(question, "");
  wire::append_execute(question);
  wire::append_parse(question, "", sql, no_types);
  wire::append_bind_text(question, "", value);
  wire::append_execute(question);
  wire::append_sync(question);
  begin(account, std::move(question), std::move(done));
}

void SideSession::log_in(const Account& account, Done done) {
  begin(account, {}, std::move(done));
}

void SideSession::begin(const Account& account, std::string question, Done done) {
  question_ = std::move(question);
  done_ = std::move(done);
  answer_ = Answer();
  failed_ = false;
  // The host may be found elsewhere by now.
  if (state_ == State::idle && generation_ != state_of_cluster_.generation(host_)) close();
  if (state_ == State::idle) {
    send_question();
    return;
  }
  account_ = account;
  encryption_ = login::Encryption(
      TlsStore::mode_of(state_of_cluster_.config(), state_of_cluster_.host(host_)));
  state_ = State::waiting;
  timer_.arm(loop_.now());
}

void SideSession::abort() {
  done_ = nullptr;
  if (attempt_) hub_.credentials.on_no_verdict(account_.name, *attempt_);
  attempt_.reset();
  close();
}

void SideSession::close() {
  state_ = State::closed;
  timer_.disarm();
  connector_.reset();
  socket_.reset();
  login_.reset();
  turn_.reset();
  in_.release();
  out_.release();
}

// --- Logging in ----------------------------------------------------------------------------------

void SideSession::open() {
  state_ = State::connecting;
  answer_.fresh = true;
  generation_ = state_of_cluster_.generation(host_);
  connector_ = state_of_cluster_.connect(
      host_, loop_,
      [this](UniqueFd fd, const std::string& error) { on_connected(std::move(fd), error); });
}

void SideSession::on_connected(UniqueFd fd, const std::string& error) {
  if (!fd) {
    lost(error);
    return;
  }
  const config::KeepAlive& keepalive = state_of_cluster_.config().keepalive;
  net::set_tcp_options(fd.get(), {keepalive.idle, keepalive.interval, keepalive.count});
  socket_ = std::make_unique<net::Socket>(loop_, std::move(fd), *this);
  socket_->watch(true, false);
  if (!encryption_.asks()) {
    start_login();
    return;
  }
  state_ = State::encrypting;
  std::string request;
  login::Encryption::request(request);
  if (!send(request)) lost("could not send to the server");
}

void SideSession::on_encryption_answer() {
  using Result = login::Encryption::Answer;
  std::string_view in = in_.view();
  const Result result = encryption_.on_answer(in);
  if (result == Result::incomplete) return;
  in_.release();
  switch (result) {
    case Result::incomplete:
      return;
    case Result::start_tls:
      // The log-in waits for the end of the handshake by itself.
      socket_->start_tls(
          hub_.tls.engine_to(state_of_cluster_.config(), state_of_cluster_.host(host_)));
      start_login();
      return;
    case Result::in_clear:
      start_login();
      return;
    case Result::again:
      reopen();
      return;
    case Result::refused:
      lost(std::string(encryption_.reason()));
      return;
  }
}

// Another connection for the same log-in.
void SideSession::reopen() {
  if (attempt_) hub_.credentials.on_no_verdict(account_.name, *attempt_);
  attempt_.reset();
  login_.reset();
  turn_.reset();
  socket_.reset();
  in_.release();
  out_.release();
  open();
}

void SideSession::start_login() {
  state_ = State::login;
  login_.emplace(login_identity(state_of_cluster_, host_, account_.user, account_.database,
                                account_.credential));
  std::string bytes;
  login_->start(bytes);
  if (!send(bytes)) lost("could not send to the server");
}

// Before the password goes anywhere the guard is asked. Not earlier: while one attempt is under
// way all others wait for it, and a host that says nothing would hold up those that do.
bool SideSession::may_log_in() {
  if (attempt_) return has_turn();
  const Credentials::Answer admission =
      hub_.credentials.ask(account_.name, loop_.now(), state_of_cluster_.failure_budget());
  switch (admission.answer) {
    case login::LoginGuard::Answer::go:
      attempt_ = admission.attempt;
      return has_turn();
    case login::LoginGuard::Answer::wait:
      timer_.arm(loop_.now() + guard_pause);
      return false;
    case login::LoginGuard::Answer::held:
      break;
  }
  hold(admission.report);
  return false;
}

bool SideSession::has_turn() {
  if (turn_) return true;
  Credentials::Answer answer =
      hub_.credentials.ask_proof(account_.name, loop_.now(), state_of_cluster_.failure_budget());
  switch (answer.answer) {
    case login::LoginGuard::Answer::go:
      turn_ = std::move(answer.turn);
      return true;
    case login::LoginGuard::Answer::wait:
      timer_.arm(loop_.now() + guard_pause);
      return false;
    case login::LoginGuard::Answer::held:
      break;
  }
  hold(answer.report);
  return false;
}

void SideSession::hold(const wire::ErrorReport& report) {
  answer_.kind = Answer::Kind::no_admission;
  answer_.sqlstate = report.sqlstate;
  answer_.why = report.message;
  answer_.hint = report.hint;
  finish();
}

void SideSession::feed_login() {
  if (!may_log_in()) return;
  if (socket_->tls() != nullptr) login_->set_end_point(socket_->tls()->server_end_point());
  std::string answer;
  std::string_view in = in_.view();
  const std::size_t before = in.size();
  const login::BackendLogin::Need need = login_->on_bytes(in, answer);
  in_.consume(before - in.size());
  if (!answer.empty() && !send(answer)) {
    lost("could not send to the server");
    return;
  }
  on_login_progress(need);
}

void SideSession::on_login_progress(login::BackendLogin::Need need) {
  if (need == login::BackendLogin::Need::input) return;
  if (need == login::BackendLogin::Need::derivation) {
    derive();
  } else if (login_->state() == login::BackendLogin::State::done) {
    on_logged_in();
  } else {
    on_login_failed();
  }
}

void SideSession::derive() {
  const login::Derivation& work = login_->derivation();
  if (const auto known = hub_.credentials.find_keys(account_.name, work)) {
    on_derived(*known);
    return;
  }
  struct Job {
    login::Derivation work;
    login::DerivedKeys keys;
  };
  auto job = std::make_shared<Job>(Job{work, {}});
  net::run_in_background(
      loop_, [job] { job->keys = login::derive(job->work); },
      [job, self = self_, name = account_.name, &hub = hub_] {
        if (*self == nullptr) return;
        SideSession& session = **self;
        // What a client has brought may be wrong.
        if (!session.account_.supplied) hub.credentials.store_keys(name, job->work, job->keys);
        if (session.login_ && session.login_->state() == login::BackendLogin::State::deriving) {
          session.on_derived(job->keys);
        }
      });
}

void SideSession::on_derived(const login::DerivedKeys& keys) {
  std::string bytes;
  const login::BackendLogin::Need need = login_->on_derived(keys, bytes);
  if (send(bytes)) {
    on_login_progress(need);
  } else {
    lost("could not send to the server");
  }
}

void SideSession::on_logged_in() {
  hub_.credentials.on_success(account_.name);
  attempt_.reset();
  turn_.reset();
  dialect_ = login_->dialect();
  if (question_.empty()) {
    answer_.credential = login_->used();
    std::string goodbye;
    wire::append_terminate(goodbye);
    static_cast<void>(send(goodbye));
    finish();
    return;
  }
  login_.reset();
  send_question();
}

void SideSession::on_login_failed() {
  const login::Failure failure = login_->failure();
  const wire::ErrorReport report = login_->report();
  if (failure == login::Failure::old_protocol) {
    state_of_cluster_.wants_protocol_3_0(host_) = true;
    reopen();
    return;
  }
  const bool by_server =
      failure == login::Failure::credentials || failure == login::Failure::unavailable;
  if (by_server && encryption_.on_login_refused(report.sqlstate, login_->proven())) {
    reopen();
    return;
  }
  answer_.sqlstate = report.sqlstate;
  answer_.why = report.message;
  answer_.hint = report.hint;
  answer_.reveals = !login_->proven() && login_->dialect() == Dialect::postgres;
  if (failure == login::Failure::credentials) note_refusal(report);
  if (failure == login::Failure::unavailable) {
    answer_.trouble = trouble_of(report);
    answer_.kind = Answer::Kind::no_session;
  } else {
    answer_.kind = Answer::Kind::no_admission;
  }
  finish();
}

void SideSession::note_refusal(const wire::ErrorReport& report) {
  const bool counted = counts(*login_);
  // A server that locks nobody may be asked as often as clients like.
  if (account_.supplied && !counted) return;
  attempt_.reset();
  hub_.credentials.on_refused(account_.name, report, loop_.now(), counted);
  if (account_.supplied) return;  // the client's concern, not the operator's
  hub_.log.write_limited(
      LogLevel::error, "backend.password_refused",
      "a coordinator refused the log-in; the account is not tried again for a while",
      {{"coordinator", state_of_cluster_.host(host_).label()},
       {"database", printable(account_.database)},
       {"user", printable(account_.user)},
       {"sqlstate", printable(report.sqlstate)},
       {"reason", printable(report.message, 512)}});
}

// --- Asking --------------------------------------------------------------------------------------

void SideSession::send_question() {
  state_ = State::asking;
  if (!send(question_)) lost("could not send to the server");
}

void SideSession::on_ready(bool readable, bool writable) {
  if (writable && !flush()) {
    lost("could not send to the server");
    return;
  }
  if (!readable) return;
  std::array<char, net::Socket::min_room> buffer;  // NOLINT: what is used of it is filled
  const net::IoResult got = socket_->receive(buffer.data(), buffer.size());
  if (got.status == net::IoResult::Status::would_block) return;
  if (got.status != net::IoResult::Status::ok || in_.size() > most_input) {
    lost(got.status == net::IoResult::Status::failed ? socket_->failure_text(got)
                                                     : "the server closed the connection");
    return;
  }
  in_.append({buffer.data(), got.bytes});
  if (state_ == State::encrypting) {
    on_encryption_answer();
  } else if (state_ == State::login) {
    feed_login();
  } else {
    read_answer();
  }
}

void SideSession::read_answer() {
  while (socket_) {
    std::string_view in = in_.view();
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::bad) {
      lost("what the server sent makes no sense");
      return;
    }
    if (view.status != wire::FrameStatus::complete) return;
    const wire::Frame frame = wire::take_frame(in, view);
    if (frame.type == wire::backend::data_row && state_ == State::asking) {
      answer_.rows.push_back(read_row(frame.body()));
    } else if (frame.type == wire::backend::error_response) {
      const wire::ErrorFields error = wire::read_error(frame.body());
      failed_ = true;
      answer_.sqlstate = error.sqlstate;
      answer_.why = error.message;
    }
    in_.consume(view.total);
    if (frame.type != wire::backend::ready_for_query || state_ != State::asking) continue;
    state_ = State::idle;
    answer_.kind = failed_ ? Answer::Kind::error : Answer::Kind::rows;
    finish();
    return;
  }
}

// The connection is gone. An old one may have been closed by anybody, for any reason: that says
// nothing yet.
void SideSession::lost(const std::string& why) {
  const bool in_login = state_ == State::login;
  const bool shaking = socket_ && socket_->tls() != nullptr && !socket_->tls()->handshake_done();
  if (shaking && encryption_.on_handshake_failed()) {
    reopen();
    return;
  }
  const bool worth_another = state_ == State::asking && !answer_.fresh && done_;
  if (attempt_) hub_.credentials.on_no_verdict(account_.name, *attempt_);
  attempt_.reset();
  const bool asked = done_ != nullptr;
  close();
  if (!asked) return;
  if (worth_another) {
    answer_ = Answer();
    failed_ = false;
    state_ = State::waiting;
    timer_.arm(loop_.now());
    return;
  }
  answer_.kind = Answer::Kind::no_session;
  answer_.trouble = cluster::Trouble::unreachable;
  answer_.why = in_login ? "while logging in: " + why : why;
  finish();
}

void SideSession::finish() {
  if (attempt_) hub_.credentials.on_no_verdict(account_.name, *attempt_);
  attempt_.reset();
  if (state_ != State::idle) close();
  const Done done = std::exchange(done_, nullptr);
  const Answer answer = std::move(answer_);
  if (done) done(answer);
}

bool SideSession::send(std::string_view bytes) {
  out_.append(bytes);
  return flush();
}

bool SideSession::flush() {
  while (!out_.empty()) {
    const Slice slice{out_.view().data(), out_.size()};
    const net::IoResult result = socket_->send(&slice, 1);
    if (result.status == net::IoResult::Status::failed) return false;
    if (result.bytes == 0) break;
    out_.consume(result.bytes);
  }
  socket_->watch(true, !out_.empty());
  return true;
}

}  // namespace dwspool::proxy
