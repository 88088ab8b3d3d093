// A backend that has logged in, after proxy::BackConn.
#include <algorithm>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/startup.h"
#include "dwspool/wire/types.h"

#include "sim/shell.h"

namespace dwspool::sim {
namespace {

constexpr Duration cleaning_time = std::chrono::seconds{10};
constexpr Duration abandoned_time = std::chrono::seconds{1};

}  // namespace

void Back::lend(Front& client) {
  client_ = &client;
}

void Back::on_bytes(std::string_view bytes) {
  Shell& shell = shell_;
  const BackendId id = id_;
  const std::string whole = std::string(in_.view()) + std::string(bytes);
  in_.release();
  std::string_view view = whole;
  reading_ = &view;
  const bool lives = process(view) && shell.find_backend(id) == this;
  if (shell.find_backend(id) == this) reading_ = nullptr;
  if (lives) in_.assign(view);
  shell.settle();
}

void Back::on_end(bool clean) {
  Shell& shell = shell_;
  lost(clean ? "the server closed the connection" : "the connection failed");
  shell.settle();
}

bool Back::process(std::string_view& in) {
  Shell& shell = shell_;
  const BackendId id = id_;
  if (state_ == State::opening) {
    std::string answer;
    const login::BackendLogin::Need need = opening_->login->on_bytes(in, answer);
    if (!answer.empty() && !send_raw(answer)) {
      opening_->login->on_lost("could not send to the server");
      on_login_failed();
    } else {
      on_login_progress(need);
    }
    if (shell.find_backend(id) != this) return false;
    if (state_ == State::opening && !opening_->login) in = {};  // of the connection before
    if (state_ == State::opening || in.empty()) return true;
  }
  if (cleaner_) return run_cleaner(cleaner_->on_server(in, shell.output_));
  if (client_ != nullptr) {
    if (shell.context_.is_broken(Broken::leftover_bytes)) {
      for (std::string_view rest = in; !rest.empty();) {
        const wire::FrameView frame = wire::peek_frame(rest);
        if (frame.status != wire::FrameStatus::complete) break;
        if (frame.type == wire::backend::data_row) last_row_ = rest.substr(0, frame.total);
        rest.remove_prefix(frame.total);
      }
    }
    client_->on_backend_bytes(in);
    return shell.find_backend(id) == this;
  }
  on_idle_bytes(in);
  return shell.find_backend(id) == this;
}

void Back::on_idle_bytes(std::string_view& in) {
  while (true) {
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete || view.status == wire::FrameStatus::partial) {
      return;
    }
    if (view.status != wire::FrameStatus::complete) break;
    const wire::Frame frame = wire::take_frame(in, view);
    if (frame.type == wire::backend::notice_response) continue;
    if (frame.type == wire::backend::parameter_status) {
      const auto status = wire::read_parameter_status(frame.body());
      session::ReportedSet reported = *core_.reported;
      reported.set(status->name, status->value);
      core_.reported = shell_.reported_.intern(std::move(reported));
      continue;
    }
    if (frame.type == wire::backend::error_response) {
      lost("while idle");
      return;
    }
    break;
  }
  lost("the server sent what nobody had asked for");
}

void Back::lost(const std::string& cause) {
  if (state_ == State::opening) {
    if (opening_->login) {
      opening_->login->on_lost(cause);
      on_login_failed();
    }
    return;
  }
  Shell& shell = shell_;
  const BackendId id = id_;
  shell.context_.note([&] { return "  dwspool lost backend " + std::to_string(id.slot); });
  if (client_ != nullptr) {
    if (shell.context_.is_broken(Broken::resend_after_loss) && resend()) return;
    Front* client = client_;
    client_ = nullptr;
    client->on_backend_lost(cause);
    if (shell.find_backend(id) != this) return;
  }
  plug_.close();
  if (shell.context_.is_broken(Broken::lend_lost) && state_ == State::ready &&
      shell.pool_.first_idle() == id) {
    ++shell.context_.broken_times;
    return;
  }
  shell.pool_.on_lost(slot_, shell.context_.now);
  shell.dead_backends_.push_back(shell.backends_.take(id));
}

