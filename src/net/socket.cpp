#include "dwspool/net/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "dwspool/net/address.h"

namespace dwspool::net {
namespace {

// A gather list is handed to the system as it is.
static_assert(sizeof(Slice) == sizeof(iovec));
static_assert(offsetof(Slice, data) == offsetof(iovec, iov_base));
static_assert(offsetof(Slice, size) == offsetof(iovec, iov_len));

constexpr std::size_t max_slices = 512;  // below IOV_MAX

IoResult from_errno() {
  if (errno == EAGAIN || errno == EINTR) return {IoResult::Status::would_block, 0, 0};
  return {IoResult::Status::failed, 0, errno};
}

void set_option(int fd, int level, int option, int value) {
  // Best effort: a system without an option works without it.
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof(value)));
}

}  // namespace

Socket::Socket(Loop& loop, UniqueFd fd, Handler& handler, std::unique_ptr<TlsState> tls)
    : fd_(std::move(fd)), loop_(&loop), handler_(&handler), poll_(nullptr), tls_(std::move(tls)) {
  // uv_poll_init makes the socket non-blocking.
  auto* handle = new uv_poll_t;
  if (const int status = uv_poll_init(loop.raw(), handle, fd_.get()); status != 0) {
    delete handle;
    throw std::runtime_error(std::string("uv_poll_init: ") + uv_strerror(status));
  }
  poll_.reset(handle);
  poll_->data = this;
}

Socket::~Socket() {
  if (poll_) uv_poll_stop(poll_.get());
}

void Socket::watch(bool readable, bool writable) {
  wanted_ = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
  set_watched(tls_ ? tls_interest() : wanted_);
}

void Socket::set_watched(int wanted) {
  if (wanted == watched_ && !stopped_) return;
  watched_ = wanted;
  stopped_ = false;
  if (wanted == 0) {
    uv_poll_stop(poll_.get());
    return;
  }
  uv_poll_start(poll_.get(), wanted, [](uv_poll_t* handle, int status, int events) {
    if (handle->data != nullptr) static_cast<Socket*>(handle->data)->on_event(status, events);
  });
}

void Socket::on_event(int status, int events) {
  if (status == 0) {
    if (tls_) {
      on_tls_event(events);
      return;
    }
    handler_->on_ready((events & UV_READABLE) != 0, (events & UV_WRITABLE) != 0);
    return;
  }
  // There is an error, and libuv watches no more. There may be bytes in front of the error, more
  // than the handler takes now: it is found by reading, or by writing.
  stopped_ = true;
  uv_poll_t* const handle = poll_.get();
  if (tls_) {
    on_tls_event(watched_);
  } else {
    handler_->on_ready((watched_ & UV_READABLE) != 0, (watched_ & UV_WRITABLE) != 0);
  }
  const bool alive = handle->data != nullptr;  // a closed handle lives until the loop goes on
  if (alive && stopped_) set_watched(watched_);
}

IoResult Socket::receive(char* buffer, std::size_t size) {
  if (tls_) return receive_tls(buffer, size);
  const ssize_t got = ::recv(fd_.get(), buffer, size, 0);
  if (got > 0) return {IoResult::Status::ok, static_cast<std::size_t>(got), 0};
  if (got == 0) return {IoResult::Status::closed, 0, 0};
  return from_errno();
}

IoResult Socket::send(const Slice* slices, std::size_t count) {
  if (tls_) return send_tls(slices, count);
  ssize_t sent = 0;
  if (count == 1) {
    sent = ::send(fd_.get(), slices->data, slices->size, MSG_NOSIGNAL);
  } else {
    msghdr message{};
    message.msg_iov = reinterpret_cast<iovec*>(const_cast<Slice*>(slices));
    message.msg_iovlen = std::min(count, max_slices);
    sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  }
  if (sent >= 0) return {IoResult::Status::ok, static_cast<std::size_t>(sent), 0};
  return from_errno();
}

std::string Socket::failure_text(const IoResult& result) const {
  if (tls_ && tls_->engine->state() == tls::Engine::State::failed && tls_->error == 0) {
    return "TLS: " + tls_->engine->failure();
  }
  return std::strerror(result.error);
}

UniqueFd Socket::release() {
  if (poll_) {
    uv_poll_stop(poll_.get());
    poll_.reset();
  }
  wanted_ = 0;
  watched_ = 0;
  return std::move(fd_);
}

std::uint16_t Socket::local_port() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  const Address address(reinterpret_cast<const sockaddr*>(&storage), size);
  return address.is_unix() ? 0 : address.port();
}

void set_tcp_options(int fd, const KeepAliveOptions& keepalive) {
  const auto seconds = [](Duration d) {
    return static_cast<int>(
        std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(d).count()));
  };
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (keepalive.idle <= Duration::zero()) return;
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keepalive.idle));
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keepalive.interval));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive.count);
  const Duration patience = keepalive.idle + keepalive.interval * keepalive.count;
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds(patience) * 1000);
}

}  // namespace dwspool::net
