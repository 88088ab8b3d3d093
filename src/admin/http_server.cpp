#include "dwspool/admin/http_server.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

#include <civetweb.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "dwspool/base/unique_fd.h"

#include "admin/status_page.h"

namespace dwspool::admin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* plain_text = "text/plain; charset=utf-8";
constexpr const char* exposition_text = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* json_text = "application/json";
constexpr const char* html_text = "text/html; charset=utf-8";

struct Reply {
  int status;
  std::string body;
  const char* content_type = plain_text;
  // Nothing but the page may run anything, load anything, or be put into a frame.
  std::string policy = "default-src 'none'; frame-ancestors 'none'";
};

// Signals are for the threads that wait for them. What is started while this lives blocks all.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

class Library {
 public:
  Library() { mg_init_library(0); }
  ~Library() { mg_exit_library(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  void set_port(std::uint16_t port) {
    if (storage.ss_family == AF_INET) {
      reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
    } else {
      reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
    }
  }
};

std::optional<SocketAddress> numeric_address(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (host.empty() || getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

bool library_has_ipv6() {
  return mg_check_feature(MG_FEATURES_IPV6) != 0;
}

bool system_has_ipv6() {
  return static_cast<bool>(UniqueFd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)));
}

// An address and port in the words of CivetWeb's option "listening_ports". It would take names
// and lists as well: `host` must be "*" or a numeric address.
std::string listening_port(const std::string& host, std::uint16_t port) {
  const std::string number = std::to_string(port);
  if (host == "*") return (library_has_ipv6() && system_has_ipv6() ? "+" : "0.0.0.0:") + number;
  if (host.find(':') != std::string::npos) return "[" + host + "]:" + number;
  return host + ":" + number;
}

// Makes an accept loop that waits for connections turn once.
void knock(const SocketAddress& address) {
  const UniqueFd fd(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd) static_cast<void>(::connect(fd.get(), address.raw(), address.size));
}

// In pieces, so that the deadline counts for a client that reads, but slowly, too.
bool write_all(mg_connection* connection, std::string_view bytes, Clock::time_point deadline) {
  constexpr std::size_t piece_size = std::size_t{64} * 1024;
  while (!bytes.empty()) {
    if (Clock::now() > deadline) return false;
    const std::string_view piece = bytes.substr(0, piece_size);
    const int written = mg_write(connection, piece.data(), piece.size());
    if (written < 0 || static_cast<std::size_t>(written) != piece.size()) return false;
    bytes.remove_prefix(piece.size());
  }
  return true;
}

void send(mg_connection* connection, const Reply& reply, bool with_body,
          Clock::time_point deadline) {
  std::array<char, 1024> head{};
  const int size = std::snprintf(
      head.data(), head.size(),
      "HTTP/1.1 %d %s\r\n"
      "Content-Type: %s\r\n"
      "Content-Length: %zu\r\n"
      "%s"
      "Cache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\n"
      "Referrer-Policy: no-referrer\r\n"
      "Content-Security-Policy: %s\r\n"
      "Connection: close\r\n"
      "\r\n",
      reply.status, mg_get_response_code_text(connection, reply.status), reply.content_type,
      reply.body.size(), reply.status == 405 ? "Allow: GET, HEAD\r\n" : "", reply.policy.c_str());
  const std::string_view bytes(head.data(), static_cast<std::size_t>(size));
  if (write_all(connection, bytes, deadline) && with_body) {
    write_all(connection, reply.body, deadline);
  }
}

Reply verdict(std::string complaint) {
  if (complaint.empty()) return {200, "ok\n"};
  if (complaint.back() != '\n') complaint += '\n';
  return {503, std::move(complaint)};
}

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& options, HttpSources from)
      : sources(std::move(from)), answer_time(2 * options.request_timeout) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start(const HttpOptions& options);
  Reply answer(std::string_view method, std::string_view path) const;

  // Called by CivetWeb, which is C: nothing may be thrown through it.
  static int on_request(mg_connection* connection) noexcept;
  static int on_error(mg_connection* connection, int status, const char* message) noexcept;
  static int on_log(const mg_connection* connection, const char* message) noexcept;
  static Impl& of(const mg_connection* connection) {
    return *static_cast<Impl*>(mg_get_user_data(mg_get_context(connection)));
  }

  const HttpSources sources;
  const Clock::duration answer_time;
  const Library library;
  SocketAddress address;
  std::uint16_t port = 0;
  mg_context* context = nullptr;
  std::mutex complaint_mutex;
  std::string complaint;  // CivetWeb's first
};

