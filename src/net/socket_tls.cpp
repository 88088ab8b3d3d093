// The part of a socket that encrypts: what the engine wants to say goes out at once, or as soon as
// the system takes it; what comes in is all decrypted before receive() returns.
#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/socket.h>

#include "dwspool/net/socket.h"

namespace dwspool::net {
namespace {

using State = tls::Engine::State;

// Plain bytes that are encrypted before the system is asked whether it takes them.
constexpr std::size_t batch = 65536;

}  // namespace

void Socket::start_tls(std::unique_ptr<tls::Engine> engine, std::string_view received) {
  assert(!tls_);
  tls_ = std::make_unique<TlsState>();
  tls_->engine = std::move(engine);
  std::string& to_send = loop_->scratch().to_send;
  to_send.clear();
  tls_->engine->start(to_send);
  if (!received.empty()) {
    // A handshake of which only the beginning is there has no plain bytes in it.
    std::string nothing(received.size() + tls::max_record, '\0');
    tls_->engine->receive(received, nothing.data(), nothing.size(), to_send);
  }
  transmit(to_send);
  if (tls_failed()) ::shutdown(fd_.get(), SHUT_RD);  // so that receive() is called, and tells it
  set_watched(tls_interest());
}

std::string Socket::tls_text() const {
  if (!tls_) return "none";
  return tls_->engine->version() + " " + tls_->engine->cipher();
}

bool Socket::tls_failed() const {
  return tls_->error != 0 || tls_->engine->state() == State::failed;
}

// While hands are shaken there is always something to be read, and writing waits.
int Socket::tls_interest() const {
  const bool shaking = tls_->engine->state() == State::shaking_hands;
  const int reading = shaking ? UV_READABLE : wanted_ & UV_READABLE;
  const bool writing = !tls_->pending.empty() || (!shaking && (wanted_ & UV_WRITABLE) != 0);
  return reading | (writing ? UV_WRITABLE : 0);
}

void Socket::on_tls_event(int events) {
  if ((events & UV_WRITABLE) != 0) {
    send_pending();
    set_watched(tls_interest());
  }
  const bool shaking = tls_->engine->state() == State::shaking_hands;
  const bool readable = (events & UV_READABLE) != 0;
  const bool writable = (events & wanted_ & UV_WRITABLE) != 0 && tls_->pending.empty() && !shaking;
  if (readable || writable) handler_->on_ready(readable, writable);
}

IoResult Socket::receive_tls(char* buffer, std::size_t size) {
  assert(size >= min_room);
  if (tls_failed()) return {IoResult::Status::failed, 0, tls_->error};
  if (tls_->engine->state() == State::closed) return {IoResult::Status::closed, 0, 0};
  std::string& received = loop_->scratch().received;
  const std::size_t room = std::min(received.size(), size - tls::max_record);
  const ssize_t got = ::recv(fd_.get(), received.data(), room, 0);
  if (got == 0) return {IoResult::Status::closed, 0, 0};
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return {IoResult::Status::would_block, 0, 0};
    tls_->error = errno;
    return {IoResult::Status::failed, 0, errno};
  }
  return take_in(std::string_view(received).substr(0, static_cast<std::size_t>(got)), buffer, size);
}

IoResult Socket::take_in(std::string_view received, char* buffer, std::size_t size) {
  std::string& to_send = loop_->scratch().to_send;
  to_send.clear();
  const std::size_t plain = tls_->engine->receive(received, buffer, size, to_send);
  transmit(to_send);
  set_watched(tls_interest());
  const bool failed = tls_failed();
  const bool closed = tls_->engine->state() == State::closed;
  if (plain > 0) {
    // The end is told by the next call, which an event must lead to.
    if (failed || closed) ::shutdown(fd_.get(), SHUT_RD);
    return {IoResult::Status::ok, plain, 0};
  }
  if (failed) return {IoResult::Status::failed, 0, tls_->error};
  return {closed ? IoResult::Status::closed : IoResult::Status::would_block, 0, 0};
}

// Bytes that are encrypted are as good as sent: nobody else can take them back or send them again.
IoResult Socket::send_tls(const Slice* slices, std::size_t count) {
  if (tls_failed()) return {IoResult::Status::failed, 0, tls_->error};
  if (tls_->engine->state() == State::shaking_hands) return {IoResult::Status::would_block, 0, 0};
  if (!tls_->pending.empty()) send_pending();
  std::string& to_send = loop_->scratch().to_send;
  std::size_t sent = 0;
  std::size_t offset = 0;  // in the first of the slices
  while (count > 0 && tls_->pending.empty() && !tls_failed()) {
    to_send.clear();
    // As many slices as fit, or the front of one that does not.
    Slice first{slices->data + offset, std::min(slices->size - offset, batch)};
    std::size_t size = first.size;
    std::size_t last = 1;
    bool good = false;
    if (offset > 0 || slices->size > batch) {
      good = tls_->engine->send(&first, 1, to_send);
      offset += size;
      if (offset < slices->size) last = 0;
    } else {
      while (last < count && size + slices[last].size <= batch) size += slices[last++].size;
      good = tls_->engine->send(slices, last, to_send);
    }
    if (!good) break;
    if (last > 0) offset = 0;
    slices += last;
    count -= last;
    sent += size;
    transmit(to_send);
  }
  if (tls_failed()) return {IoResult::Status::failed, 0, tls_->error};
  set_watched(tls_interest());
  return {sent > 0 ? IoResult::Status::ok : IoResult::Status::would_block, sent, 0};
}

void Socket::transmit(std::string_view encrypted) {
  if (encrypted.empty() || tls_->error != 0) return;
  std::size_t taken = 0;
  if (tls_->pending.empty()) {
    const ssize_t sent = ::send(fd_.get(), encrypted.data(), encrypted.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      taken = static_cast<std::size_t>(sent);
    } else if (errno != EAGAIN && errno != EINTR) {
      tls_->error = errno;
      return;
    }
  }
  if (taken < encrypted.size()) tls_->pending.append(encrypted.substr(taken));
}

void Socket::send_pending() {
  while (!tls_->pending.empty()) {
    const std::string_view bytes = tls_->pending.view();
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      tls_->error = errno;
      tls_->pending.release();
      ::shutdown(fd_.get(), SHUT_RD);  // so that receive() is called, and tells it
      return;
    }
    tls_->pending.consume(static_cast<std::size_t>(sent));
  }
  if (tls_->shutting_down) ::shutdown(fd_.get(), SHUT_WR);
}

void Socket::shut_down() {
  if (tls_) {
    std::string& to_send = loop_->scratch().to_send;
    to_send.clear();
    tls_->engine->close(to_send);
    transmit(to_send);
    tls_->shutting_down = true;
    set_watched(tls_interest());
    if (!tls_->pending.empty()) return;
  }
  ::shutdown(fd_.get(), SHUT_WR);
}

}  // namespace dwspool::net