// The defect of Broken::resend_after_loss: a new connection takes the place of the old one.
bool Back::resend() {
  if (last_burst_.empty() || core_.replies.empty()) return false;
  auto [mine, theirs] = shell_.network_.connect();
  ServerProcess* process = shell_.cluster_.connect(coordinator_, std::move(theirs));
  if (process == nullptr) return false;
  ++shell_.context_.broken_times;
  process->skip_login();
  plug_ = std::move(mine);
  plug_.attach(*this);
  in_.release();
  return plug_.send(shell_.context_, last_burst_);
}

bool Back::send(const GatherList& bytes) {
  if (broken_) return false;
  const std::string flat = bytes.flatten();
  if (shell_.context_.is_broken(Broken::resend_after_loss)) last_burst_ = flat;
  shell_.context_.note([&] {
    return "  dwspool tells backend " + std::to_string(id_.slot) + ": " + message_types(flat);
  });
  if (!plug_.send(shell_.context_, flat)) broken_ = true;
  return !broken_;
}

bool Back::send_raw(std::string_view bytes) {
  GatherList list;
  list.add(bytes);
  return send(list);
}

// --- Back to the pool ----------------------------------------------------------------------------

void Back::make_way() {
  if (shell_.slots_->surplus() > 0) shell_.pool_.renew(slot_, shell_.context_.now);
}

void Back::take_back(bool abandoned) {
  client_ = nullptr;
  Context& context = shell_.context_;
  context.note([&] { return "  dwspool takes back backend " + std::to_string(id_.slot); });
  make_way();
  if (broken_ || core_.retire || cancel_lost_) {
    plug_.close();
    shell_.pool_.on_lost(slot_, context.now);
    shell_.dead_backends_.push_back(shell_.backends_.take(id_));
    return;
  }
  if (context.is_broken(Broken::skip_cleaning) && core_.dirty && core_.replies.quiet() &&
      core_.status == wire::TxStatus::idle) {
    ++context.broken_times;
    core_.dirty = false;
  }
  const bool owing = context.is_broken(Broken::give_back_owing) && !core_.replies.quiet();
  if (owing) {
    ++context.broken_times;
    core_.replies.clear();
    core_.dirty = false;
  }
  if (!owing && session::Cleaner::needed(core_)) {
    shell_.pool_.give_back_dirty(slot_);
    state_ = State::cleaning;
    cleaning_ends_ = context.now + cleaning_time;
    deadline_ = abandoned ? context.now + abandoned_time : cleaning_ends_;
    cleaner_ = std::make_unique<session::Cleaner>(core_, shell_.reported_, shell_.no_settings_);
    shell_.output_.clear();
    static_cast<void>(run_cleaner(cleaner_->start(shell_.output_)));
    return;
  }
  if (cancels_in_flight_ > 0 && !context.is_broken(Broken::late_cancel)) {
    shell_.pool_.give_back_dirty(slot_);
    state_ = State::cleaning;
    return;
  }
  if (cancels_in_flight_ > 0) ++context.broken_times;
  shell_.pool_.give_back(slot_, never, context.now);
}

