// /metrics, /healthz, /readyz and the status page, served by CivetWeb (the HTTP server that comes
// with prometheus-cpp) in threads of its own: a worker that hangs cannot keep the probe from saying
// so, and a slow scraper cannot slow a worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace dwspool::admin {

struct HttpOptions {
  // Numeric address, or "*". IPv6 only as far as the CivetWeb library was built with it, which
  // Debian's is not: there, "*" is all of IPv4, and an IPv6 address is an error.
  std::string host;
  std::uint16_t port = 0;  // 0: the system chooses; see port()
  // A client holds one of the threads for so long at most before its request is complete; it has
  // twice that to take the answer.
  std::chrono::milliseconds request_timeout{5000};
  int threads = 2;
};

// What the server asks for. All are called from its own threads, possibly several at a time; the
// stacks of those are small (100 KiB). One that throws makes a 500.
struct HttpSources {
  std::function<std::string()> metrics;  // the whole exposition
  // Empty when all is well, else one line that says what is not.
  std::function<std::string()> health;     // is the process alive: 200 or 503
  std::function<std::string()> readiness;  // should it get traffic: 200 or 503
  // What the page at / shows, as JSON, which is /status.json; without it there is neither.
  std::function<std::string()> status;
};

class HttpServer {
 public:
  // Throws std::runtime_error, with the address and the reason, when it cannot listen.
  HttpServer(const HttpOptions& options, HttpSources sources);
  // Waits for the requests that are being answered.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dwspool::admin
