// A backend that has logged in: lent, idle, or being cleaned. Opening is in back_open.cpp.
#include "dwspool/proxy/back_conn.h"

#include <algorithm>
#include <cstring>

#include "dwspool/base/text.h"

#include "dwspool/wire/frame.h"

#include "dwspool/proxy/endpoints.h"
#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

constexpr int reads_per_event = 4;
// How long what a client has left behind may run on before the connection is closed instead.
constexpr Duration cleaning_time = std::chrono::seconds{10};
// How long until it is cancelled, if its client has vanished; and until the next statement behind
// it is.
constexpr Duration abandoned_time = std::chrono::seconds{1};

}  // namespace

// --- Cancelling ----------------------------------------------------------------------------------

void BackConn::cancel(std::uint64_t request, const std::function<void()>& done) {
  if (cancels_in_flight_ > 0 && request == cancelled_request_) {
    done();
    return;
  }
  cancelled_request_ = request;
  const auto finish = [&counters = worker_.metrics(), done](bool sent) {
    if (sent) counters.cancels_forwarded.add();
    done();
  };
  if (!send_cancel(finish)) done();
}

// False when it is not known where to.
bool BackConn::send_cancel(std::function<void(bool sent)> done) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  const bool known =
      socket_ && ::getpeername(socket_->fd(), reinterpret_cast<sockaddr*>(&storage), &size) == 0;
  if (!known) return false;
  ++cancels_in_flight_;
  // A key that came by TLS does not go out in clear.
  std::unique_ptr<tls::Engine> engine;
  if (socket_->tls() != nullptr) {
    engine = worker_.hub().tls.engine_to(*pool_.route.cluster, pool_.cluster->host(host_));
  }
  worker_.send_cancel(id_, {reinterpret_cast<sockaddr*>(&storage), size}, std::move(engine),
                      core_.key, std::move(done));
  return true;
}

void BackConn::on_cancel_finished(bool dealt_with) {
  --cancels_in_flight_;
  cancel_lost_ = cancel_lost_ || !dealt_with;
  if (cancels_in_flight_ > 0 || state_ != State::cleaning || cleaner_) return;
  static_cast<void>(cleaned());
}

// False when *this is gone.
bool BackConn::cleaned() {
  if (cancel_lost_) {
    lost("a request to cancel may still be on its way to it");
    return false;
  }
  if (!may_be_lent()) {
    discard();
    return false;
  }
  state_ = State::ready;
  make_way();
  pool_.pool.on_cleaned(slot_, pool_.slots->foreign_wait(worker_.index()), worker_.now());
  worker_.touch(pool_);
  return true;
}

// --- The socket ----------------------------------------------------------------------------------

void BackConn::on_ready(bool readable, bool writable) {
  Worker& worker = worker_;
  const BackendId id = id_;
  if (writable && !flush_out()) {
    lost("could not send to the server");
  } else if (readable) {
    read_some();
  } else {
    update_interest();
  }
  static_cast<void>(id);
  worker.settle();
}

void BackConn::read_some() {
  Worker& worker = worker_;
  const BackendId id = id_;
  for (int i = 0; i < reads_per_event; ++i) {
    const std::size_t kept = in_.size();
    const bool in_place = kept > Worker::keep_size;
    const std::size_t room = Worker::read_size;
    char* buffer = nullptr;
    if (in_place) {
      buffer = in_.grow_by(room);
    } else {
      if (kept > 0) std::memcpy(worker_.buffer(), in_.view().data(), kept);
      buffer = worker_.buffer() + kept;
    }
    const net::IoResult got = socket_->receive(buffer, room);
    if (in_place) in_.shrink_by(room - got.bytes);
    if (got.status == net::IoResult::Status::would_block) return;
    if (got.status == net::IoResult::Status::closed) {
      lost("the server closed the connection");
      return;
    }
    if (got.status == net::IoResult::Status::failed) {
      lost("the connection failed: " + socket_->failure_text(got));
      return;
    }
    if (pool_.metrics) pool_.metrics->bytes_from_servers.add(got.bytes);
    std::string_view view =
        in_place ? in_.view() : std::string_view(worker.buffer(), kept + got.bytes);
    if (!process(view) || worker.find_backend(id) != this) return;
    in_.assign(view);
    if (got.bytes < room || paused_ || !socket_) return;
  }
}

