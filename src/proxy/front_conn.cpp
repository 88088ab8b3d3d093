// The client's socket and what its session makes of it. Log-in is in front_login.cpp.
#include "dwspool/proxy/front_conn.h"

#include <cstring>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

using session::Next;

// How many full buffers are taken from one client before the others get their turn.
constexpr int reads_per_event = 4;
// Input that the session cannot use yet: above this, the client is not read.
constexpr std::size_t input_limit = 65536;
// Output that the client does not take: above this, it is not read either.
constexpr std::size_t output_limit = 65536;
// How long a client may take to read our last word.
constexpr Duration linger_time = std::chrono::seconds{2};

}  // namespace

FrontConn::FrontConn(Worker& worker, ClientId id, UniqueFd fd, const net::Address& peer,
                     bool by_proxy)
    : worker_(worker),
      id_(id),
      number_(worker.next_connection_number()),
      socket_(worker.loop(), std::move(fd), *this),
      peer_(peer),
      accepted_at_(worker.now()),
      request_started_(never),
      transaction_started_(never),
      startup_(std::make_unique<session::StartupFlow>(
          !peer.is_unix() && worker.config().client_tls.mode != TlsMode::disable)),
      by_proxy_(by_proxy) {
  socket_.watch(true, false);
}

FrontConn::~FrontConn() = default;

void FrontConn::on_ready(bool readable, bool writable) {
  Worker& worker = worker_;
  const ClientId id = id_;
  if (writable) {
    if (!send_to_client()) {
      destroy();
      readable = false;
    } else {
      if (out_.empty() && backend_ != nullptr) backend_->pause_reading(false);
      if (out_.empty() && lingering_) static_cast<void>(finish());
      if (worker.find_client(id) != nullptr) update_interest();
    }
  }
  if (readable && worker.find_client(id) != nullptr) read_some();
  worker.settle();
}

void FrontConn::read_some() {
  for (int i = 0; i < reads_per_event; ++i) {
    const std::size_t kept = in_.size();
    const bool in_place = kept > Worker::keep_size;
    std::size_t room = Worker::read_size;
    char* buffer = nullptr;
    if (in_place) {
      const std::size_t wanted = session_ ? session_->client_bytes_wanted() : 0;
      if (wanted > kept + room) room = wanted - kept;
      buffer = in_.grow_by(room);
    } else {
      if (kept > 0) std::memcpy(worker_.buffer(), in_.view().data(), kept);
      buffer = worker_.buffer() + kept;
    }
    const net::IoResult got = socket_.receive(buffer, room);
    if (in_place) in_.shrink_by(room - got.bytes);
    if (got.status == net::IoResult::Status::would_block) return;
    if (got.status != net::IoResult::Status::ok) {
      if (startup_ && socket_.tls() != nullptr) note_tls_failure(got);
      if (said_goodbye()) {
        input_ended_ = true;
        update_interest();
      } else {
        destroy();
      }
      return;
    }
    if (lingering_) {
      in_.release();
      continue;
    }
    if (pool_ != nullptr) pool_->metrics->bytes_from_clients.add(got.bytes);
    std::string_view view =
        in_place ? in_.view() : std::string_view(worker_.buffer(), kept + got.bytes);
    if (!process(view)) return;
    in_.assign(view);
    update_interest();
    if (got.bytes < room || !socket_.watches_reading()) return;
  }
}

// Whether what waits for its turn ends with a Terminate: the client wants it done, and no answer.
bool FrontConn::said_goodbye() const {
  if (!session_ || lingering_) return false;
  std::string_view rest = in_.view();
  while (true) {
    const wire::FrameView view = wire::peek_frame(rest);
    if (view.status != wire::FrameStatus::complete) return false;
    if (view.type == wire::frontend::terminate) return true;
    rest.remove_prefix(view.total);
  }
}

