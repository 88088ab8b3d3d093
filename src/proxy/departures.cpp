#include "dwspool/proxy/departures.h"

#include <utility>

#include "dwspool/base/secret.h"

#include "dwspool/proxy/handover_message.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

using Kind = HandoverMessage::Kind;

Departures::Departures(Log& log, net::Loop& loop, UniqueFd channel,
                       const std::vector<std::unique_ptr<Worker>>& workers,
                       std::function<void(const wire::KeyData&)> on_cancel)
    : log_(log),
      workers_(workers),
      on_cancel_(std::move(on_cancel)),
      channel_(loop, std::move(channel),
               {.on_message = [this](std::string_view bytes, UniqueFd) { on_message(bytes); },
                .on_closed = [this] { on_closed(); }}) {
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([this](Worker& self) { self.begin_departures(*this); });
  }
}

void Departures::finish() {
  closed_ = true;
  log_.write(LogLevel::info, "process.clients_gone",
             "these clients went on with the process that has taken over",
             {{"clients", taken_}, {"refused", refused_}});
}

void Departures::sweep() {
  if (closed_) return;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([](Worker& self) { self.offer_clients(); });
  }
}

void Departures::send(std::size_t worker, ClientId client, std::string record, UniqueFd socket) {
  const std::uint64_t number = ++last_;
  leaving_[number] = {worker, client};
  std::string message = write_handover_message({Kind::client, number, record});
  wipe(record);
  const bool fits = message.size() <= net::FdChannel::max_message;
  if (!fits) wipe(message);
  if (closed_ || !fits) return settle(number, false);
  // If the other end is gone, on_closed() comes.
  static_cast<void>(channel_.send(std::move(message), std::move(socket)));
}

void Departures::on_message(std::string_view bytes) {
  const auto message = read_handover_message(bytes);
  if (!message) return;
  switch (message->kind) {
    case Kind::taken:
    case Kind::refused:
      settle(message->number, message->kind == Kind::taken);
      break;
    case Kind::cancel:
      on_cancel_({static_cast<std::uint32_t>(message->number), std::string(message->body)});
      break;
    case Kind::ready:
    case Kind::client:
      break;
  }
}

void Departures::settle(std::uint64_t number, bool taken) {
  const auto found = leaving_.find(number);
  if (found == leaving_.end()) return;
  const Leaving client = found->second;
  leaving_.erase(found);
  ++(taken ? taken_ : refused_);
  workers_[client.worker]->post(
      [client = client.client, taken](Worker& self) { self.on_departed(client, taken); });
}

// The other process has ended: whoever it has not taken stays.
void Departures::on_closed() {
  closed_ = true;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->post([](Worker& self) { self.end_departures(); });
  }
  while (!leaving_.empty()) settle(leaving_.begin()->first, false);
}

}  // namespace dwspool::proxy
