#include "dwspool/proxy/cancel_sender.h"

#include <array>
#include <cstdlib>
#include <utility>

#include "dwspool/login/encryption.h"

namespace dwspool::proxy {
namespace {

constexpr Duration patience = std::chrono::seconds{5};

// The connector takes the directory and the port of a Unix socket apart.
std::string host_of(const net::Address& server) {
  if (!server.is_unix()) return server.host();
  const std::string path = server.host();
  return path.substr(0, path.rfind('/'));
}

std::uint16_t port_of(const net::Address& server) {
  if (!server.is_unix()) return server.port();
  const std::string path = server.host();
  return static_cast<std::uint16_t>(
      std::strtoul(path.substr(path.rfind('.') + 1).c_str(), nullptr, 10));
}

}  // namespace

CancelSender::CancelSender(net::Loop& loop, const net::Address& server,
                           std::unique_ptr<tls::Engine> tls, std::string packet,
                           std::function<void(bool sent, bool dealt_with)> done)
    : loop_(loop),
      packet_(std::move(packet)),
      engine_(std::move(tls)),
      done_(std::move(done)),
      timer_(loop, [this] { finish(); }),
      connector_(loop, host_of(server), port_of(server),
                 [this](UniqueFd fd, const std::string&) { on_connected(std::move(fd)); }) {
  timer_.arm(loop.now() + patience);
}

void CancelSender::on_connected(UniqueFd fd) {
  if (!fd) {
    finish();
    return;
  }
  socket_ = std::make_unique<net::Socket>(loop_, std::move(fd), *this);
  socket_->watch(true, false);
  if (!engine_) {
    send_packet();
    return;
  }
  std::string request;
  login::Encryption::request(request);
  const Slice slice{request.data(), request.size()};
  if (socket_->send(&slice, 1).bytes != request.size()) finish();
}

void CancelSender::on_encryption_answer() {
  std::array<char, 2> answer{};
  const net::IoResult got = socket_->receive(answer.data(), answer.size());
  if (got.status == net::IoResult::Status::would_block) return;
  if (got.bytes != 1 || answer.front() != 'S') {
    finish();
    return;
  }
  socket_->start_tls(std::move(engine_));
  socket_->watch(true, true);  // writable when hands are shaken
}

void CancelSender::send_packet() {
  const Slice slice{packet_.data(), packet_.size()};
  sent_ = socket_->send(&slice, 1).bytes == packet_.size();
  if (sent_) {
    socket_->watch(true, false);
  } else {
    finish();
  }
}

void CancelSender::on_ready(bool readable, bool writable) {
  if (engine_) {
    on_encryption_answer();
    return;
  }
  if (writable && !sent_) {
    send_packet();
    return;
  }
  if (!readable) return;
  std::array<char, net::Socket::min_room> rest;  // NOLINT: nobody looks at it
  const net::IoResult got = socket_->receive(rest.data(), rest.size());
  if (got.status == net::IoResult::Status::would_block) return;
  answered_ = got.status != net::IoResult::Status::failed;
  finish();
}

void CancelSender::finish() {
  const std::function<void(bool, bool)> done = std::move(done_);
  done(sent_, answered_ || !sent_);
}

}  // namespace dwspool::proxy