// Consumes from the front of `in`, whose memory stays as it is meanwhile. False when the
// connection is gone.
bool FrontConn::process(std::string_view& in) {
  if (startup_) return process_startup(in);
  if (lingering_) {
    in = {};
    return true;
  }
  if (console_) return process_console(in);
  const Next next = feed(in);
  return run(next, in);
}

Next FrontConn::feed(std::string_view& in) {
  if (pool_->route.settings.slow_statement > Duration::zero() || timer_) time_statement(in);
  return session_->on_client(in, worker_.output(), worker_.now());
}

// Does what the session asks for, until it waits for somebody else.
bool FrontConn::run(Next next, std::string_view& in) {
  while (true) {
    if (backend_ != nullptr && !session_->attached()) {
      // The session has let go of its backend; what was said goes out first.
      if (!flush()) return false;
      if (next != Next::release) backend_->core().retire = true;
      give_back();
      if (moves_ || sessions_ != pool_->sessions) take_sessions();
      if (worker_.departing() && in.empty()) worker_.offer(*this);
      if (next == Next::release) next = feed(in);
      continue;
    }
    switch (next) {
      case Next::release:  // of a backend that is gone already
        next = feed(in);
        continue;
      case Next::need_input:
        note_requests();
        return flush();
      case Next::close:
        if (!flush()) return false;
        return finish();
      case Next::need_backend:
        break;
    }
    if (!acquire()) {
      note_requests();
      return flush();
    }
    next = session_->on_granted(backend_->core(), worker_.output(), worker_.now());
    if (next == Next::need_input) next = feed(in);
  }
}

// False when the client has to wait.
bool FrontConn::acquire() {
  // What is known about the cluster may have changed a moment ago.
  if (pool_->cluster->holds(pool_->route.target)) worker_.follow(*pool_);
  BackConn* backend = nullptr;
  while (backend == nullptr) {
    const std::optional<BackendId> granted = pool_->pool.acquire(id_, last_backend_, worker_.now());
    worker_.touch(*pool_);
    if (!granted) {
      waiting_ = true;
      wait_started_ = worker_.now();
      return false;
    }
    backend = worker_.find_backend(*granted);
    if (backend->may_be_lent()) continue;
    backend->discard();
    backend = nullptr;
  }
  backend_ = backend;
  last_backend_ = backend->id();
  backend_->lend(*this);
  adopt_pid();
  pool_->metrics->backends_assigned.add();
  return true;
}

void FrontConn::give_back(bool abandoned) {
  BackConn* backend = backend_;
  backend_ = nullptr;
  backend->take_back(abandoned);
}

void FrontConn::on_granted(BackConn& backend) {
  waiting_ = false;
  backend_ = &backend;
  last_backend_ = backend.id();
  backend.lend(*this);
  adopt_pid();
  pool_->metrics->backends_assigned.add();
  pool_->metrics->wait_seconds.observe(worker_.now() - wait_started_);
  if (timer_) timer_->on_wait(worker_.now() - wait_started_);
  go_on(session_->on_granted(backend.core(), worker_.output(), worker_.now()));
}

// Behind an event that is not the client's: what it has said before may come to its turn now. The
// connection may end.
void FrontConn::go_on(Next next) {
  std::string_view in = in_.view();
  const std::size_t before = in.size();
  if (next == Next::need_input) next = feed(in);
  if (!run(next, in)) return;
  in_.consume(before - in.size());
  update_interest();
}

void FrontConn::on_acquire_failed(const wire::ErrorReport& report) {
  waiting_ = false;
  go_on(session_->on_acquire_failed(report, worker_.output(), worker_.now()));
}

void FrontConn::on_wait_notice() {
  session_->on_wait_notice(worker_.output());
  if (flush()) update_interest();
}

void FrontConn::on_backend_bytes(std::string_view& in) {
  Next next = session_->on_server(in, worker_.output(), worker_.now());
  if (next == Next::need_input && session_->attached() && in_.empty()) {
    // The usual case: more to come, or a transaction that goes on.
    static_cast<void>(flush());
    return;
  }
  std::string_view input = in_.view();
  const std::size_t before = input.size();
  if (next == Next::need_input) next = feed(input);
  if (!run(next, input)) return;
  in_.consume(before - input.size());
  if (before > 0) update_interest();
}

