#include "dwspool/proxy/arrivals.h"

#include <optional>
#include <utility>

#include "dwspool/proxy/client_record.h"
#include "dwspool/proxy/handover_message.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

using Kind = HandoverMessage::Kind;

Arrivals::Arrivals(Log& log, net::Loop& loop, UniqueFd channel,
                   const std::vector<std::unique_ptr<Worker>>& workers,
                   std::function<void()> on_end)
    : log_(log),
      workers_(workers),
      channel_(loop, std::move(channel),
               {.on_message = [this](std::string_view bytes,
                                     UniqueFd fd) { on_message(bytes, std::move(fd)); },
                .on_closed = std::move(on_end)}) {
  static_cast<void>(
      channel_.send(write_handover_message({Kind::ready, ClientRecord::version, {}})));
}

Arrivals::~Arrivals() {
  *alive_ = false;
  log_.write(LogLevel::info, "process.clients_came",
             "these clients came from the process that was before; it has ended",
             {{"clients", taken_}});
}

void Arrivals::pass_on(const wire::KeyData& cancel) {
  static_cast<void>(
      channel_.send(write_handover_message({Kind::cancel, cancel.pid, cancel.secret})));
}

void Arrivals::on_message(std::string_view bytes, UniqueFd fd) {
  const auto message = read_handover_message(bytes);
  if (message && message->kind == Kind::client) take(message->number, message->body, std::move(fd));
}

void Arrivals::take(std::uint64_t number, std::string_view bytes, UniqueFd socket) {
  auto record = decode_client_record(bytes);
  if (!record || !socket) return on_adopted(number, 0, {});
  // std::function wants its content copyable.
  auto arriving =
      std::make_shared<std::pair<ClientRecord, UniqueFd>>(std::move(*record), std::move(socket));
  const std::size_t index = next_worker_;
  next_worker_ = (next_worker_ + 1) % workers_.size();
  workers_[index]->post([this, alive = alive_, number, arriving](Worker& self) {
    const ClientId client = self.adopt_client(arriving->first, std::move(arriving->second));
    self.all().front()->post([this, alive, number, client, index = self.index()](Worker& first) {
      if (*alive) return on_adopted(number, index, client);
      first.all()[index]->post([client](Worker& owner) { owner.drop_client(client); });
    });
  });
}

// Nothing is read from it before the other process has been told: if that is gone, so is the
// client's last word perhaps, and nobody may go on with it.
void Arrivals::on_adopted(std::uint64_t number, std::size_t worker, ClientId client) {
  const bool here = static_cast<bool>(client);
  const bool told =
      channel_.send(write_handover_message({here ? Kind::taken : Kind::refused, number, {}}));
  if (!here) return;
  if (told) ++taken_;
  workers_[worker]->post([client, told](Worker& owner) {
    if (told) {
      owner.begin_client(client);
    } else {
      owner.drop_client(client);
    }
  });
}

}  // namespace dwspool::proxy
