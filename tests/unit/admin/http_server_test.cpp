#include "dwspool/admin/http_server.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "http_client.h"

namespace dwspool::admin {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::connect_to;
using test::exchange;
using test::get;
using test::put;
using test::take_all;

HttpOptions local(std::chrono::milliseconds timeout = 5s) {
  HttpOptions options;
  options.host = "127.0.0.1";
  options.request_timeout = timeout;
  return options;
}

std::string all_well() {
  return {};
}
HttpSources sources(const std::string& metrics = "up 1\n") {
  return {[metrics] { return metrics; }, all_well, all_well, {}};
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST_CASE("http: metrics come with the exposition's content type") {
  const HttpServer server(local(), sources("metric{a=\"\xC3\xA9\"} 1\n"));
  const Answer answer = get(server.port(), "/metrics");
  CHECK(answer.status == 200);
  CHECK(answer.has("content-type: text/plain; version=0.0.4; charset=utf-8"));
  CHECK(answer.has("content-length: 17"));
  CHECK(answer.has("connection: close"));
  CHECK(answer.body == "metric{a=\"\xC3\xA9\"} 1\n");
  CHECK(get(server.port(), "/metrics?collect[]=x").status == 200);

  const Answer head = get(server.port(), "/metrics", "HEAD");
  CHECK(head.status == 200);
  CHECK(head.has("content-length: 17"));
  CHECK(head.body.empty());
}

TEST_CASE("http: health and readiness tell what is wrong") {
  std::atomic<bool> ill{false};
  HttpSources from = sources();
  from.health = [&] { return ill ? std::string("worker 1 hangs") : std::string(); };
  from.readiness = [&] { return ill ? std::string("draining\n") : std::string(); };
  const HttpServer server(local(), from);
  for (const char* path : {"/healthz", "/readyz"}) {
    const Answer answer = get(server.port(), path);
    CHECK(answer.status == 200);
    CHECK(answer.body == "ok\n");
    CHECK(answer.has("content-type: text/plain; charset=utf-8"));
  }
  ill = true;
  CHECK(get(server.port(), "/healthz").status == 503);
  CHECK(get(server.port(), "/healthz").body == "worker 1 hangs\n");
  CHECK(get(server.port(), "/readyz").status == 503);
  CHECK(get(server.port(), "/readyz").body == "draining\n");
  const Answer head = get(server.port(), "/readyz", "HEAD");
  CHECK(head.status == 503);
  CHECK(head.body.empty());
}

TEST_CASE("http: there is nothing else") {
  const HttpServer server(local(), sources());
  for (const char* path :
       {"/", "/metrics/", "/Metrics", "/metricsx", "/index.html", "/../../etc/passwd",
        "/..%2f..%2fetc/passwd", "//", "/%00", "/metrics.cgi", "/x.shtml", "/.htpasswd"}) {
    CAPTURE(path);
    CHECK(get(server.port(), path).status == 404);
    CHECK(get(server.port(), path, "HEAD").status == 404);
  }
  CHECK(get(server.port(), "/nowhere", "PUT").status == 404);
}

std::string value_of(const Answer& answer, std::string_view header) {
  const std::size_t at = answer.head.find("\r\n" + std::string(header) + ": ");
  if (at == std::string::npos) return {};
  const std::size_t from = at + header.size() + 4;
  return answer.head.substr(from, answer.head.find("\r\n", from) - from);
}

TEST_CASE("http: the status page") {
  HttpSources from = sources();
  from.status = [] { return std::string(R"({"pools":[]})"); };
  const HttpServer server(local(), from);
  const Answer json = get(server.port(), "/status.json");
  CHECK(json.status == 200);
  CHECK(json.has("content-type: application/json"));
  CHECK(json.has("cache-control: no-store"));
  CHECK(json.body == R"({"pools":[]})");

  const Answer page = get(server.port(), "/");
  CHECK(page.status == 200);
  CHECK(page.has("content-type: text/html; charset=utf-8"));
  CHECK(page.has("x-content-type-options: nosniff"));
  CHECK(page.has("referrer-policy: no-referrer"));
  // Nothing but the one script and style of this copy, and nothing from anywhere else.
  const std::string policy = value_of(page, "content-security-policy");
  CHECK(policy.starts_with("default-src 'none';"));
  CHECK(policy.find("unsafe") == std::string::npos);
  CHECK(policy.find('*') == std::string::npos);
  const std::size_t at = policy.find("script-src 'nonce-");
  REQUIRE(at != std::string::npos);
  const std::string nonce = policy.substr(at + 18, 32);
  CHECK(nonce.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(page.body.find("<script nonce=\"" + nonce + "\">") != std::string::npos);
  CHECK(page.body.find("<style nonce=\"" + nonce + "\">") != std::string::npos);
  CHECK(page.body.find("NONCE") == std::string::npos);
  CHECK(get(server.port(), "/").body != page.body);  // another nonce
  for (const char* outside : {"http:", "https:", "src=", "innerHTML", "insertAdjacent", "eval("}) {
    CAPTURE(outside);
    CHECK(page.body.find(outside) == std::string::npos);
  }
  CHECK(get(server.port(), "/", "HEAD").body.empty());
  CHECK(get(server.port(), "/", "POST").status == 405);
  CHECK(get(server.port(), "/status.json", "DELETE").status == 405);
  // Everything else is for no script and no frame, either.
  CHECK(value_of(get(server.port(), "/metrics"), "content-security-policy") ==
        "default-src 'none'; frame-ancestors 'none'");
}

TEST_CASE("http: other methods are refused") {
  const HttpServer server(local(), sources());
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "MKCOL"}) {
    CAPTURE(method);
    for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
      const Answer answer = get(server.port(), path, method);
      CHECK(answer.status == 405);
      CHECK(answer.has("allow: get, head"));
    }
  }
  // A browser's question, and a file to be stored.
  CHECK(exchange(server.port(),
                 "OPTIONS /metrics HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n"
                 "Access-Control-Request-Method: PUT\r\n\r\n")
            .status == 405);
  CHECK(exchange(server.port(), "PUT /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").status ==
        405);
  CHECK(exchange(server.port(),
                 "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            .status == 200);
}

TEST_CASE("http: a connection is for one request") {
  const HttpServer server(local(), sources("once 1\n"));
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
  const Answer answer = exchange(server.port(), request + request);
  CHECK(answer.status == 200);
  CHECK(answer.body == "once 1\n");
  CHECK(exchange(server.port(), "GET /healthz HTTP/1.0\r\n\r\n").status == 200);
}

TEST_CASE("http: a source that throws makes a 500 and no more than that") {
  HttpSources from;  // `metrics` is not even there
  from.health = []() -> std::string { throw std::runtime_error("password=secret"); };
  from.readiness = []() -> std::string { throw 42; };
  const HttpServer server(local(), from);
  for (int i = 0; i < 5; ++i) {
    for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
      const Answer answer = get(server.port(), path);
      CHECK(answer.status == 500);
      CHECK(answer.body == "internal error\n");
    }
  }
}

TEST_CASE("http: a large answer arrives whole") {
  std::string big;
  for (int i = 0; i < 400'000; ++i) big += "line " + std::to_string(i) + "\n";
  const HttpServer server(local(), sources(big));
  CHECK(get(server.port(), "/metrics").body == big);
}

TEST_CASE("http: no answer tells the library or its version") {
  const HttpServer server(local(), sources());
  const UniqueFd bad = connect_to(server.port());
  put(bad, "nonsense\r\n\r\n");
  const std::vector<Answer> answers = {get(server.port(), "/metrics"), get(server.port(), "/"),
                                       get(server.port(), "/metrics", "POST"),
                                       get(server.port(), "/healthz", "HEAD"),
                                       test::parse(take_all(bad))};
  for (const Answer& answer : answers) {
    CAPTURE(answer.head);
    CHECK(answer.status != 0);
    CHECK(answer.head.find("civet") == std::string::npos);
    CHECK(answer.head.find("\r\nserver:") == std::string::npos);
    CHECK(answer.body.find("ivet") == std::string::npos);
  }
}

std::string complaint_about(const HttpOptions& options) {
  try {
    const HttpServer server(options, sources());
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

bool has_ipv6() {
  HttpOptions options = local();
  options.host = "::1";
  const std::string complaint = complaint_about(options);
  if (!complaint.empty()) MESSAGE(complaint);
  return complaint.empty();
}

TEST_CASE("http: addresses") {
  SUBCASE("IPv6") {
    if (!has_ipv6()) return;
    HttpOptions options = local();
    options.host = "::1";
    const HttpServer server(options, sources());
    CHECK(get(server.port(), "/healthz", "GET", "::1").status == 200);
    CHECK_FALSE(connect_to(server.port()));
  }
  SUBCASE("any") {
    HttpOptions options = local();
    options.host = "*";
    const HttpServer server(options, sources());
    CHECK(get(server.port(), "/healthz").status == 200);
    if (has_ipv6()) {
      CHECK(get(server.port(), "/healthz", "GET", "::1").status == 200);
    }
  }
  SUBCASE("a fixed port, again and again") {
    std::uint16_t port = 0;
    for (int i = 0; i < 3; ++i) {
      HttpOptions options = local();
      options.port = port;
      const HttpServer server(options, sources());
      if (port != 0) CHECK(server.port() == port);
      port = server.port();
      CHECK(port != 0);
      CHECK(get(port, "/healthz").status == 200);
    }
  }
  SUBCASE("several servers") {
    const HttpServer one(local(), sources("one\n"));
    const HttpServer two(local(), sources("two\n"));
    CHECK(one.port() != two.port());
    CHECK(get(one.port(), "/metrics").body == "one\n");
    CHECK(get(two.port(), "/metrics").body == "two\n");
  }
}

TEST_CASE("http: what cannot be listened at is an error that says why") {
  const HttpServer first(local(), sources());
  HttpOptions options = local();
  options.port = first.port();
  const std::string taken = complaint_about(options);
  CHECK(taken.find("127.0.0.1:" + std::to_string(first.port())) != std::string::npos);
  CHECK(taken.find("Address already in use") != std::string::npos);
  CHECK(get(first.port(), "/healthz").status == 200);

  options.port = 0;
  options.host = "192.0.2.1";  // for documentation: nobody has it
  CHECK(complaint_about(options).find("Cannot assign requested address") != std::string::npos);
  for (const char* name : {"localhost", "", "127.0.0.1:80,443s", "[::1]", "+"}) {
    options.host = name;
    CHECK(complaint_about(options).find("not a numeric address") != std::string::npos);
  }
}

TEST_CASE("http: clients that send slowly hold nobody up for longer than the timeout") {
  const HttpServer server(local(300ms), sources());
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 8; ++i) {
    slow.push_back(connect_to(server.port()));
    put(slow.back(), i % 2 == 0 ? "" : "GET /metrics HTTP/1.1\r\nX: ");
  }
  std::atomic<bool> stop{false};
  std::thread dribble([&] {
    while (!stop) {
      for (std::size_t i = 1; i < slow.size(); i += 2) put(slow[i], "y");
      std::this_thread::sleep_for(20ms);
    }
  });
  Answer answer;
  const double seconds = seconds_of([&] { answer = get(server.port(), "/healthz"); });
  CHECK(answer.status == 200);
  CHECK(seconds < 10);  // 1.2 s, were it not for machines under load
  for (const UniqueFd& fd : slow) take_all(fd);
  stop = true;
  dribble.join();
}

TEST_CASE("http: a request body is not waited for") {
  const HttpServer server(local(3s), sources());
  for (const char* more : {"Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n",
                           "Content-Length: 10\r\nExpect: 100-continue\r\n"}) {
    const std::string head = std::string("POST /metrics HTTP/1.1\r\nHost: a\r\n") + more + "\r\n";
    Answer answer;
    const double seconds = seconds_of([&] { answer = exchange(server.port(), head); });
    CHECK(answer.status == 405);
    CHECK(seconds < 2);
  }
}

TEST_CASE("http: clients that do not read hold nobody up") {
  const HttpServer server(local(200ms), sources(std::string(std::size_t{32} << 20U, 'x')));
  std::vector<UniqueFd> deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.push_back(connect_to(server.port(), "127.0.0.1", 4096));
    put(deaf.back(), "GET /metrics HTTP/1.1\r\n\r\n");
  }
  Answer answer;
  const double seconds = seconds_of([&] { answer = get(server.port(), "/healthz"); });
  CHECK(answer.status == 200);
  CHECK(seconds < 15);
}

TEST_CASE("http: clients that hang up do no harm") {
  const HttpServer server(local(), sources(std::string(std::size_t{8} << 20U, 'x')));
  for (int i = 0; i < 30; ++i) {
    UniqueFd fd = connect_to(server.port());
    if (i % 3 != 0) put(fd, i % 3 == 1 ? "GET /met" : "GET /metrics HTTP/1.1\r\n\r\n");
    const linger reset{1, 0};
    if (i % 2 == 0) setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  CHECK(get(server.port(), "/healthz").status == 200);
}

TEST_CASE("http: headers that are too long or too many are refused") {
  const HttpServer server(local(1s), sources());
  for (const std::size_t size : {std::size_t{8191}, std::size_t{8192}, std::size_t{8193},
                                 std::size_t{20'000}, std::size_t{1'000'000}}) {
    const UniqueFd fd = connect_to(server.port());
    put(fd, "GET /metrics HTTP/1.1\r\nX: " + std::string(size, 'a') + "\r\n\r\n");
    const int status = test::parse(take_all(fd)).status;
    const bool refused = status == 0 || (status >= 400 && status < 500);
    CHECK(refused);
  }
  CHECK(get(server.port(), "/" + std::string(7000, 'a')).status == 404);
  std::string many = "GET /healthz HTTP/1.1\r\n";
  for (int i = 0; i < 500; ++i) many += "a: b\r\n";
  CHECK(exchange(server.port(), many + "\r\n").status >= 200);
  CHECK(get(server.port(), "/healthz").status == 200);
}

TEST_CASE("http: garbage does no harm") {
  const HttpServer server(local(200ms), sources());
  const std::vector<std::string> garbage = {
      "\r\n\r\n",
      "\n\n",
      std::string(100, '\x01') + "\r\n\r\n",
      "GET\r\n\r\n",
      "GET /metrics\r\n\r\n",
      "GET  HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/9.9\r\n\r\n",
      "GET * HTTP/1.1\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\n\r\n",
      "CONNECT a:80 HTTP/1.1\r\n\r\n",
      "GET http://elsewhere/metrics HTTP/1.1\r\n\r\n",
      "GET metrics HTTP/1.1\r\n\r\n",
      "BREW /metrics HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
      "GET /%zz%%% HTTP/1.1\r\n\r\n",
      "GET /%n%s%x HTTP/1.1\r\nHost: %s%n\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01\x02\x02\x01\x02\x01\xfc\x03\x03",
  };
  for (const std::string& bytes : garbage) {
    const UniqueFd fd = connect_to(server.port());
    put(fd, bytes);
    ::shutdown(fd.get(), SHUT_WR);
    take_all(fd);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = i % 2 == 0 ? "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" : "";
    for (int j = 0; j < 8; ++j) {
      const std::size_t at = random() % (bytes.size() + 1);
      bytes.insert(at, 1, static_cast<char>(random()));
    }
    const UniqueFd fd = connect_to(server.port());
    put(fd, bytes);
    ::shutdown(fd.get(), SHUT_WR);
    take_all(fd);
  }
  CHECK(get(server.port(), "/healthz").status == 200);
}

TEST_CASE("http: many clients at a time") {
  const HttpServer server(local(), sources(std::string(100'000, 'x')));
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  clients.reserve(8);
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      for (int j = 0; j < 25; ++j) {
        const UniqueFd fd = connect_to(server.port());
        put(fd, i % 2 == 0 ? "GET /metrics HTTP/1.1\r\n\r\n" : "GET /readyz HTTP/1.1\r\n\r\n");
        if (test::parse(take_all(fd)).status == 200) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(good == 200);
}

TEST_CASE("http: stops at once, and lets a request come to its end") {
  const double idle = seconds_of([] { const HttpServer server(local(), sources()); });
  CHECK(idle < 1);

  std::atomic<bool> asked{false};
  HttpSources from = sources();
  from.metrics = [&] {
    asked = true;
    std::this_thread::sleep_for(50ms);
    return std::string("late\n");
  };
  auto server = std::make_unique<HttpServer>(local(), from);
  const UniqueFd fd = connect_to(server->port());
  put(fd, "GET /metrics HTTP/1.1\r\n\r\n");
  while (!asked) std::this_thread::yield();
  server.reset();
  from = {};
  take_all(fd);  // an answer or none, but an end
}

// CivetWeb's threads that have named themselves by now: how many, and what all of them block.
struct Threads {
  int count = 0;
  unsigned long long blocked = ~0ULL;
};
Threads civetweb_threads() {
  Threads threads;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    std::string name;
    std::string blocked;
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("Name:\t", 0) == 0) name = line.substr(6);
      if (line.rfind("SigBlk:\t", 0) == 0) blocked = line.substr(8);
    }
    if (name.rfind("civetweb", 0) != 0) continue;
    ++threads.count;
    threads.blocked &= std::strtoull(blocked.c_str(), nullptr, 16);
  }
  return threads;
}

TEST_CASE("http: its threads leave all signals to others") {
  const HttpServer server(local(), sources());
  CHECK(get(server.port(), "/healthz").status == 200);
  constexpr int expected = 3;  // one accepts, two answer
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  Threads threads = civetweb_threads();
  while (threads.count < expected && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::yield();
    threads = civetweb_threads();
  }
  CHECK(threads.count == expected);
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD}) {
    CAPTURE(signal);
    CHECK((threads.blocked >> static_cast<unsigned>(signal - 1) & 1U) == 1);
  }
}

}  // namespace
}  // namespace dwspool::admin