void FrontConn::on_backend_lost(std::string_view cause) {
  worker_.metrics().backends_lost.add();
  backend_ = nullptr;
  go_on(session_->on_backend_lost(cause, worker_.output(), worker_.now()));
}

// Sends what has gathered, in one burst for each side. False when the connection is gone.
bool FrontConn::flush() {
  session::Output& out = worker_.output();
  bool backend_lost = false;
  if (!out.to_server.empty()) {
    if (backend_ != nullptr) {
      pool_->metrics->bytes_to_servers.add(out.to_server.size());
      backend_lost = !backend_->send(out.to_server);
    }
  }
  bool client_lost = false;
  if (!out.to_client.empty()) {
    if (pool_ != nullptr) pool_->metrics->bytes_to_clients.add(out.to_client.size());
    std::size_t sent = 0;
    if (out_.empty()) {
      const net::IoResult result =
          socket_.send(out.to_client.slices().data(), out.to_client.slices().size());
      client_lost = result.status == net::IoResult::Status::failed;
      sent = result.bytes;
    }
    if (!client_lost && sent < out.to_client.size()) {
      for (const Slice& slice : out.to_client.slices()) {
        if (sent >= slice.size) {
          sent -= slice.size;
          continue;
        }
        out_.append({slice.data + sent, slice.size - sent});
        sent = 0;
      }
      if (backend_ != nullptr) backend_->pause_reading(true);
      update_interest();
    }
  }
  tally();
  out.clear();
  if (session_) watch_deadline();
  if (client_lost) {
    destroy();
    return false;
  }
  if (backend_lost) {
    // The reading side finds out and tells the session; it may have an answer to read yet.
    backend_->pause_reading(false);
  }
  return true;
}

// What could not be sent before. False when the client is gone.
bool FrontConn::send_to_client() {
  while (!out_.empty()) {
    const Slice slice{out_.view().data(), out_.size()};
    const net::IoResult result = socket_.send(&slice, 1);
    if (result.status == net::IoResult::Status::failed) return false;
    if (result.bytes == 0) return true;
    out_.consume(result.bytes);
  }
  return true;
}

// A request is under way from the moment that its bytes are here.
void FrontConn::note_requests() {
  if (request_started_ != never || session_ == nullptr) return;
  if (!waiting_ && !session_->busy()) return;
  request_started_ = waiting_ ? wait_started_ : worker_.now();
  if (transaction_started_ == never) transaction_started_ = request_started_;
}

void FrontConn::tally() {
  session::Output& out = worker_.output();
  if (out.queries > 0 && pool_ != nullptr) {
    metrics::PoolBlock& metrics = *pool_->metrics;
    answered_ += out.queries;
    metrics.queries.add(out.queries);
    metrics.transactions.add(out.transactions);
    if (timer_) log_slow_statement();
    if (request_started_ != never) {
      metrics.query_seconds.observe(worker_.now() - request_started_);
      request_started_ = never;
    }
    if (out.transactions > 0 && transaction_started_ != never) {
      metrics.transaction_seconds.observe(worker_.now() - transaction_started_);
      transaction_started_ = never;
    }
  }
  if (pool_ != nullptr && out.statements_parsed + out.statements_reused + out.binds > 0) {
    pool_->metrics->statements_parsed.add(out.statements_parsed);
    pool_->metrics->statements_reused.add(out.statements_reused);
    pool_->metrics->binds.add(out.binds);
  }
  if (out.errors > 0) {
    worker_.metrics().errors[metrics::WorkerBlock::error_index(out.error_class)].add(out.errors);
  }
  if (!out.replays.empty() || out.sample || out.token != retry::TokenUse::none ||
      out.unprotected != retry::Refusal::none) {
    tally_replays();
  }
  if (out.pins != 0 && pool_ != nullptr) {
    static constexpr auto first_reason = bit(sql::Effect::changes_setting);
    for (std::size_t i = 0; i < metrics::pin_reasons; ++i) {
      if ((out.pins & (first_reason << i)) == 0) continue;
      worker_.metrics().pins[i].add();
      if (std::exchange(pin_logged_, true)) continue;  // once is enough
      worker_.hub().log.write_limited(
          LogLevel::info, "client.pinned",
          "the session stays with its backend until it ends or takes this back",
          {{"client", peer_.text()},
           {"user", printable(user_)},
           {"database", printable(pool_->database)},
           {"reason", metrics::pin_reason_name(i)}});
    }
  }
}

