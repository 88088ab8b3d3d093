#include "app/probe.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "dwspool/base/text.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "dwspool/auth/digest.h"
#include "dwspool/login/encryption.h"

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

// A blocking connection, encrypted from start_tls on.
class Line {
 public:
  explicit Line(UniqueFd fd) : fd_(std::move(fd)) {}

  bool send(std::string& bytes) {
    std::string out;
    out.swap(bytes);
    if (engine_) {
      const Slice slice{out.data(), out.size()};
      std::string encrypted;
      if (!engine_->send(&slice, 1, encrypted)) return false;
      out = std::move(encrypted);
    }
    return put(out);
  }

  // Appends to `in`. False at the end of the connection; see problem().
  bool receive(std::string& in) {
    const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (got <= 0) {
      problem_ = got == 0 ? "the server closed the connection" : "no answer in time";
      return false;
    }
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (!engine_) {
      in += bytes;
      return true;
    }
    std::string plain(bytes.size() + tls::max_record, '\0');
    std::string answer;
    plain.resize(engine_->receive(bytes, plain.data(), plain.size(), answer));
    in += plain;
    if (put(answer) && engine_->state() != tls::Engine::State::failed) return true;
    problem_ = "TLS: " + engine_->failure();
    return false;
  }

  bool start_tls(std::unique_ptr<tls::Engine> engine) {
    engine_ = std::move(engine);
    std::string hello;
    engine_->start(hello);
    if (!put(hello)) return false;
    std::string nothing;
    while (engine_->state() == tls::Engine::State::shaking_hands) {
      if (!receive(nothing)) return false;
    }
    if (engine_->state() == tls::Engine::State::established) return true;
    problem_ = "TLS: " + engine_->failure();
    return false;
  }

  const std::string& problem() const { return problem_; }
  std::string end_point() const { return engine_ ? engine_->server_end_point() : ""; }
  std::string tls_version() const { return engine_ ? engine_->version() : ""; }

 private:
  bool put(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  UniqueFd fd_;
  std::unique_ptr<tls::Engine> engine_;
  std::string problem_;
  std::array<char, 4096> buffer_{};
};

enum class Agreement : std::uint8_t { reached, again, none };

// On whether there is TLS.
Agreement agree(Line& line, login::Encryption& encryption, const ProbeTarget& target,
                std::string& problem) {
  using Answer = login::Encryption::Answer;
  if (!encryption.asks()) return Agreement::reached;
  std::string bytes;
  login::Encryption::request(bytes);
  if (!line.send(bytes) || !line.receive(bytes)) {
    problem = line.problem();
    return Agreement::none;
  }
  std::string_view view = bytes;
  switch (encryption.on_answer(view)) {
    case Answer::start_tls:
      if (line.start_tls(target.tls.engine_to(target.cluster, target.coordinator))) {
        return Agreement::reached;
      }
      problem = line.problem();
      return encryption.on_handshake_failed() ? Agreement::again : Agreement::none;
    case Answer::in_clear:
      return Agreement::reached;
    case Answer::again:
      return Agreement::again;
    case Answer::incomplete:
    case Answer::refused:
      break;
  }
  problem = encryption.reason();
  return Agreement::none;
}

void log_in(Line& line, login::BackendLogin& login) {
  std::string out;
  std::string in;
  login.start(out);
  while (!login.finished()) {
    if (!line.send(out)) {
      login.on_lost("could not send to the server");
      return;
    }
    if (!line.receive(in)) {
      login.on_lost(line.problem());
      return;
    }
    std::string_view view = in;
    login::BackendLogin::Need need = login.on_bytes(view, out);
    while (need == login::BackendLogin::Need::derivation) {
      const login::DerivedKeys keys = login::derive(login.derivation());
      need = login.on_derived(keys, out);
    }
    in.erase(0, in.size() - view.size());
  }
}

// The rows of one answer, values as text.
using Rows = std::vector<std::vector<std::string>>;

std::vector<std::string> values_of(std::string_view data_row) {
  wire::Cursor cursor(data_row);
  std::vector<std::string> values(cursor.u16());
  for (std::string& value : values) {
    const std::uint32_t size = cursor.u32();
    if (size != 0xffffffffU) value = cursor.bytes(size);
  }
  return values;
}

// What is asked has one answer, which is read to its end: rows, or why there are none.
struct Reply {
  Rows rows;
  std::string sqlstate;
  std::string problem;
};

Reply converse(Line& line, std::string& bytes) {
  Reply reply;
  reply.problem = "the connection broke";
  if (!line.send(bytes)) return reply;
  std::string error;
  std::string in;
  while (true) {
    std::string_view view = in;
    const wire::FrameView next = wire::peek_frame(view);
    if (next.status == wire::FrameStatus::bad) return reply;
    if (next.status != wire::FrameStatus::complete) {
      if (!line.receive(in)) return reply;
      continue;
    }
    const wire::Frame frame = wire::take_frame(view, next);
    if (frame.type == wire::backend::data_row) reply.rows.push_back(values_of(frame.body()));
    if (frame.type == wire::backend::error_response) {
      const wire::ErrorFields fields = wire::read_error(frame.body());
      reply.sqlstate = printable(fields.sqlstate);
      error = printable(fields.message, 200) + " (" + reply.sqlstate + ")";
      reply.rows.clear();
    }
    const bool over = frame.type == wire::backend::ready_for_query;
    in.erase(0, in.size() - view.size());
    if (!over) continue;
    reply.problem = error;
    return reply;
  }
}

// No rows when anything goes wrong: what it tells is welcome, not needed.
Rows ask(Line& line, std::string_view question) {
  std::string bytes;
  wire::append_query(bytes, question);
  return converse(line, bytes).rows;
}

// As the daemon asks: the name is a parameter.
void try_lookup(Line& line, const ProbeAccount& account, ProbeResult& result) {
  constexpr std::string_view no_types("\0\0", 2);
  std::string bytes;
  wire::append_parse(bytes, "", account.lookup, no_types);
  wire::append_bind_text(bytes, "", account.user);
  wire::append_execute(bytes);
  wire::append_sync(bytes);
  const Reply reply = converse(line, bytes);
  result.lookup_problem = reply.problem;
  result.sqlstate = reply.sqlstate;
  if (reply.rows.empty() || reply.rows.front().size() >= 2) return;
  result.lookup_problem = "its answer has one column, and not two: the name and its verifier";
}

// Limits that have something to say to a pool. Those that a server does not know are missing.
constexpr std::string_view question =
    "select name, setting from pg_settings where name in ('max_connections', "
    "'superuser_reserved_connections', 'session_timeout', 'failed_login_attempts', "
    "'password_lock_time', 'statement_timeout', 'idle_in_transaction_session_timeout') "
    "union all select 'role', case when pg_is_in_recovery() then 'standby' else 'primary' end "
    "union all select 'clock', extract(epoch from clock_timestamp())::text";

void interrogate(Line& line, ProbeResult& result) {
  using Clock = std::chrono::steady_clock;
  const auto begun = Clock::now();
  if (ask(line, "select 1").empty()) return;
  result.round_trip_milliseconds =
      std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
  for (const std::vector<std::string>& row : ask(line, question)) {
    if (row.size() != 2) continue;
    if (row[0] == "role") {
      result.role = row[1];
    } else if (row[0] == "clock") {
      const double now =
          std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
              .count();
      result.clock_ahead_seconds = std::strtod(row[1].c_str(), nullptr) - now;
    } else {
      result.settings[row[0]] = printable(row[1]);
    }
  }
}

}  // namespace