// Consumes from the front of `in`. False when *this is gone.
bool BackConn::process(std::string_view& in) {
  Worker& worker = worker_;
  const BackendId id = id_;
  if (state_ == State::opening && opening_->asked_for_tls) {
    on_encryption_answer(in);
    return worker.find_backend(id) == this;
  }
  if (state_ == State::opening) {
    if (!has_turn()) return worker.find_backend(id) == this;
    std::string answer;
    if (socket_->tls() != nullptr) {
      opening_->login->set_end_point(socket_->tls()->server_end_point());
    }
    const login::BackendLogin::Need need = opening_->login->on_bytes(in, answer);
    if (!answer.empty() && !send_raw(answer)) {
      opening_->login->on_lost("could not send to the server");
      on_login_failed();
    } else {
      on_login_progress(need);
    }
    if (worker.find_backend(id) != this) return false;
    if (state_ == State::opening && !opening_->login) in = {};  // of the connection before
    if (state_ == State::opening || in.empty()) return true;
  }
  if (cleaner_) return run_cleaner(cleaner_->on_server(in, worker.output()));
  if (client_ != nullptr) {
    client_->on_backend_bytes(in);
    return worker.find_backend(id) == this;
  }
  on_idle_bytes(in);
  return worker.find_backend(id) == this;
}

// Nobody has asked anything: parameters may change and notices may come, all else is the end.
void BackConn::on_idle_bytes(std::string_view& in) {
  while (true) {
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete ||
        (view.status == wire::FrameStatus::partial && view.total < Worker::keep_size)) {
      return;
    }
    if (view.status != wire::FrameStatus::complete) break;
    const wire::Frame frame = wire::take_frame(in, view);
    if (frame.type == wire::backend::notice_response ||
        frame.type == wire::backend::notification_response) {
      continue;
    }
    if (frame.type == wire::backend::parameter_status) {
      const auto status = wire::read_parameter_status(frame.body());
      if (!status) break;
      session::ReportedSet reported = *core_.reported;
      reported.set(status->name, status->value);
      core_.reported = worker_.reported().intern(std::move(reported));
      continue;
    }
    if (frame.type == wire::backend::error_response) {
      lost("while idle: " + printable(wire::read_error(frame.body()).message, 256));
      return;
    }
    break;
  }
  lost("the server sent what nobody had asked for");
}

// The connection has ended. Destroys *this.
void BackConn::lost(const std::string& cause) {
  if (state_ == State::opening) {
    if (opening_->asked_for_tls) {
      host_failed(cause, metrics::OpenFailure::connect);
    } else if (socket_->tls() != nullptr && !socket_->tls()->handshake_done()) {
      tls_failed(cause);
    } else if (opening_->login) {
      opening_->login->on_lost(cause);
      on_login_failed();
    }
    return;
  }
  Worker& worker = worker_;
  const bool in_use = client_ != nullptr;
  pool_.cluster->on_lost(host_, worker.now());
  worker.hub().log.write_limited(
      in_use ? LogLevel::warning : LogLevel::debug, in_use ? "backend.lost" : "backend.closed",
      in_use ? "a backend was lost while a client used it" : "an idle backend has gone",
      {{"coordinator", label()},
       {"database", printable(pool_.database)},
       {"user", printable(pool_.route.user)},
       {"cause", printable(cause, 256)}});
  if (in_use) {
    FrontConn* client = client_;
    client_ = nullptr;
    const BackendId id = id_;
    client->on_backend_lost(cause);
    if (worker.find_backend(id) != this) return;
  }
  pool_.pool.on_lost(slot_, worker.now());
  worker.touch(pool_);
  worker.remove_backend(id_);
}

