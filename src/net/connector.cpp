#include "dwspool/net/connector.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>

#include "dwspool/net/resolver.h"
#include "dwspool/net/timer.h"

namespace dwspool::net {

// Outlives the connector while it is called back.
struct Connector::State : std::enable_shared_from_this<Connector::State> {
  Loop* loop = nullptr;
  Done done;
  std::unique_ptr<Resolver> resolver;
  std::vector<Address> addresses;
  std::size_t next_address = 0;
  UniqueFd fd;
  UvPtr<uv_poll_t> poll{nullptr};
  std::string error;
  bool under_construction = true;  // `done` must not be called from within the constructor
  std::unique_ptr<Timer> later;

  void begin(Loop& on, Done then);
  void try_next();
  void on_connected();
  void finish(UniqueFd connected, const std::string& why);
};

void Connector::State::begin(Loop& on, Done then) {
  loop = &on;
  done = std::move(then);
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
  const Done call = std::move(done);
  call(std::move(connected), why);
}

Connector::Connector(Loop& loop, const std::string& host, std::uint16_t port, Done done)
    : state_(std::make_shared<State>()) {
  state_->begin(loop, std::move(done));
  state_->addresses = Resolver::known(host, port);
  if (state_->addresses.empty()) {
    state_->resolver = std::make_unique<Resolver>(
        loop, host, port, [state = state_.get()](std::vector<Address> found, std::string error) {
          state->addresses = std::move(found);
          state->error = std::move(error);
          state->try_next();
        });
  } else {
    state_->try_next();
  }
  state_->under_construction = false;
}

Connector::Connector(Loop& loop, std::vector<Address> addresses, Done done)
    : state_(std::make_shared<State>()) {
  state_->begin(loop, std::move(done));
  state_->addresses = std::move(addresses);
  state_->try_next();
  state_->under_construction = false;
}

Connector::~Connector() {
  state_->done = nullptr;
  state_->resolver.reset();
  if (state_->poll) uv_poll_stop(state_->poll.get());
  state_->poll.reset();
  state_->later.reset();
}

}  // namespace dwspool::net