ProbeResult probe(const ProbeTarget& target, const ProbeAccount& account) {
  ProbeResult result;
  const auto start = std::chrono::steady_clock::now();
  std::uint32_t protocol = wire::protocol_gauss_3_51;
  const config::Cluster& cluster = target.cluster;
  const config::Coordinator& coordinator = target.coordinator;
  login::Encryption encryption(proxy::TlsStore::mode_of(cluster, coordinator));
  while (true) {
    UniqueFd fd = connect_to(coordinator, cluster.connect_timeout, result.problem);
    if (!fd) return result;
    result.reachable = true;
    Line line(std::move(fd));
    const Agreement agreement = agree(line, encryption, target, result.problem);
    if (agreement == Agreement::again) continue;
    if (agreement == Agreement::none) return result;
    login::Identity identity;
    identity.user = account.user;
    identity.database = account.database;
    identity.credential.password = account.password;
    identity.protocol = protocol;
    identity.max_iterations = cluster.max_pbkdf2_iterations;
    identity.end_point = line.end_point();
    identity.nonce = auth::make_scram_nonce(auth::random_bytes(nonce_bytes));
    login::BackendLogin login(std::move(identity));
    log_in(line, login);
    if (login.state() != login::BackendLogin::State::done) {
      const wire::ErrorReport& report = login.report();
      if (login.failure() == login::Failure::old_protocol && protocol != wire::protocol_3_0) {
        protocol = wire::protocol_3_0;
        continue;
      }
      const bool by_server = login.failure() == login::Failure::credentials ||
                             login.failure() == login::Failure::unavailable;
      if (by_server && encryption.on_login_refused(report.sqlstate, login.proven())) continue;
      result.problem = printable(report.message, 200);
      if (!report.sqlstate.empty()) result.problem += " (" + printable(report.sqlstate) + ")";
      if (!report.hint.empty()) result.problem += " - " + printable(report.hint, 200);
      result.sqlstate = printable(report.sqlstate);
      result.refused = login.failure() == login::Failure::credentials;
      result.spent = result.refused && login.proven();
      return result;
    }
    result.logged_in = true;
    result.method = login.method();
    result.tls = line.tls_version();
    result.dialect = to_string(login.dialect());
    for (const auto& [name, value] : login.parameters()) {
      if (name == "server_version") result.server_version = printable(value);
    }
    result.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    interrogate(line, result);
    if (!account.lookup.empty()) try_lookup(line, account, result);
    std::string bye;
    wire::append_terminate(bye);
    static_cast<void>(line.send(bye));
    return result;
  }
}

}  // namespace dwspool::app