bool BackConn::send(const GatherList& bytes) {
  if (broken_) return false;
  std::size_t sent = 0;
  if (out_.empty()) {
    const net::IoResult result = socket_->send(bytes.slices().data(), bytes.slices().size());
    if (result.status == net::IoResult::Status::failed) {
      broken_ = true;
      return false;
    }
    sent = result.bytes;
  }
  if (sent == bytes.size()) return true;
  for (const Slice& slice : bytes.slices()) {
    if (sent >= slice.size) {
      sent -= slice.size;
      continue;
    }
    out_.append({slice.data + sent, slice.size - sent});
    sent = 0;
  }
  update_interest();
  return true;
}

bool BackConn::send_raw(std::string_view bytes) {
  GatherList list;
  list.add(bytes);
  return send(list);
}

bool BackConn::flush_out() {
  while (!out_.empty()) {
    const Slice slice{out_.view().data(), out_.size()};
    const net::IoResult result = socket_->send(&slice, 1);
    if (result.status == net::IoResult::Status::failed) {
      broken_ = true;
      return false;
    }
    if (result.bytes == 0) return true;
    out_.consume(result.bytes);
  }
  if (client_ != nullptr) client_->on_backend_drained();
  return true;
}

void BackConn::pause_reading(bool paused) {
  paused_ = paused;
  update_interest();
}

void BackConn::update_interest() {
  const bool suspended = worker_.gates().suspended && state_ == State::ready;
  if (socket_) socket_->watch(!paused_ && !suspended, !out_.empty());
}

// --- What the cluster says -----------------------------------------------------------------------

bool BackConn::may_be_lent() const {
  return pool_.cluster->serves(host_, pool_.route.target) &&
         pool_.cluster->epoch(host_) == epoch_ && leads_to_host();
}