// Everything that CivetWeb could do besides stays away: on_request leaves nothing to it, and
// without a document root there are no files.
void HttpServer::Impl::start(const HttpOptions& options) {
  const std::string place = listening_port(options.host, options.port);
  const std::string timeout = std::to_string(options.request_timeout.count());
  const std::string threads = std::to_string(options.threads);
  const std::array<const char*, 15> settings = {"listening_ports",
                                                place.c_str(),
                                                "num_threads",
                                                threads.c_str(),
                                                "request_timeout_ms",
                                                timeout.c_str(),
                                                "max_request_size",
                                                "8192",
                                                "enable_keep_alive",
                                                "no",
                                                "enable_directory_listing",
                                                "no",
                                                "tcp_nodelay",
                                                "1",
                                                nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = on_request;
  callbacks.http_error = on_error;
  callbacks.log_message = on_log;
  {
    const SignalsBlocked signals;
    // The const_cast: an old C signature.
    context = mg_start(&callbacks, this, const_cast<const char**>(settings.data()));
  }
  if (context == nullptr) {
    throw std::runtime_error("cannot serve HTTP at " + place + ": " +
                             (complaint.empty() ? "no reason given" : complaint));
  }
  mg_server_port served{};
  if (mg_get_server_ports(context, 1, &served) == 1) {
    port = static_cast<std::uint16_t>(served.port);
  }
  address.set_port(port);
}

HttpServer::Impl::~Impl() {
  if (context == nullptr) return;
  // Left alone, the accept loop looks at its stop flag every two seconds.
  std::jthread knocker;
  try {
    const SignalsBlocked signals;
    knocker = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        knock(address);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  } catch (const std::exception&) {
    // Then it takes two seconds.
  }
  mg_stop(context);
}

Reply HttpServer::Impl::answer(std::string_view method, std::string_view path) const {
  try {
    const bool metrics = path == "/metrics";
    const bool health = path == "/healthz";
    const bool page = path == "/" && sources.status;
    const bool status = path == "/status.json" && sources.status;
    if (!metrics && !health && !page && !status && path != "/readyz") return {404, "not found\n"};
    if (method != "GET" && method != "HEAD") return {405, "only GET and HEAD\n"};
    if (metrics) return {200, sources.metrics(), exposition_text};
    if (status) return {200, sources.status(), json_text};
    if (page) {
      StatusPage made = make_status_page();
      return {200, std::move(made.html), html_text, std::move(made.policy)};
    }
    return verdict(health ? sources.health() : sources.readiness());
  } catch (...) {
    return {500, "internal error\n"};
  }
}

int HttpServer::Impl::on_request(mg_connection* connection) noexcept {
  // Else the library would read a request's body to its end, however long that takes.
  mg_disable_connection_keep_alive(connection);
  const Impl& self = of(connection);
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string_view method = request->request_method;
  const char* path = request->local_uri;
  const Reply reply = self.answer(method, path == nullptr ? "" : path);
  send(connection, reply, method != "HEAD", Clock::now() + self.answer_time);
  return reply.status;
}

// The library could not make sense of the request.
int HttpServer::Impl::on_error(mg_connection* connection, int status, const char*) noexcept {
  mg_disable_connection_keep_alive(connection);
  send(connection, {status, "bad request\n"}, true, Clock::now() + of(connection).answer_time);
  return 0;
}

int HttpServer::Impl::on_log(const mg_connection* connection, const char* message) noexcept {
  Impl& self = of(connection);
  const std::lock_guard lock(self.complaint_mutex);
  if (self.complaint.empty()) self.complaint = message;
  return 1;
}

HttpServer::HttpServer(const HttpOptions& options, HttpSources sources)
    : impl_(std::make_unique<Impl>(options, std::move(sources))) {
  const std::string complaint = "cannot serve HTTP at '" + options.host + "': ";
  // For "*", any address of the machine will do to knock at.
  std::optional<SocketAddress> address =
      numeric_address(options.host == "*" ? "127.0.0.1" : options.host);
  if (!address) {
    throw std::runtime_error(complaint + "not a numeric address; write one, or \"*\" for all");
  }
  if (address->storage.ss_family == AF_INET6 && !library_has_ipv6()) {
    throw std::runtime_error(complaint +
                             "the CivetWeb library was built without IPv6; write an IPv4 address");
  }
  impl_->address = *address;
  impl_->start(options);
}

HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const {
  return impl_->port;
}

}  // namespace dwspool::admin
