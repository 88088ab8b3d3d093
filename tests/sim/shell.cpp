// What proxy::Worker does: pools, time, cancels, the end.
#include "sim/shell.h"

#include <algorithm>

#include "dwspool/wire/sqlstate.h"

namespace dwspool::sim {

Shell::Shell(Context& context, Network& network, Cluster& cluster, const ShellOptions& options)
    : context_(context),
      network_(network),
      cluster_(cluster),
      options_(options),
      no_settings_(settings_.intern(session::SettingSet{})),
      moderator_(std::make_shared<retry::Moderator>(options.moderator)),
      sessions_(std::make_shared<proxy::SharedSessions>(options.sessions, statements_, settings_,
                                                        reported_, options.replay,
                                                        retry::ErrorTable())),
      pool_(options.pool),
      slots_(ledger_.account("pool", options.pool_size, options.reserve_size)),
      old_protocol_(cluster.size()) {
  for (std::size_t i = 0; i < cluster.size(); ++i) topology_.add_host(1, 0, context_.now);
  spoil_replay();
  pool_.tick(context_.now);
  settle();
}

Plug Shell::accept() {
  auto [theirs, mine] = network_.connect();
  Plug plug = std::move(mine);
  clients_.emplace(
      [&](ClientId id) { return std::make_unique<Front>(*this, id, std::move(plug)); });
  return std::move(theirs);
}

void Shell::remove_client(ClientId id) {
  std::unique_ptr<Front> client = clients_.take(id);
  if (!client) return;
  if (client->session_) cancels_.remove(client->key_);
  dead_clients_.push_back(std::move(client));
}

void Shell::settle() {
  if (settling_) return;
  settling_ = true;
  do_actions();
  settling_ = false;
}

void Shell::do_actions() {
  std::vector<pool::Action> actions;
  while (pool_.has_actions()) {
    pool_.take_actions(actions);
    for (const pool::Action& action : actions) {
      Front* client = find_client(action.client);
      Back* backend = find_backend(action.backend);
      switch (action.kind) {
        case pool::Action::Kind::grant:
          if (backend == nullptr) break;
          if (client != nullptr) {
            client->on_granted(*backend);
          } else {
            pool_.give_back(backend->slot(), never, context_.now);
          }
          break;
        case pool::Action::Kind::open:
          backends_
              .emplace([&](BackendId id) { return std::make_unique<Back>(*this, id, action.slot); })
              .open();
          break;
        case pool::Action::Kind::close:
          if (backend != nullptr) backend->close();
          break;
        case pool::Action::Kind::need_slot:
          if (slots_->try_take(0, action.reserve)) {
            pool_.on_slot(context_.now);
          } else {
            pool_.on_slot_denied();
          }
          break;
        case pool::Action::Kind::free_slot:
          if (!slots_->give_back().empty()) pool_.on_slots_available(context_.now);
          break;
        case pool::Action::Kind::surrender:
          context_.violate("a backend is to go to another worker, and there is none");
        case pool::Action::Kind::timeout:
          if (context_.is_broken(Broken::ignore_queue_timeout)) {
            ++context_.broken_times;
            break;
          }
          if (client != nullptr) {
            wire::ErrorReport report;
            const bool at_login = client->session() != nullptr &&
                                  client->session()->state() == session::SessionState::starting;
            report.sqlstate =
                at_login ? wire::sqlstate::cannot_connect_now : wire::sqlstate::connection_failure;
            report.message = "no connection to the database server could be had in time";
            client->on_acquire_failed(report);
          }
          break;
        case pool::Action::Kind::notice:
          if (client != nullptr) client->on_wait_notice();
          break;
      }
    }
    actions.clear();
  }
}

void Shell::fail_waiters(const wire::ErrorReport& report) {
  for (const ClientId id : pool_.take_waiters()) {
    if (Front* client = find_client(id)) client->on_acquire_failed(report);
  }
}

void Shell::forward_cancel(const wire::CancelRequest& request, ClientId requester) {
  const auto answer = [this, requester] {
    if (Front* connection = find_client(requester)) connection->destroy();
  };
  const auto target = cancels_.find(request.pid, request.secret);
  Front* client = target ? find_client(target->client) : nullptr;
  if (client == nullptr) {
    answer();
  } else {
    client->cancel(answer);
  }
}

void Shell::collect_connecting(std::vector<std::function<void()>>& events, bool may_fail) {
  const bool reachable = !(may_fail && context_.random.chance(5));
  backends_.for_each([&](Back& back) {
    if (back.connecting()) {
      events.emplace_back([this, &back, reachable] {
        back.on_connected(reachable);
        settle();
      });
    }
    if (back.deriving()) {
      events.emplace_back([this, &back] {
        back.on_derived();
        settle();
      });
    }
  });
  for (const auto& cancel : cancel_conns_) {
    if (cancel->connecting()) {
      events.emplace_back([&cancel, reachable] { cancel->on_connected(reachable); });
    }
  }
}

TimePoint Shell::next_deadline() {
  TimePoint next = pool_.next_deadline();
  clients_.for_each([&](Front& client) { next = std::min(next, client.deadline()); });
  backends_.for_each([&](Back& back) { next = std::min(next, back.deadline()); });
  for (const auto& cancel : cancel_conns_) {
    if (!cancel->finished()) next = std::min(next, cancel->deadline());
  }
  return next;
}

void Shell::on_timer() {
  const TimePoint now = context_.now;
  clients_.for_each([&](Front& client) {
    if (client.deadline() > now) return;
    if (client.linger_ends() <= now) {
      client.destroy();
    } else {
      client.on_session_deadline();
    }
  });
  backends_.for_each([&](Back& back) {
    if (back.deadline() <= now) back.on_deadline();
  });
  for (const auto& cancel : cancel_conns_) {
    if (!cancel->finished() && cancel->deadline() <= now) cancel->finish(false);
  }
  pool_.tick(now);
  settle();
}

void Shell::drain() {
  draining_ = true;
  clients_.for_each([&](Front& client) {
    if (client.session() == nullptr) {
      client.destroy();
    } else {
      client.drain();
    }
  });
  settle();
}

void Shell::sweep() {
  dead_clients_.clear();
  dead_backends_.clear();
  cancel_conns_.remove_if([](const auto& cancel) { return cancel->finished(); });
}

}  // namespace dwspool::sim
