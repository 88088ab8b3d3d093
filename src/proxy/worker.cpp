#include "dwspool/proxy/worker.h"

#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"

namespace dwspool::proxy {
namespace {

// How often pools that nobody uses are looked for, and the loop shows that it turns.
constexpr Duration housekeeping = std::chrono::seconds{10};
// How long a connection that has not logged in holds up the end of the process.
constexpr Duration login_grace = std::chrono::seconds{1};

}  // namespace

Worker::Worker(Hub& hub, std::size_t index, std::vector<std::unique_ptr<Worker>>& all)
    : hub_(hub),
      config_(hub.config()),
      clusters_(hub.clusters),
      index_(index),
      all_(all),
      metrics_(hub.metrics.worker(index)),
      buffer_(std::make_unique<char[]>(keep_size + read_size)),  // NOLINT
      no_settings_(settings_.intern(session::SettingSet{})),
      alive_(std::make_shared<bool>(true)),
      gates_(hub.gates.current()),
      random_state_(wire::load_u32(auth::random_bytes(4).data()) | 1U),
      wake_(loop_, [this] { run_tasks(); }),
      timer_(loop_, [this] { on_timer(); }),
      desk_(*this),
      introductions_(hub, loop_),
      peer_cancels_(hub, loop_, *metrics_, config_->peers) {
  next_housekeeping_ = loop_.now() + housekeeping;
  metrics_->heartbeat.set(
      std::chrono::duration_cast<std::chrono::seconds>(loop_.now().time_since_epoch()).count());
  arm(next_housekeeping_);
}

Worker::~Worker() {
  *alive_ = false;
}

double Worker::random_unit() {
  random_state_ ^= random_state_ << 13U;
  random_state_ ^= random_state_ >> 7U;
  random_state_ ^= random_state_ << 17U;
  return static_cast<double>(random_state_ >> 11U) / 9007199254740992.0;  // 2^53
}

// --- Between threads -----------------------------------------------------------------------------

void Worker::post(std::function<void(Worker&)> task) {
  {
    const std::lock_guard lock(tasks_mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.wake();
}

void Worker::run_tasks() {
  std::vector<std::function<void(Worker&)>> tasks;
  {
    const std::lock_guard lock(tasks_mutex_);
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task(*this);
  settle();
}

// --- Clients and backends ------------------------------------------------------------------------

void Worker::add_client(UniqueFd fd, const net::Address& peer, bool by_proxy) {
  metrics_->connections_accepted.add();
  metrics_->clients.add(1);
  if (!peer.is_unix()) {
    const config::KeepAlive& keepalive = config_->client_keepalive;
    net::set_tcp_options(fd.get(), {keepalive.idle, keepalive.interval, keepalive.count});
  }
  const FrontConn& client = clients_.emplace([&](ClientId id) {
    return std::make_unique<FrontConn>(*this, id, std::move(fd), peer, by_proxy);
  });
  const TimePoint deadline = deadline_after(now(), config_->client_login_timeout);
  while (!logins_.empty()) {
    const FrontConn* oldest = find_client(logins_.front().second);
    if (oldest != nullptr && !oldest->logged_in()) break;
    logins_.pop_front();
  }
  if (deadline != never) {
    logins_.emplace_back(deadline, client.id());
    arm(deadline);
  }
}

void Worker::add_linger_deadline(ClientId id, TimePoint deadline) {
  lingers_.emplace_back(deadline, id);
  arm(deadline);
}

void Worker::add_session_deadline(ClientId id, TimePoint deadline) {
  session_deadlines_.push({deadline, id});
  arm(deadline);
}

void Worker::add_backend_deadline(BackendId id, TimePoint deadline) {
  if (deadline == never) return;
  backend_deadlines_.push({deadline, id});
  arm(deadline);
}

void Worker::add_refusal_deadline(ClientId id, TimePoint deadline) {
  refusals_.push({deadline, id});
  arm(deadline);
}

void Worker::remove_client(ClientId id) {
  std::unique_ptr<FrontConn> client = clients_.take(id);
  if (!client) return;
  if (!client->leaves_) client->log_leaving();
  metrics_->clients.add(-1);
  for (const std::string& name : client->counted_as_) hub_.client_counts.leave(name);
  if (client->counted_) hub_.clients.fetch_sub(1, std::memory_order_relaxed);
  if (client->logged_in()) hub_.cancels.remove(client->key_);
  if (client->console_) desk_.give_up(id, false);
  if (client->pool_ != nullptr) {
    --client->pool_->clients;
    client->pool_->publish(index_);
  }
  client.reset();
  check_drained();
}

void Worker::remove_backend(BackendId id) {
  if (const std::unique_ptr<BackConn> backend = backends_.take(id)) --backend->pool().backends;
}

PoolContext* Worker::find_pool(const std::string& database, const std::string& user,
                               const auth::Credential& proven) {
  std::optional<Route> route = make_route(*config_, database, user, proven);
  if (!route) return nullptr;
  const std::string key = key_of(*route);
  if (const auto found = pools_.find(key); found != pools_.end()) {
    // One that nobody was routed to for a while.
    if (!found->second->current) reconfigure_pool(*found->second, std::move(*route));
    return found->second.get();
  }

  divide_minimum(*route);
  auto pool =
      std::make_unique<PoolContext>(config_, std::move(*route), statements_, settings_, reported_);
  pool->database = database;
  pool->client = user;
  pool->proven = proven;
  pool->slots =
      hub_.slots.account(key, pool->route.settings.size, pool->route.settings.reserve_size);
  pool->metrics = hub_.metrics.pool(index_, printable(database), printable(pool->route.user));
  pool->cluster = clusters_[pool->route.cluster_index];
  pool->quota = hub_.quotas.join(key, pool->route.quotas);
  note_room(*pool->cluster, pool->route.target);
  pool->sessions->replay.moderator = pool->cluster->moderator();
  PoolContext* made = pool.get();
  pools_.emplace(key, std::move(pool));
  if (gates_->is_paused(database)) made->pool.pause(now());
  made->cluster->offer(
      {made->route.user, made->route.credential, made->route.database, made->route.account});
  follow(*made);
  made->pool.tick(now());
  touch(*made);
  return made;
}

// --- Pools ---------------------------------------------------------------------------------------

void Worker::touch(PoolContext& pool) {
  if (pool.pool.has_actions()) {
    if (std::find(touched_.begin(), touched_.end(), &pool) == touched_.end()) {
      touched_.push_back(&pool);
    }
    return;
  }
  pool.publish(index_);
  arm(pool.pool.next_deadline());
}

void Worker::settle() {
  if (settling_) return;
  settling_ = true;
  while (!touched_.empty()) {
    PoolContext* pool = touched_.back();
    touched_.pop_back();
    do_actions(*pool);
    pool->publish(index_);
    arm(pool->pool.next_deadline());
  }
  settling_ = false;
}

void Worker::do_actions(PoolContext& pool) {
  std::vector<pool::Action> actions;
  while (pool.pool.has_actions()) {
    pool.pool.take_actions(actions);
    for (const pool::Action& action : actions) {
      FrontConn* client = find_client(action.client);
      BackConn* backend = find_backend(action.backend);
      switch (action.kind) {
        case pool::Action::Kind::grant:
          if (backend == nullptr) break;
          if (client != nullptr && !backend->may_be_lent()) {
            pool.pool.take_back_grant(action);
            follow(pool);
            backend->discard();
          } else if (client != nullptr) {
            client->on_granted(*backend);
          } else {
            pool.pool.give_back(backend->slot(), pool.slots->foreign_wait(index_), now());
          }
          break;
        case pool::Action::Kind::open:
          open_backend(pool, action.slot);
          break;
        case pool::Action::Kind::close:
          if (backend != nullptr) backend->close();
          break;
        case pool::Action::Kind::need_slot:
          request_slot(pool, action.reserve);
          break;
        case pool::Action::Kind::free_slot:
          free_slot(pool);
          break;
        case pool::Action::Kind::surrender:
          if (backend != nullptr) surrender(pool, action.backend);
          break;
        case pool::Action::Kind::timeout:
          if (client != nullptr) {
            const bool at_login = client->session() != nullptr &&
                                  client->session()->state() == session::SessionState::starting;
            hub_.log.write_limited(LogLevel::warning, "pool.queue_timeout",
                                   "a client waited in vain for a backend",
                                   {{"client", client->peer().text()},
                                    {"database", printable(pool.database)},
                                    {"user", printable(pool.route.user)},
                                    {"last_failure", pool.last_failure}});
            client->on_acquire_failed(timeout_report(pool, at_login));
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

void Worker::open_backend(PoolContext& pool, pool::Slot slot) {
  BackConn& backend = backends_.emplace(
      [&](BackendId id) { return std::make_unique<BackConn>(*this, id, pool, slot); });
  ++pool.backends;
  backend.open();
}

void Worker::surrender(PoolContext& pool, BackendId id) {
  BackConn* backend = find_backend(id);
  const SlotAccount::Waiting waiting = pool.slots->oldest_other(index_);
  if (waiting.since == never) {  // not any more
    backend->set_slot(pool.pool.adopt(id, backend->opened_at(), never, now()));
    return;
  }
  auto transfer = std::make_shared<BackendTransfer>(backend->hand_over());
  all_[waiting.worker]->post(
      [key = pool.key(), transfer, slots = pool.slots, quota = pool.quota](Worker& other) {
        if (other.adopt(key, *transfer)) return;
        // Its clients have gone meanwhile: the connection ends here, and the place is free.
        other.announce_free_slot(key, slots->give_back());
        other.give_back_quota(quota);
      });
}

bool Worker::adopt(const std::string& key, BackendTransfer& transfer) {
  const auto found = pools_.find(key);
  if (found == pools_.end()) return false;
  PoolContext& pool = *found->second;
  const TimePoint opened_at = transfer.opened_at;
  BackConn& backend = backends_.emplace([&](BackendId id) {
    return std::make_unique<BackConn>(*this, id, pool, std::move(transfer));
  });
  ++pool.backends;
  backend.set_slot(
      pool.pool.adopt(backend.id(), opened_at, pool.slots->foreign_wait(index_), now()));
  touch(pool);
  return true;
}

void Worker::fail_waiters(PoolContext& pool, const wire::ErrorReport& report) {
  for (const ClientId id : pool.pool.take_waiters()) {
    if (FrontConn* client = find_client(id)) client->on_acquire_failed(report);
  }
  touch(pool);
}

// --- Time ----------------------------------------------------------------------------------------

void Worker::arm(TimePoint deadline) {
  if (deadline < timer_.deadline()) timer_.arm(deadline);
}

void Worker::on_timer() {
  const TimePoint time = now();
  metrics_->heartbeat.set(
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
  expire(time);
  for (auto& [key, pool] : pools_) {
    pool->pool.tick(time);
    touch(*pool);
  }
  settle();
  if (time >= next_housekeeping_) {
    next_housekeeping_ = time + housekeeping;
    drop_unused_pools();
  }
  TimePoint next = next_housekeeping_;
  if (!logins_.empty()) next = std::min(next, logins_.front().first);
  if (!lingers_.empty()) next = std::min(next, lingers_.front().first);
  if (!backend_deadlines_.empty()) next = std::min(next, backend_deadlines_.top().at);
  if (!refusals_.empty()) next = std::min(next, refusals_.top().at);
  if (!session_deadlines_.empty()) next = std::min(next, session_deadlines_.top().at);
  for (const auto& [key, pool] : pools_) next = std::min(next, pool->pool.next_deadline());
  arm(next);
}

void Worker::expire(TimePoint time) {
  while (!logins_.empty() && logins_.front().first <= time) {
    const ClientId id = logins_.front().second;
    logins_.pop_front();
    if (FrontConn* client = find_client(id)) client->on_login_timeout();
  }
  while (!lingers_.empty() && lingers_.front().first <= time) {
    const ClientId id = lingers_.front().second;
    lingers_.pop_front();
    FrontConn* client = find_client(id);
    if (client != nullptr && client->lingering()) client->destroy();
  }
  while (!refusals_.empty() && refusals_.top().at <= time) {
    const ClientId id = refusals_.top().id;
    refusals_.pop();
    if (FrontConn* client = find_client(id)) client->on_refusal_due();
  }
  while (!backend_deadlines_.empty() && backend_deadlines_.top().at <= time) {
    const BackendId id = backend_deadlines_.top().id;
    backend_deadlines_.pop();
    BackConn* backend = find_backend(id);
    if (backend != nullptr && backend->deadline() <= time) backend->on_deadline();
  }
  while (!session_deadlines_.empty() && session_deadlines_.top().at <= time) {
    const ClientId id = session_deadlines_.top().id;
    session_deadlines_.pop();
    FrontConn* client = find_client(id);
    if (client != nullptr && client->logged_in() && !client->lingering() &&
        client->session()->deadline() <= time) {
      client->on_session_deadline();
    }
  }
}

void Worker::drop_unused_pools() {
  std::erase_if(pools_, [](const auto& entry) {
    const PoolContext& pool = *entry.second;
    return pool.clients == 0 && pool.backends == 0 && pool.pool.unused() &&
           !pool.pool.has_actions();
  });
}

// --- The end -------------------------------------------------------------------------------------

void Worker::drain(std::function<void()> done) {
  draining_ = true;
  drained_ = std::move(done);
  // Nobody who is not in yet comes in any more; they have a moment to hear it.
  const TimePoint last_login = now() + login_grace;
  logins_.clear();
  fail_paused_waiters();
  clients_.for_each([&](FrontConn& client) {
    if (!client.logged_in()) logins_.emplace_back(last_login, client.id());
    client.drain();
  });
  if (!logins_.empty()) arm(last_login);
  settle();
  check_drained();
}

void Worker::check_drained() {
  if (!draining_ || clients_.size() > 0 || !drained_) return;
  const std::function<void()> done = std::move(drained_);
  drained_ = nullptr;
  done();
}

void Worker::stop() {
  drained_ = nullptr;
  cancels_.clear();
  peer_cancels_.stop();
  clients_.for_each([](FrontConn& client) { client.destroy(); });
  touched_.clear();
  backends_.for_each([](BackConn& backend) { backend.close(); });
  loop_.stop();
}

}  // namespace dwspool::proxy
