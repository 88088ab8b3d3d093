#include "dwspool/net/resolver.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <netdb.h>
#include <sys/socket.h>

#include "dwspool/net/async.h"

namespace dwspool::net {
namespace {

// Of one loop, at the same time. When so many have no answer, one more would not get one either.
constexpr std::size_t most_lookups = 16;

struct Answer {
  std::vector<Address> addresses;
  std::string error;
};

Answer look_up(const std::string& host, const std::string& port) {
  Answer answer;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (status != 0) {
    answer.error = std::string("could not resolve the name: ") + ::gai_strerror(status);
    return answer;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, &::freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    const Address address(entry->ai_addr, entry->ai_addrlen);
    // Some files list an address twice.
    const bool known =
        std::any_of(answer.addresses.begin(), answer.addresses.end(),
                    [&](const Address& each) { return each.text() == address.text(); });
    if (!known) answer.addresses.push_back(address);
  }
  if (answer.addresses.empty()) answer.error = "the name has no address";
  return answer;
}

}  // namespace

// Shared with the thread, which may outlive the resolver, and the loop.
struct Resolver::State {
  std::mutex mutex;
  std::unique_ptr<Async> wake;  // under the mutex; null when nobody waits any more
  Answer answer;                // under the mutex
  Done done;                    // the loop's

  void settle(Answer found) {
    const std::lock_guard lock(mutex);
    answer = std::move(found);
    if (wake) wake->wake();
  }
  void tell() {
    Answer found;
    std::unique_ptr<Async> within;  // whose callback this is
    {
      const std::lock_guard lock(mutex);
      found = std::move(answer);
      within = std::move(wake);
    }
    const Done call = std::exchange(done, nullptr);
    if (call) call(std::move(found.addresses), found.error);
  }
};

std::vector<Address> Resolver::known(const std::string& host, std::uint16_t port) {
  const std::optional<Address> address =
      host.starts_with('/') ? Address::unix_path(host + "/.s.PGSQL." + std::to_string(port))
                            : Address::numeric(host, port);
  return address ? std::vector<Address>{*address} : std::vector<Address>{};
}

Resolver::Resolver(Loop& loop, const std::string& host, std::uint16_t port, Done done)
    : state_(std::make_shared<State>()) {
  state_->done = std::move(done);
  state_->wake = std::make_unique<Async>(loop, [state = state_.get()] { state->tell(); });
  if (std::vector<Address> addresses = known(host, port);
      !addresses.empty() || host.starts_with('/')) {
    const bool usable = !addresses.empty();
    state_->settle({std::move(addresses), usable ? "" : "the path of the Unix socket is too long"});
    return;
  }
  const std::shared_ptr<std::atomic<std::size_t>> lookups = loop.lookups();
  if (lookups->fetch_add(1) >= most_lookups) {
    lookups->fetch_sub(1);
    state_->settle({{}, "could not resolve the name: too many names are being looked up"});
    return;
  }
  try {
    std::thread([state = state_, lookups, host, service = std::to_string(port)] {
      Answer answer = look_up(host, service);
      lookups->fetch_sub(1);
      state->settle(std::move(answer));
    }).detach();
  } catch (const std::system_error& error) {
    lookups->fetch_sub(1);
    state_->settle({{}, std::string("could not resolve the name: ") + error.what()});
  }
}

Resolver::~Resolver() {
  const std::lock_guard lock(state_->mutex);
  state_->wake.reset();
  state_->done = nullptr;
}

}  // namespace dwspool::net
