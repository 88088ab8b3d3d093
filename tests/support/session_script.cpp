#include "support/session_script.h"

#include "dwspool/wire/frame.h"

namespace dwspool::testing {
namespace {

std::string describe_frame(const wire::Frame& frame, bool from_backend) {
  std::string text(1, frame.type);
  const std::string_view body = frame.body();
  if (from_backend) {
    switch (frame.type) {
      case 'Z':
        return text + ":" + std::string(body);
      case 'E':
      case 'N':
        return text + ":" + std::string(wire::read_error(body).sqlstate);
      case 'C':
        return text + ":" + std::string(wire::read_command_tag(body));
      case 'S': {
        const auto status = wire::read_parameter_status(body);
        return text + ":" + std::string(status->name) + "=" + std::string(status->value);
      }
      default:
        return text;
    }
  }
  switch (frame.type) {
    case 'Q':
      return text + ":" + std::string(body.substr(0, body.find('\0')));
    case 'P': {
      const auto message = wire::read_parse(body);
      return text + ":" + std::string(message->name) + "=" + std::string(message->query);
    }
    case 'B': {
      const auto prefix = wire::read_bind_prefix(body);
      return text + ":" + std::string(prefix->statement);
    }
    case 'C':
    case 'D':
      return text + ":" + std::string(body.substr(0, body.find('\0')));
    default:
      return text;
  }
}

}  // namespace

std::string summary(std::string_view bytes, bool from_backend) {
  std::string text;
  while (!bytes.empty()) {
    const wire::FrameView view = wire::peek_frame(bytes);
    REQUIRE(view.status == wire::FrameStatus::complete);
    if (!text.empty()) text += ' ';
    text += describe_frame(wire::take_frame(bytes, view), from_backend);
  }
  return text;
}

SessionScript::SessionScript(PoolMode mode, session::SettingSet startup, Dialect dialect,
                             std::optional<retry::ReplayOptions> replay)
    : context_{{mode, mode != PoolMode::statement, 200, std::size_t{1} << 20U, nullptr},
               statements_,
               settings_,
               reported_,
               welcome_},
      dialect_(dialect) {
  own_backend_ = std::make_unique<session::Backend>(make_backend());
  if (replay) replay_ = std::make_unique<session::ReplayContext>(*replay, retry::ErrorTable());
  session_ = std::make_unique<session::ReplayedSession>(
      context_, replay_.get(), 7, settings_.intern(std::move(startup)), wire::KeyData{42, "abcd"});
}

session::Backend SessionScript::make_backend() {
  session::Backend backend;
  session::ReportedSet reported;
  reported.set("server_version", "15.20");
  reported.set("client_encoding", "UTF8");
  reported.set("TimeZone", "UTC");
  reported.set("standard_conforming_strings", "on");
  backend.reported = reported_.intern(std::move(reported));
  backend.applied = settings_.intern(session::SettingSet{});
  backend.dialect = dialect_;
  return backend;
}

std::size_t SessionScript::piece(std::size_t left) {
  if (cut_ == 0) return left;
  if (cut_ == 1) return 1;
  random_ = random_ * 6364136223846793005ULL + cut_;
  return 1 + (random_ >> 33U) % (left < 40 ? left : 40);
}

void SessionScript::take() {
  queries += out_.queries;
  transactions += out_.transactions;
  errors += out_.errors;
  for (const session::ReplayNote& note : out_.replays) notes.push_back(note);
  if (out_.sample) sample = out_.sample;
  if (out_.unprotected != retry::Refusal::none) unprotected = out_.unprotected;
  to_client_ += out_.to_client.flatten();
  to_server_ += out_.to_server.flatten();
  out_.clear();
}

SessionScript& SessionScript::client(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t size = piece(bytes.size());
    unread += bytes.substr(0, size);
    bytes.remove_prefix(size);
    std::string_view view = unread;
    if (next_ != session::Next::close) next_ = session_->on_client(view, out_, now_);
    take();
    unread.erase(0, unread.size() - view.size());
    if (next_ == session::Next::need_backend) {
      unread += bytes;
      break;
    }
  }
  return *this;
}

SessionScript& SessionScript::server(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t size = piece(bytes.size());
    server_unread_ += bytes.substr(0, size);
    bytes.remove_prefix(size);
    std::string_view view = server_unread_;
    next_ = session_->on_server(view, out_, now_);
    take();
    server_unread_.erase(0, server_unread_.size() - view.size());
    if (next_ != session::Next::need_input) {
      CHECK(bytes.empty());
      break;
    }
  }
  return *this;
}

SessionScript& SessionScript::grant(session::Backend& backend) {
  if (backend_ != &backend) server_unread_.clear();
  backend_ = &backend;
  next_ = session_->on_granted(backend, out_, now_);
  take();
  if (next_ == session::Next::need_input && !unread.empty()) client("");
  return next_ == session::Next::need_input ? go_on() : *this;
}

SessionScript& SessionScript::go_on() {
  std::string_view view = unread;
  next_ = session_->on_client(view, out_, now_);
  take();
  unread.erase(0, unread.size() - view.size());
  return *this;
}

SessionScript& SessionScript::grant() {
  return grant(*own_backend_);
}

SessionScript& SessionScript::lose_backend(std::string_view cause) {
  next_ = session_->on_backend_lost(cause, out_, now_);
  take();
  server_unread_.clear();
  return next_ == session::Next::need_input ? go_on() : *this;
}

SessionScript& SessionScript::acquire_fails(std::string_view sqlstate) {
  next_ = session_->on_acquire_failed(wire::error_report(sqlstate, "none to be had"), out_, now_);
  take();
  return next_ == session::Next::need_input ? go_on() : *this;
}

SessionScript& SessionScript::cancel_while_waiting() {
  next_ = session_->on_cancel_while_waiting(out_, now_);
  take();
  return go_on();
}

SessionScript& SessionScript::wait(Duration time) {
  now_ += time;
  if (session_->deadline() > now_) return *this;
  next_ = session_->on_timer(out_, now_);
  take();
  return next_ == session::Next::need_input ? go_on() : *this;
}

SessionScript& SessionScript::drain() {
  next_ = session_->drain(out_);
  take();
  return *this;
}

bool SessionScript::move() {
  const std::optional<session::SessionImage> image = session_->image();
  if (!image) return false;
  const auto arrived = session::decode_session_image(session::encode(*image));
  REQUIRE(arrived);
  session_ = std::make_unique<session::ReplayedSession>(context_, replay_.get(), ++moves_ + 100,
                                                        *arrived, wire::KeyData{});
  return true;
}

SessionScript& SessionScript::logged_in() {
  next_ = session_->start(out_);
  take();
  if (next_ == session::Next::need_backend) {
    grant();
    while (next_ == session::Next::need_input &&
           session_->state() == session::SessionState::syncing) {
      server(complete("SET") + ready('I'));
    }
    REQUIRE(next_ == session::Next::release);
  }
  to_client_.clear();
  to_server_.clear();
  next_ = session::Next::need_input;
  return *this;
}

SessionScript& SessionScript::expect(session::Next next) {
  CHECK(static_cast<int>(next_) == static_cast<int>(next));
  return *this;
}

SessionScript& SessionScript::to_client(std::string_view expected) {
  CHECK(summary(to_client_, true) == expected);
  last_client_ = std::move(to_client_);
  to_client_.clear();
  return *this;
}

SessionScript& SessionScript::to_server(std::string_view expected) {
  CHECK(summary(to_server_, false) == expected);
  last_server_ = std::move(to_server_);
  to_server_.clear();
  return *this;
}

}  // namespace dwspool::testing
