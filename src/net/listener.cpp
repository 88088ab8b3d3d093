#include "dwspool/net/listener.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace dwspool::net {
namespace {

constexpr int accepts_per_event = 64;
constexpr Duration pause_time = std::chrono::milliseconds{100};

[[noreturn]] void refuse(const std::string& where, const char* what) {
  throw std::runtime_error("cannot listen on " + where + ": " + what + ": " + std::strerror(errno));
}

void set_flag(int fd, int level, int option, int value) {
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof(value)));
}

Address bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size);
  return {reinterpret_cast<sockaddr*>(&storage), size};
}

// A socket file that nobody listens on any more is left by a process that died.
bool somebody_listens(const Address& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && ::connect(probe.get(), address.raw(), address.size()) == 0;
}

std::string socket_path(const ListenOptions& options) {
  return options.unix_dir + "/.s.PGSQL." + std::to_string(options.port);
}

}  // namespace

bool listens_at(int fd, const ListenOptions& options) {
  int listening = 0;
  socklen_t size = sizeof(listening);
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
    return false;
  }
  const Address bound = bound_address(fd);
  if (!options.unix_dir.empty()) return bound.is_unix() && bound.host() == socket_path(options);
  if (bound.is_unix() || bound.port() != options.port) return false;
  if (options.host == "*") return bound.bytes().find_first_not_of('\0') == std::string::npos;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(options.host.c_str(), nullptr, &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, &::freeaddrinfo);
  // Only the first: that is the one which would be listened on.
  return Address(found->ai_addr, found->ai_addrlen).bytes() == bound.bytes();
}

Listener::Listener(Loop& loop, const ListenOptions& options,
                   std::function<void(UniqueFd, const Address&)> on_accept,
                   std::function<void(const std::string&)> on_error, UniqueFd inherited)
    : loop_(&loop),
      fd_(std::move(inherited)),
      on_accept_(std::move(on_accept)),
      on_error_(std::move(on_error)),
      poll_(nullptr),
      pause_(loop, [this] { watch(); }) {
  if (fd_) {
    adopt();
  } else if (options.unix_dir.empty()) {
    listen_tcp(options);
  } else {
    listen_unix(options);
  }
  auto* handle = new uv_poll_t;
  if (const int status = uv_poll_init(loop.raw(), handle, fd_.get()); status != 0) {
    delete handle;
    throw std::runtime_error(std::string("uv_poll_init: ") + uv_strerror(status));
  }
  poll_.reset(handle);
  poll_->data = this;
  watch();
}

Listener::~Listener() {
  if (poll_) uv_poll_stop(poll_.get());
  if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
}

void Listener::adopt() {
  address_ = bound_address(fd_.get());
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    refuse(address_.text(), "fcntl");
  }
}

void Listener::listen_tcp(const ListenOptions& options) {
  const std::string where = options.host + ":" + std::to_string(options.port);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  const bool all = options.host == "*";
  // "*": one IPv6 socket that serves IPv4 as well, or an IPv4 one where there is no IPv6.
  addrinfo* found = nullptr;
  const std::string port = std::to_string(options.port);
  if (const int status =
          ::getaddrinfo(all ? nullptr : options.host.c_str(), port.c_str(), &hints, &found);
      status != 0 || found == nullptr) {
    throw std::runtime_error("cannot listen on " + where + ": " +
                             ::gai_strerror(status != 0 ? status : EAI_NONAME));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, &::freeaddrinfo);
  const addrinfo* chosen = found;
  if (all) {
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
      if (entry->ai_family == AF_INET6) chosen = entry;
    }
  }
  fd_.reset(::socket(chosen->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_ && all && chosen->ai_family == AF_INET6) {
    chosen = found;
    fd_.reset(::socket(chosen->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  if (!fd_) refuse(where, "socket");
  set_flag(fd_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (chosen->ai_family == AF_INET6) {
    set_flag(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, all ? 0 : 1);
  }
  if (::bind(fd_.get(), chosen->ai_addr, chosen->ai_addrlen) != 0) refuse(where, "bind");
  if (::listen(fd_.get(), options.backlog) != 0) refuse(where, "listen");
  address_ = bound_address(fd_.get());
}

void Listener::listen_unix(const ListenOptions& options) {
  const std::string path = socket_path(options);
  const std::optional<Address> address = Address::unix_path(path);
  if (!address) throw std::runtime_error("cannot listen on " + path + ": the path is too long");
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    errno = EADDRINUSE;
    if (!S_ISSOCK(status.st_mode) || somebody_listens(*address)) refuse(path, "bind");
    ::unlink(path.c_str());
  }
  fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_) refuse(path, "socket");
  if (::bind(fd_.get(), address->raw(), address->size()) != 0) refuse(path, "bind");
  unix_path_ = path;
  if (::chmod(path.c_str(), options.unix_mode) != 0) refuse(path, "chmod");
  if (::listen(fd_.get(), options.backlog) != 0) refuse(path, "listen");
  address_ = *address;
}

void Listener::watch() {
  uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* handle, int, int) {
    if (handle->data != nullptr) static_cast<Listener*>(handle->data)->accept_some();
  });
}

void Listener::accept_some() {
  for (int i = 0; i < accepts_per_event; ++i) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    UniqueFd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      on_accept_(std::move(fd), Address(reinterpret_cast<sockaddr*>(&storage), size));
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The backlog stays readable: pause, or the loop would spin.
      on_error_(std::strerror(errno));
      uv_poll_stop(poll_.get());
      pause_.arm(loop_->now() + pause_time);
      return;
    }
    // The others (a connection that was reset before it was accepted) concern one client only.
  }
}

}  // namespace dwspool::net
