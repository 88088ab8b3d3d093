// Clients that go from this process to another, and that come from one.
#include <utility>

#include <fcntl.h>

#include "dwspool/proxy/departures.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

// So many are on their way at a time: whoever is, is not served for the moment.
constexpr std::size_t most_leaving = 64;

}  // namespace

void Worker::begin_departures(Departures& departures) {
  departures_ = &departures;
  offer_clients();
}

void Worker::offer_clients() {
  clients_.for_each([this](FrontConn& client) { offer(client); });
}

void Worker::offer(FrontConn& client) {
  if (departures_ == nullptr || leaving_ >= most_leaving) return;
  std::optional<ClientRecord> record = client.leave();
  if (!record) return;
  auto socket = std::make_shared<UniqueFd>(::fcntl(client.socket_.fd(), F_DUPFD_CLOEXEC, 0));
  if (!*socket) {
    client.resume();
    return;
  }
  ++leaving_;
  all_.front()->post([departures = departures_, worker = index_, id = client.id(),
                      bytes = encode(*record), socket](Worker&) mutable {
    departures->send(worker, id, std::move(bytes), std::move(*socket));
  });
}

void Worker::on_departed(ClientId id, bool taken) {
  --leaving_;
  if (FrontConn* const client = find_client(id)) {
    if (taken) {
      remove_client(id);
    } else {
      client->stays_ = true;
      client->resume();
    }
  }
  if (leaving_ == 0) offer_clients();
}

void Worker::end_departures() {
  departures_ = nullptr;
}

ClientId Worker::adopt_client(const ClientRecord& record, UniqueFd fd) {
  const bool ends = draining_ || hub_.draining.load(std::memory_order_relaxed);
  if (ends || !config_->may_come_in(record.user, record.database)) return {};
  PoolContext* const pool = find_pool(record.database, record.user, record.proven);
  if (pool == nullptr) return {};
  metrics_->clients.add(1);
  hub_.clients.fetch_add(1, std::memory_order_relaxed);
  FrontConn& client = clients_.emplace([&](ClientId id) {
    return std::make_unique<FrontConn>(*this, id, std::move(fd), record, *pool);
  });
  client.counted_ = true;
  const ClientId id = client.id();
  if (!hub_.cancels.add_known({index_, id}, record.key)) {
    remove_client(id);
    return {};
  }
  client.key_ = record.key;
  wire::ErrorReport none;
  static_cast<void>(client.count_client(record.database, none, true));
  touch(*pool);
  return id;
}

void Worker::begin_client(ClientId id) {
  if (FrontConn* const client = find_client(id)) {
    client->resume();
    client->on_reconfigured();  // there may have been a reload meanwhile
  }
  settle();
}

void Worker::drop_client(ClientId id) {
  if (find_client(id) != nullptr) remove_client(id);
  settle();
}

}  // namespace dwspool::proxy
