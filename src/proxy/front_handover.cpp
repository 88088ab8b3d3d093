// A client on its way from process to process.
#include <utility>

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

net::Address address_of(const ClientRecord& record, int socket) {
  if (!record.address.empty()) return net::Address::of_bytes(record.address, record.port);
  sockaddr_storage local{};
  socklen_t size = sizeof(local);
  auto* const address = reinterpret_cast<sockaddr*>(&local);
  if (::getpeername(socket, address, &size) != 0) return {};
  return {address, size};
}

}  // namespace

FrontConn::FrontConn(Worker& worker, ClientId id, UniqueFd fd, const ClientRecord& record,
                     PoolContext& pool)
    : worker_(worker),
      id_(id),
      number_(worker.next_connection_number()),
      socket_(worker.loop(), std::move(fd), *this),
      peer_(address_of(record, socket_.fd())),
      accepted_at_(worker.now() - record.connected),
      request_started_(never),
      transaction_started_(never),
      answered_(record.answered),
      sessions_(pool.sessions),
      session_(std::make_unique<session::ReplayedSession>(sessions_->context, &sessions_->replay,
                                                          worker.next_session_number(),
                                                          record.session, record.key)),
      pool_(&pool),
      user_(record.user),
      pin_logged_(record.pin_logged),
      leaves_(true) {
  ++pool.clients;
  keep_proof(record.proven);
}

// What TLS has agreed on cannot be passed on, nor can what a backend has.
std::optional<ClientRecord> FrontConn::leave() {
  const bool busy = waiting_ || backend_ != nullptr || !in_.empty() || !out_.empty();
  const bool ends = lingering_ || input_ended_ || moves_;
  if (!session_ || busy || ends || leaves_ || stays_ || socket_.tls() != nullptr) {
    return std::nullopt;
  }
  std::optional<session::SessionImage> image = session_->image();
  if (!image) return std::nullopt;
  leaves_ = true;
  update_interest();
  ClientRecord record;
  record.database = pool_->database;
  record.user = user_;
  record.address = peer_.bytes();
  record.port = peer_.is_unix() ? std::uint16_t{0} : peer_.port();
  record.connected = worker_.now() - accepted_at_;
  record.answered = answered_;
  record.pin_logged = pin_logged_;
  record.key = key_;
  if (proven_) record.proven = *proven_;
  record.session = std::move(*image);
  return record;
}

void FrontConn::resume() {
  leaves_ = false;
  update_interest();
  if (worker_.hub().draining.load(std::memory_order_relaxed)) drain();
}

}  // namespace dwspool::proxy
