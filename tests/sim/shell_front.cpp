// A client's connection, after proxy::FrontConn.
#include "dwspool/wire/frame.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/client_auth.h"

#include "sim/shell.h"

namespace dwspool::sim {

using session::Next;

namespace {
constexpr Duration linger_time = std::chrono::seconds{2};
}

Front::Front(Shell& shell, ClientId id, Plug plug)
    : shell_(shell),
      id_(id),
      plug_(std::move(plug)),
      startup_(std::make_unique<session::StartupFlow>()) {
  plug_.attach(*this);
}

void Front::on_bytes(std::string_view bytes) {
  Shell& shell = shell_;
  const ClientId id = id_;
  if (!lingering_) {
    const std::string whole = std::string(in_.view()) + std::string(bytes);
    std::string_view view = whole;
    if (shell.context_.is_broken(Broken::replay_what_was_told)) heard_ = whole;
    if (process(view) && shell.find_client(id) == this) in_.assign(view);
  }
  shell.settle();
}

void Front::on_end(bool /*clean*/) {
  Shell& shell = shell_;
  if (said_goodbye()) {
    input_ended_ = true;
  } else {
    destroy();
  }
  shell.settle();
}

bool Front::said_goodbye() const {
  if (!session_ || lingering_) return false;
  std::string_view rest = in_.view();
  while (true) {
    const wire::FrameView view = wire::peek_frame(rest);
    if (view.status != wire::FrameStatus::complete) return false;
    if (view.type == wire::frontend::terminate) return true;
    rest.remove_prefix(view.total);
  }
}

bool Front::process(std::string_view& in) {
  if (startup_) return process_startup(in);
  if (lingering_) {
    in = {};
    return true;
  }
  return run(session_->on_client(in, shell_.output_, shell_.context_.now), in);
}

bool Front::process_startup(std::string_view& in) {
  using Need = session::StartupFlow::Need;
  Need need = startup_->on_bytes(in, shell_.output_);
  if (need == Need::user) {
    if (shell_.draining_) {
      wire::ErrorReport report;
      report.sqlstate = wire::sqlstate::cannot_connect_now;
      report.message = "dwspool is shutting down";
      need = startup_->refuse(std::move(report), shell_.output_);
    } else {
      auth::ClientAuth::Request request;
      request.method = auth::ClientMethod::trust;
      request.user = startup_->user();
      need = startup_->authenticate(std::move(request), shell_.output_);
    }
  }
  switch (need) {
    case Need::cancel:
      lingering_ = true;
      shell_.forward_cancel(startup_->cancel_request(), id_);
      return false;
    case Need::close:
      if (!flush()) return false;
      return finish();
    case Need::accepted:
      if (!start_session()) return false;
      return process(in);
    default:
      return flush();
  }
}

bool Front::start_session() {
  last_backend_ = shell_.pool_.first_idle();
  const Back* next = shell_.find_backend(last_backend_);
  key_ = shell_.cancels_.add({0, id_}, next != nullptr ? next->core().key.pid : 0);
  sessions_ = shell_.sessions_;
  replay_deadline_ = shell_.options_.replay.deadline;
  session_ = std::make_unique<session::ReplayedSession>(
      sessions_->context, &sessions_->replay, ++shell_.last_session_,
      shell_.settings_.intern(startup_->settings().settings), key_);
  startup_.reset();
  std::string_view nothing;
  return run(session_->start(shell_.output_), nothing);
}

void Front::adopt_pid() {
  if (session_->state() != session::SessionState::starting) return;
  shell_.cancels_.remove(key_);
  key_ = shell_.cancels_.add({0, id_}, backend_->core().key.pid);
  session_->set_key(key_);
}

bool Front::run(Next next, std::string_view& in) {
  while (true) {
    if (backend_ != nullptr && !session_->attached()) {
      if (!flush()) return false;
      if (next != Next::release) backend_->core().retire = true;
      give_back(false);
      take_sessions();
      if (in.empty()) move();
      if (next == Next::release)
        next = session_->on_client(in, shell_.output_, shell_.context_.now);
      continue;
    }
    switch (next) {
      case Next::release:
        next = session_->on_client(in, shell_.output_, shell_.context_.now);
        continue;
      case Next::need_input:
        return flush();
      case Next::close:
        if (!flush()) return false;
        return finish();
      case Next::need_backend:
        break;
    }
    if (!acquire()) return flush();
    next = session_->on_granted(backend_->core(), shell_.output_, shell_.context_.now);
    if (next == Next::need_input)
      next = session_->on_client(in, shell_.output_, shell_.context_.now);
  }
}

// Now and then a session goes on in another process: what it has there is what its image says.
void Front::move() {
  if (++shell_.releases_ % 7 != 0 || !in_.empty()) return;
  std::optional<session::SessionImage> image = session_->image();
  if (!image) return;
  if (shell_.context_.is_broken(Broken::forget_in_another_process)) {
    if (image->wanted != image->startup) ++shell_.context_.broken_times;
    image->wanted = image->startup;
  }
  const auto arrived = session::decode_session_image(session::encode(*image));
  if (!arrived) {
    shell_.context_.violate("a session's image cannot be read");
    return;
  }
  shell_.context_.note([&] { return "  client " + std::to_string(id_.slot) + " moves"; });
  session_ = std::make_unique<session::ReplayedSession>(sessions_->context, &sessions_->replay,
                                                        ++shell_.last_session_, *arrived, key_);
}

void Front::go_on(Next next) {
  Shell& shell = shell_;
  const ClientId id = id_;
  const std::string input(in_.view());
  std::string_view in = input;
  if (next == Next::need_input) next = session_->on_client(in, shell_.output_, shell_.context_.now);
  if (!run(next, in) || shell.find_client(id) != this) return;
  in_.consume(input.size() - in.size());
}

void Front::take_sessions() {
  if (!session_ || sessions_ == shell_.sessions_) return;
  if (!session_->set_context(shell_.sessions_->context, &shell_.sessions_->replay)) return;
  sessions_ = shell_.sessions_;
  replay_deadline_ = shell_.options_.replay.deadline;
}

bool Front::acquire() {
  const auto granted = shell_.pool_.acquire(id_, last_backend_, shell_.context_.now);
  if (!granted) {
    if (shell_.context_.is_broken(Broken::lend_busy)) {
      Back* busy = nullptr;
      shell_.backends_.for_each([&](Back& back) {
        if (back.client_ != nullptr && back.client_ != this) busy = &back;
      });
      if (busy != nullptr) {
        ++shell_.context_.broken_times;
        shell_.pool_.abandon(id_, shell_.context_.now);
        lend(*busy);
        return true;
      }
    }
    waiting_ = true;
    wait_started_ = shell_.context_.now;
    return false;
  }
  lend(*shell_.find_backend(*granted));
  return true;
}

void Front::lend(Back& backend) {
  if (shell_.lend_watch_) shell_.lend_watch_(backend);
  shell_.context_.note([&] {
    return "  dwspool lends backend " + std::to_string(backend.id().slot) + " to client " +
           std::to_string(id_.slot);
  });
  backend_ = &backend;
  last_backend_ = backend.id();
  backend.lend(*this);
  adopt_pid();
  if (shell_.context_.is_broken(Broken::forget_settings) &&
      session_->state() != session::SessionState::starting &&
      backend.core().applied != session_->wanted_settings()) {
    ++shell_.context_.broken_times;
    backend.core().applied = session_->wanted_settings();
  }
  if (shell_.context_.is_broken(Broken::forget_sql_statements) && backend.core().sql_statements) {
    ++shell_.context_.broken_times;
    backend.core().sql_statements.reset();
  }
  if (shell_.context_.is_broken(Broken::leftover_bytes) && !backend.last_row_.empty()) {
    ++shell_.context_.broken_times;
    shell_.output_.to_client.copy(backend.last_row_);
    backend.last_row_.clear();
  }
}

void Front::give_back(bool abandoned) {
  Back* backend = backend_;
  backend_ = nullptr;
  backend->take_back(abandoned);
}

void Front::on_granted(Back& backend) {
  waiting_ = false;
  if (shell_.context_.is_broken(Broken::forget_waiter) && shell_.context_.random.chance(20)) {
    ++shell_.context_.broken_times;
    return;
  }
  lend(backend);
  go_on(session_->on_granted(backend.core(), shell_.output_, shell_.context_.now));
}

void Front::on_acquire_failed(const wire::ErrorReport& report) {
  waiting_ = false;
  go_on(session_->on_acquire_failed(report, shell_.output_, shell_.context_.now));
}

void Front::on_wait_notice() {
  session_->on_wait_notice(shell_.output_);
  flush();
}

void Front::on_backend_bytes(std::string_view& in) {
  go_on(session_->on_server(in, shell_.output_, shell_.context_.now));
}

void Front::on_backend_lost(std::string_view cause) {
  backend_ = nullptr;
  go_on(session_->on_backend_lost(cause, shell_.output_, shell_.context_.now));
}

bool Front::flush() {
  session::Output& out = shell_.output_;
  if (!out.to_server.empty() && backend_ != nullptr) {
    static_cast<void>(backend_->send(out.to_server));
  }
  bool client_lost = false;
  if (!out.to_client.empty()) {
    const std::string bytes = shell_.context_.broken == Broken::nothing
                                  ? out.to_client.flatten()
                                  : tamper_.apply(shell_.context_, out.to_client.flatten());
    shell_.context_.note([&] {
      return "  dwspool tells client " + std::to_string(id_.slot) + ": " + message_types(bytes);
    });
    client_lost = !plug_.send(shell_.context_, bytes);
  }
  watch_replay();
  answered_ += out.queries;
  out.clear();
  if (client_lost) {
    destroy();
    return false;
  }
  return true;
}

bool Front::finish() {
  if (backend_ != nullptr) {
    static_cast<void>(session_->part());
    give_back(false);
  }
  stop_waiting();
  in_.release();
  lingering_ = true;
  linger_ends_ = shell_.context_.now + linger_time;
  // shutdown(): the client reads to the end.
  if (plug_) {
    Wire* wire = plug_.wire();
    for (Stream& stream : wire->streams) {
      if (stream.to != this) stream.ended = true;
    }
  }
  return false;
}

void Front::destroy() {
  if (backend_ != nullptr) {
    static_cast<void>(session_->part());
    give_back(!input_ended_);
  }
  stop_waiting();
  plug_.close();
  shell_.remove_client(id_);
}

void Front::drain() {
  if (lingering_ || !session_) return;
  const Next next = session_->drain(shell_.output_);
  std::string_view nothing;
  if (next != Next::need_input) static_cast<void>(run(next, nothing));
}

void Front::cancel(const std::function<void()>& done) {
  if (waiting_ || (session_ && session_->pausing())) {
    const Next next = session_->on_cancel_while_waiting(shell_.output_, shell_.context_.now);
    stop_waiting();
    go_on(next);
    done();
    return;
  }
  Back* target = backend_;
  if (shell_.context_.is_broken(Broken::cancel_who_has_it_now) && target == nullptr) {
    target = shell_.find_backend(last_backend_);
    if (target != nullptr) ++shell_.context_.broken_times;
  }
  if (shell_.context_.is_broken(Broken::cancel_anybody)) {
    shell_.backends_.for_each([&](Back& back) {
      if (back.client_ != nullptr && back.client_ != this) target = &back;
    });
    if (target != backend_) ++shell_.context_.broken_times;
  }
  if (target == nullptr || target->core().replies.empty()) {
    done();
    return;
  }
  session_->on_cancel_sent();
  target->cancel(answered_, done);
}

void Front::stop_waiting() {
  if (waiting_) shell_.pool_.abandon(id_, shell_.context_.now);
  waiting_ = false;
}

void Front::on_session_deadline() {
  const Next next = session_->on_timer(shell_.output_, shell_.context_.now);
  if (waiting_ && session_->state() != session::SessionState::waiting) stop_waiting();
  go_on(next);
}

}  // namespace dwspool::sim
