#include "app/probe.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "dwspool/base/text.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/auth/digest.h"

#include "dwspool/net/address.h"

namespace dwspool::app {
namespace {

constexpr std::size_t nonce_bytes = 18;

// Blocking, with a limit on every step. A negative result leaves the reason in `problem`.
UniqueFd connect_to(const config::Coordinator& coordinator, Duration patience,
                    std::string& problem) {
  std::vector<net::Address> addresses;
  if (coordinator.host.starts_with('/')) {
    if (const auto address = net::Address::unix_path(coordinator.host + "/.s.PGSQL." +
                                                     std::to_string(coordinator.port))) {
      addresses.push_back(*address);
    }
  } else {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(coordinator.host.c_str(),
                                     std::to_string(coordinator.port).c_str(), &hints, &found);
    if (status != 0) {
      problem = ::gai_strerror(status);
      return {};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, &::freeaddrinfo);
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
      addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
    }
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience).count();
  const timeval limit{seconds > 0 ? seconds : 1, 0};
  for (const net::Address& address : addresses) {
    UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) continue;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (::connect(fd.get(), address.raw(), address.size()) == 0) return fd;
    problem = errno == EINPROGRESS ? "no answer in time" : std::strerror(errno);
  }
  return {};
}

bool send_all(int fd, std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  bytes.clear();
  return true;
}

void converse(int fd, login::BackendLogin& login) {
  std::string out;
  std::string in;
  std::array<char, 4096> buffer{};
  login.start(out);
  while (!login.finished()) {
    if (!send_all(fd, out)) {
      login.on_lost("could not send to the server");
      return;
    }
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      login.on_lost(got == 0 ? "the server closed the connection" : "no answer in time");
      return;
    }
    in.append(buffer.data(), static_cast<std::size_t>(got));
    std::string_view view = in;
    login::BackendLogin::Need need = login.on_bytes(view, out);
    while (need == login::BackendLogin::Need::derivation) {
      const login::DerivedKeys keys = login::derive(login.derivation());
      need = login.on_derived(keys, out);
    }
    in.erase(0, in.size() - view.size());
  }
}

}  // namespace

ProbeResult probe(const config::Cluster& cluster, const config::Coordinator& coordinator,
                  const std::string& database, const std::string& user,
                  const std::optional<Secret>& password) {
  ProbeResult result;
  const auto start = std::chrono::steady_clock::now();
  std::uint32_t protocol = wire::protocol_gauss_3_51;
  while (true) {
    const UniqueFd fd = connect_to(coordinator, cluster.connect_timeout, result.problem);
    if (!fd) return result;
    result.reachable = true;
    login::Identity identity;
    identity.user = user;
    identity.database = database;
    identity.password = password;
    identity.protocol = protocol;
    identity.max_iterations = cluster.max_pbkdf2_iterations;
    identity.nonce = auth::make_scram_nonce(auth::random_bytes(nonce_bytes));
    login::BackendLogin login(std::move(identity));
    converse(fd.get(), login);
    if (login.state() != login::BackendLogin::State::done) {
      if (login.failure() == login::Failure::old_protocol && protocol != wire::protocol_3_0) {
        protocol = wire::protocol_3_0;
        continue;
      }
      const wire::ErrorReport& report = login.report();
      result.problem = printable(report.message, 200);
      if (!report.sqlstate.empty()) result.problem += " (" + printable(report.sqlstate) + ")";
      if (!report.hint.empty()) result.problem += " - " + printable(report.hint, 200);
      return result;
    }
    result.logged_in = true;
    result.method = login.method();
    result.dialect = to_string(login.dialect());
    for (const auto& [name, value] : login.parameters()) {
      if (name == "server_version") result.server_version = printable(value);
    }
    std::string bye;
    wire::append_terminate(bye);
    static_cast<void>(send_all(fd.get(), bye));
    result.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return result;
  }
}

}  // namespace dwspool::app