bool BackConn::leads_to_host() const {
  if (!socket_ || generation_ == pool_.cluster->generation(host_)) return true;
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getpeername(socket_->fd(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return true;
  return pool_.cluster->still_leads(host_, {reinterpret_cast<sockaddr*>(&storage), size},
                                    generation_);
}

void BackConn::on_topology() {
  const bool former = pool_.cluster->epoch(host_) != epoch_;
  if (state_ == State::opening) {
    if (!counted_in_cluster_) return;  // it does not connect to anybody yet
    counted_in_cluster_ = false;
    pool_.cluster->on_open_abandoned(host_, pool_.route.target, worker_.now());
    opening_->connector.reset();
    try_next_host();
  } else if (former) {
    lost("the host is not the primary any more, or has not answered for too long");
  } else if (client_ == nullptr && state_ == State::ready) {
    discard();
  }
}

bool BackConn::is_to_move() {
  return client_ == nullptr && state_ == State::ready && pool_.pool.at_minimum() &&
         pool_.cluster->take_shed(host_, pool_.route.target);
}

void BackConn::discard() {
  pool_.pool.on_lost(slot_, worker_.now());
  worker_.touch(pool_);
  close();
}

// --- Back to the pool ----------------------------------------------------------------------------

void BackConn::make_way() {
  if (pool_.slots->surplus() > 0) pool_.pool.renew(slot_, worker_.now());
}

void BackConn::take_back(bool abandoned) {
  client_ = nullptr;
  if (paused_) pause_reading(false);
  Worker& worker = worker_;
  make_way();
  if (broken_ || core_.retire || cancel_lost_ || !may_be_lent() ||
      pool_.cluster->take_shed(host_, pool_.route.target) ||
      (pool_.quota && pool_.quota->take_yield())) {
    pool_.pool.on_lost(slot_, worker.now());
    worker.touch(pool_);
    worker.remove_backend(id_);
    return;
  }
  if (session::Cleaner::needed(core_)) {
    pool_.pool.give_back_dirty(slot_);
    state_ = State::cleaning;
    cleaning_ends_ = worker.now() + cleaning_time;
    deadline_ = abandoned ? worker.now() + abandoned_time : cleaning_ends_;
    worker.add_backend_deadline(id_, deadline_);
    cleaner_ = std::make_unique<session::Cleaner>(core_, worker.reported(), worker.no_settings());
    worker.touch(pool_);
    worker.output().clear();
    static_cast<void>(run_cleaner(cleaner_->start(worker.output())));
    return;
  }
  if (cancels_in_flight_ > 0) {
    // The cancel may yet arrive: whoever got the backend now would be hit by it.
    pool_.pool.give_back_dirty(slot_);
    state_ = State::cleaning;
  } else {
    pool_.pool.give_back(slot_, pool_.slots->foreign_wait(worker.index()), worker.now());
  }
  worker.touch(pool_);
}

// False when *this is gone.
bool BackConn::run_cleaner(session::Cleaner::State state) {
  Worker& worker = worker_;
  GatherList& bytes = worker.output().to_server;
  const bool sent = bytes.empty() || send(bytes);
  worker.output().clear();
  if (!sent || state == session::Cleaner::State::failed) {
    lost("it could not be cleaned after its client");
    return false;
  }
  if (state != session::Cleaner::State::done) return true;
  cleaner_.reset();
  deadline_ = never;
  if (cancels_in_flight_ > 0) return true;  // on_cancel_finished goes on
  return cleaned();
}

void BackConn::on_deadline() {
  if (state_ == State::opening && worker_.now() < opening_->gives_up_at &&
      opening_->gives_up_at != never) {
    const std::string received(in_.view());
    std::string_view view = received;
    Worker& worker = worker_;
    const BackendId id = id_;
    if (process(view) && worker.find_backend(id) == this) in_.assign(view);
    return;
  }
  if (state_ == State::opening) {
    opening_->connector.reset();
    if (opening_->login) {
      opening_->login->on_lost("the server did not answer in time");
      on_login_failed();
    } else {
      host_failed("the server did not answer in time", metrics::OpenFailure::timeout);
    }
    return;
  }
  if (state_ != State::cleaning) return;
  if (worker_.now() >= cleaning_ends_) {
    lost("what its client left behind did not end in time");
    return;
  }
  if (cleaner_ && cleaner_->state() == session::Cleaner::State::finishing) {
    static_cast<void>(send_cancel([](bool) {}));
  }
  deadline_ = std::min(worker_.now() + abandoned_time, cleaning_ends_);
  worker_.add_backend_deadline(id_, deadline_);
}

console::ConnectionFacts BackConn::facts() const {
  console::ConnectionFacts facts;
  facts.is_client = false;
  facts.user = printable(pool_.route.user);
  facts.database = printable(pool_.database);
  facts.state = state_ == State::opening    ? "login"
                : cancels_in_flight_ > 0    ? "being_canceled"
                : state_ == State::cleaning ? "tested"
                : client_ != nullptr        ? "active"
                                            : "idle";
  if (socket_) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    if (::getpeername(socket_->fd(), reinterpret_cast<sockaddr*>(&storage), &size) == 0) {
      set_endpoints(facts, socket_->fd(), {reinterpret_cast<sockaddr*>(&storage), size});
    }
  }
  const TimePoint now = worker_.now();
  facts.connected_at =
      wall_microseconds(state_ == State::opening ? opening_since_ : opened_at_, now);
  facts.request_at = facts.connected_at;
  facts.close_needed = core_.retire || broken_;
  facts.pointer = pointer_of(worker_.index(), false, id_.slot);
  if (client_ != nullptr) {
    facts.link = pointer_of(worker_.index(), true, client_->id().slot);
    const console::ConnectionFacts client = client_->facts();
    facts.application_name = client.application_name;
    facts.request_at = client.request_at;
  }
  facts.remote_pid = core_.key.pid;
  facts.prepared_statements = core_.statements.size();
  facts.input_waiting = in_.size();
  facts.output_waiting = out_.size();
  return facts;
}

void BackConn::close() {
  std::string bytes;
  wire::append_terminate(bytes);
  if (socket_) static_cast<void>(send_raw(bytes));
  worker_.remove_backend(id_);
}

BackendTransfer BackConn::hand_over() {
  std::unique_ptr<net::TlsState> tls = socket_->release_tls();
  BackendTransfer transfer{socket_->release(), std::move(tls), std::move(core_),
                           std::move(in_),     host_,          epoch_,
                           opened_at_};
  counted_in_cluster_ = false;  // it lives on
  worker_.remove_backend(id_);
  return transfer;
}

}  // namespace dwspool::proxy