void FrontConn::update_interest() {
  if (leaves_) {
    socket_.watch(false, false);
    return;
  }
  if (lingering_) {
    socket_.watch(true, !out_.empty());
    return;
  }
  const bool input_full = in_.size() >= input_limit &&
                          (session_ == nullptr || session_->client_bytes_wanted() <= in_.size());
  const bool suspended = worker_.gates().suspended && session_ != nullptr;
  const bool readable = !suspended && !input_ended_ && !input_full && out_.size() < output_limit &&
                        (backend_ == nullptr || !backend_->output_full());
  socket_.watch(readable, !out_.empty());
}

// The last word is said: see to it that it arrives. Closing a socket that has unread input resets
// the connection, and the client would never see why. False: the caller must not go on.
bool FrontConn::finish() {
  if (backend_ != nullptr) {
    static_cast<void>(session_->part());
    give_back();
  }
  stop_waiting();
  in_.release();
  if (!lingering_) {
    lingering_ = true;
    worker_.add_linger_deadline(id_, worker_.now() + linger_time);
  }
  if (out_.empty()) socket_.shut_down();
  update_interest();
  return false;
}

void FrontConn::destroy() {
  if (backend_ != nullptr) {
    static_cast<void>(session_->part());
    give_back(!input_ended_);
  }
  stop_waiting();
  worker_.remove_client(id_);
}

void FrontConn::drain() {
  if (console_ && !lingering_) {
    wire::ErrorReport report;
    report.sqlstate = wire::sqlstate::admin_shutdown;
    report.message = "terminating connection: dwspool is shutting down";
    static_cast<void>(end_by(std::move(report)));
    return;
  }
  if (lingering_ || !session_ || leaves_) return;  // who logs in is refused at the next step
  end_session("dwspool is shutting down");
}

void FrontConn::end_session(std::string_view why) {
  const Next next = session_->drain(worker_.output(), why);
  std::string_view nothing;
  if (next != Next::need_input) static_cast<void>(run(next, nothing));
}

void FrontConn::cancel(const std::function<void()>& done) {
  if (console_) {
    worker_.desk().give_up(id_, true);
    done();
    return;
  }
  if (waiting_ || (session_ && session_->pausing())) {
    const Next next = session_->on_cancel_while_waiting(worker_.output(), worker_.now());
    stop_waiting();
    go_on(next);
    done();
    return;
  }
  if (backend_ == nullptr || backend_->core().replies.empty()) {
    done();  // what it meant has ended
    return;
  }
  session_->on_cancel_sent();
  backend_->cancel(answered_, done);
}

// Out of the pool's queue.
void FrontConn::stop_waiting() {
  if (!waiting_) return;
  pool_->pool.abandon(id_, worker_.now());
  waiting_ = false;
  worker_.touch(*pool_);
}

void FrontConn::on_session_deadline() {
  session_deadline_ = never;
  const Next next = session_->on_timer(worker_.output(), worker_.now());
  if (waiting_ && session_->state() != session::SessionState::waiting) stop_waiting();
  go_on(next);
}

// The worker's timer calls on_session_deadline.
void FrontConn::watch_deadline() {
  if (session_->deadline() == session_deadline_) return;
  session_deadline_ = session_->deadline();
  if (session_deadline_ != never) worker_.add_session_deadline(id_, session_deadline_);
}

}  // namespace dwspool::proxy