bool Back::run_cleaner(session::Cleaner::State state) {
  GatherList& bytes = shell_.output_.to_server;
  bool sent = true;
  if (!bytes.empty()) {
    std::string flat = bytes.flatten();
    const std::size_t at = flat.find("ROLLBACK");
    if (shell_.context_.is_broken(Broken::commit_leftovers) && at != std::string::npos) {
      ++shell_.context_.broken_times;
      flat.replace(at, 8, "COMMIT  ");
    }
    // The Execute that makes an open batch fail in front of its Sync.
    if (shell_.context_.is_broken(Broken::commit_half_batch) && flat.front() == 'E') {
      ++shell_.context_.broken_times;
      flat.erase(0, wire::peek_frame(flat).total);
    }
    sent = send_raw(flat);
  }
  shell_.output_.clear();
  if (!sent || state == session::Cleaner::State::failed) {
    lost("it could not be cleaned after its client");
    return false;
  }
  if (state != session::Cleaner::State::done) return true;
  cleaner_.reset();
  deadline_ = never;
  if (cancels_in_flight_ > 0) return true;
  return cleaned();
}

void Back::on_deadline() {
  if (state_ == State::opening) {
    connecting_ = false;
    if (opening_->login) {
      opening_->login->on_lost("the server did not answer in time");
      on_login_failed();
    } else {
      coordinator_failed("the server did not answer in time");
    }
    return;
  }
  if (state_ != State::cleaning) {
    deadline_ = never;
    return;
  }
  const TimePoint now = shell_.context_.now;
  if (now >= cleaning_ends_) {
    lost("what its client left behind did not end in time");
    return;
  }
  deadline_ = std::min(now + abandoned_time, cleaning_ends_);
  if (cleaner_ && cleaner_->state() == session::Cleaner::State::finishing) send_cancel([] {});
}

void Back::close() {
  std::string bytes;
  wire::append_terminate(bytes);
  static_cast<void>(send_raw(bytes));
  plug_.close();
  shell_.dead_backends_.push_back(shell_.backends_.take(id_));
}

// --- Cancelling ----------------------------------------------------------------------------------

void Back::cancel(std::uint64_t request, const std::function<void()>& done) {
  if (cancels_in_flight_ > 0 && request == cancelled_request_) {
    done();
    return;
  }
  cancelled_request_ = request;
  send_cancel(done);
}

void Back::send_cancel(std::function<void()> done) {
  ++cancels_in_flight_;
  shell_.cancel_conns_.push_back(
      std::make_unique<CancelConn>(shell_, id_, coordinator_, core_.key, std::move(done)));
}

void Back::on_cancel_finished(bool dealt_with) {
  --cancels_in_flight_;
  cancel_lost_ = cancel_lost_ || !dealt_with;
  if (cancels_in_flight_ > 0 || state_ != State::cleaning || cleaner_) return;
  static_cast<void>(cleaned());
}

bool Back::cleaned() {
  if (cancel_lost_) {
    lost("a request to cancel may still be on its way to it");
    return false;
  }
  state_ = State::ready;
  make_way();
  shell_.pool_.on_cleaned(slot_, never, shell_.context_.now);
  return true;
}

CancelConn::CancelConn(Shell& shell, BackendId backend, std::size_t coordinator, wire::KeyData key,
                       std::function<void()> done)
    : shell_(shell),
      backend_(backend),
      coordinator_(coordinator),
      key_(std::move(key)),
      done_(std::move(done)),
      deadline_(shell.context_.now + std::chrono::seconds{5}) {}

void CancelConn::on_connected(bool reachable) {
  connecting_ = false;
  if (reachable) {
    auto [mine, theirs] = shell_.network_.connect();
    if (shell_.cluster_.connect(coordinator_, std::move(theirs)) != nullptr) {
      plug_ = std::move(mine);
      plug_.attach(*this);
      sent_ = plug_.send(shell_.context_, wire::write_cancel_request(key_.pid, key_.secret));
      if (sent_) return;
    }
  }
  finish(true);
}

void CancelConn::finish(bool dealt_with) {
  if (finished_) return;
  finished_ = true;
  connecting_ = false;
  plug_.close();
  Shell& shell = shell_;
  if (Back* backend = shell.find_backend(backend_))
    backend->on_cancel_finished(dealt_with || !sent_);
  done_();
  shell.settle();
}

}  // namespace dwspool::sim
