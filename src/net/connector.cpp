#include "dwspool/net/connector.h"

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

#include "dwspool/net/address.h"
#include "dwspool/net/timer.h"

namespace dwspool::net {

// Shared with the requests under way, which may outlive the connector.
struct Connector::State : std::enable_shared_from_this<Connector::State> {
  Loop* loop = nullptr;
  Done done;
  std::vector<Address> addresses;
  std::size_t next_address = 0;
  UniqueFd fd;
  UvPtr<uv_poll_t> poll{nullptr};
  std::string error;
  bool given_up = false;
  bool under_construction = true;  // `done` must not be called from within the constructor
  std::unique_ptr<Timer> later;

  struct Lookup {
    uv_getaddrinfo_t request{};
    std::shared_ptr<State> state;
  };

  void look_up(const std::string& host, std::uint16_t port);
  void try_next();
  void on_connected();
  void finish(UniqueFd connected, const std::string& why);
  void fail_later(const std::string& why);
};

void Connector::State::look_up(const std::string& host, std::uint16_t port) {
  auto lookup = std::make_unique<Lookup>();
  lookup->state = shared_from_this();
  lookup->request.data = lookup.get();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int status = uv_getaddrinfo(
      loop->raw(), &lookup->request,
      [](uv_getaddrinfo_t* request, int result, addrinfo* found) {
        const std::unique_ptr<Lookup> finished(static_cast<Lookup*>(request->data));
        State& state = *finished->state;
        if (result == 0) {
          for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
            state.addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
          }
        }
        uv_freeaddrinfo(found);
        if (state.given_up) return;
        if (result != 0) {
          state.finish({}, std::string("could not resolve the name: ") + uv_strerror(result));
        } else {
          state.try_next();
        }
      },
      host.c_str(), std::to_string(port).c_str(), &hints);
  if (status != 0) {
    fail_later(std::string("could not resolve the name: ") + uv_strerror(status));
    return;
  }
  static_cast<void>(lookup.release());  // the callback owns it
}

void Connector::State::try_next() {
  poll.reset();
  fd.reset();
  while (next_address < addresses.size()) {
    const Address& address = addresses[next_address++];
    fd.reset(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
      error = std::strerror(errno);
      continue;
    }
    if (::connect(fd.get(), address.raw(), address.size()) != 0 && errno != EINPROGRESS) {
      error = address.text() + ": " + std::strerror(errno);
      fd.reset();
      continue;
    }
    // Writable at once if it is connected already: one way for both.
    auto* handle = new uv_poll_t;
    if (const int status = uv_poll_init(loop->raw(), handle, fd.get()); status != 0) {
      delete handle;
      error = uv_strerror(status);
      continue;
    }
    poll.reset(handle);
    poll->data = this;
    uv_poll_start(handle, UV_WRITABLE, [](uv_poll_t* ready, int, int) {
      if (ready->data != nullptr) static_cast<State*>(ready->data)->on_connected();
    });
    return;
  }
  finish({}, error.empty() ? "the name has no address" : error);
}

void Connector::State::on_connected() {
  const std::shared_ptr<State> keep = shared_from_this();
  int result = 0;
  socklen_t size = sizeof(result);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &result, &size);
  if (result != 0) {
    error = addresses[next_address - 1].text() + ": " + std::strerror(result);
    try_next();
    return;
  }
  uv_poll_stop(poll.get());
  poll.reset();
  finish(std::move(fd), {});
}

void Connector::State::finish(UniqueFd connected, const std::string& why) {
  if (under_construction) {
    error = why;
    later = std::make_unique<Timer>(*loop, [this] { finish({}, error); });
    later->arm(loop->now());
    return;
  }
  const std::shared_ptr<State> keep = shared_from_this();
  given_up = true;
  const Done call = std::move(done);
  call(std::move(connected), why);
}

void Connector::State::fail_later(const std::string& why) {
  error = why;
  try_next();  // no address: reports the error
}

Connector::Connector(Loop& loop, const std::string& host, std::uint16_t port, Done done)
    : state_(std::make_shared<State>()) {
  state_->loop = &loop;
  state_->done = std::move(done);
  if (host.starts_with('/')) {
    const std::string path = host + "/.s.PGSQL." + std::to_string(port);
    if (const std::optional<Address> address = Address::unix_path(path)) {
      state_->addresses.push_back(*address);
    }
    state_->try_next();
  } else if (const std::optional<Address> address = Address::numeric(host, port)) {
    state_->addresses.push_back(*address);
    state_->try_next();
  } else {
    state_->look_up(host, port);
  }
  state_->under_construction = false;
}

Connector::~Connector() {
  state_->given_up = true;
  state_->done = nullptr;
  if (state_->poll) uv_poll_stop(state_->poll.get());
  state_->poll.reset();
  state_->later.reset();
}

}  // namespace dwspool::net
