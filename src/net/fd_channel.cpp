#include "dwspool/net/fd_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <sys/socket.h>

#include "dwspool/base/secret.h"

namespace dwspool::net {
namespace {

// How many are taken before everybody else on the loop gets a turn.
constexpr int messages_per_event = 32;

// Room for one descriptor, aligned as the system wants it.
union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

// What came along; all but the first are closed.
UniqueFd take_descriptors(msghdr& message) {
  UniqueFd first;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(int), sizeof(int));
      UniqueFd taken(fd);
      if (!first) first = std::move(taken);
    }
  }
  return first;
}

}  // namespace

bool FdChannel::open_pair(UniqueFd& one, UniqueFd& other) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return false;
  }
  one.reset(ends[0]);
  other.reset(ends[1]);
  return true;
}

FdChannel::FdChannel(Loop& loop, UniqueFd end, Handler handler)
    : handler_(std::move(handler)),
      end_(std::move(end)),
      poll_(nullptr),
      buffer_(std::make_unique<char[]>(max_message)) {  // NOLINT(modernize-avoid-c-arrays)
  auto* handle = new uv_poll_t;
  if (const int status = uv_poll_init(loop.raw(), handle, end_.get()); status != 0) {
    delete handle;
    throw std::runtime_error(std::string("uv_poll_init: ") + uv_strerror(status));
  }
  poll_.reset(handle);
  poll_->data = this;
  watch();
}

FdChannel::~FdChannel() {
  for (Waiting& each : waiting_) wipe(each.message);
}

bool FdChannel::send(std::string message, UniqueFd fd) {
  if (closed_) return false;
  waiting_.push_back({std::move(message), std::move(fd)});
  if (waiting_.size() == 1) send_some();
  // That the other end is gone is found by reading: it may have said something before.
  watch();
  return !closed_;
}

FdChannel::Sent FdChannel::transmit(const Waiting& waiting) const {
  iovec content{const_cast<char*>(waiting.message.data()), waiting.message.size()};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  Control control{};
  if (waiting.fd) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = waiting.fd.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  if (::sendmsg(end_.get(), &message, MSG_NOSIGNAL) >= 0) return Sent::yes;
  // ETOOMANYREFS: descriptors are on their way that nobody has taken yet.
  const bool later = errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ETOOMANYREFS;
  return later ? Sent::later : Sent::never;
}

void FdChannel::send_some() {
  while (!waiting_.empty()) {
    const Sent sent = transmit(waiting_.front());
    if (sent == Sent::later) return;
    wipe(waiting_.front().message);
    waiting_.pop_front();
    if (sent == Sent::never) {
      closed_ = true;
      return;
    }
  }
}

void FdChannel::watch() {
  const int wanted = UV_READABLE | (!waiting_.empty() && !closed_ ? UV_WRITABLE : 0);
  if (wanted == watched_ || !end_) return;
  watched_ = wanted;
  uv_poll_start(poll_.get(), wanted, [](uv_poll_t* handle, int status, int events) {
    auto* const channel = static_cast<FdChannel*>(handle->data);
    if (channel == nullptr) return;
    channel->on_event(status == 0 ? events : UV_READABLE);
  });
}

void FdChannel::on_event(int events) {
  if ((events & UV_WRITABLE) != 0) {
    send_some();
    watch();
  }
  if ((events & UV_READABLE) != 0) receive_some();
}

void FdChannel::receive_some() {
  for (int i = 0; i < messages_per_event; ++i) {
    iovec content{buffer_.get(), max_message};
    Control control{};
    msghdr message{};
    message.msg_iov = &content;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    const ssize_t got = ::recvmsg(end_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      close();
      return;
    }
    UniqueFd fd = take_descriptors(message);
    if ((message.msg_flags & MSG_TRUNC) != 0) continue;  // not what send() makes
    const std::string_view text(buffer_.get(), static_cast<std::size_t>(got));
    handler_.on_message(text, std::move(fd));
  }
}

void FdChannel::close() {
  closed_ = true;
  poll_.reset();
  end_.reset();
  const auto last = handler_.on_closed;
  if (last) last();
}

}  // namespace dwspool::net
