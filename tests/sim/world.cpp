#include "sim/world.h"

#include <algorithm>

#include "dwspool/base/text.h"

namespace dwspool::sim {
namespace {

constexpr std::uint64_t longest_run = 10000;  // steps before the schedule winds up
constexpr std::uint64_t longest_wind_up = 30000;
constexpr int longest_silence = 300;  // deadlines in a row with nothing else happening

}  // namespace

// Brings a CancelRequest to dwspool.
struct World::Canceller final : Endpoint {
  void on_bytes(std::string_view) override {}
  void on_end(bool) override {
    plug.close();
    done = true;
  }
  Plug plug;
  bool done = false;
};

World::World(Context& context)
    : context_(context),
      network_(context),
      cluster_(context, context.random.between(1, 3)),
      ledger_(cluster_.database(), context) {
  configure();
  shell_ = std::make_unique<Shell>(context_, network_, cluster_, shell_options_);
  shell_->set_lend_watch([this](const Back& back) { watch_lend(back); });
  cluster_.set_row_watch([this](std::uint64_t row) { watch_row(row); });
  cluster_.set_cancel_watch([this](const ServerProcess& p) { watch_cancel(p); });
}

World::~World() = default;

void World::configure() {
  Random& random = context_.random;
  const bool calm = random.chance(15);
  const bool gauss = random.chance(50);
  const std::size_t method = random.below(10);
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    Habits& habits = cluster_.habits(i);
    habits.manners = gauss ? Manners::gauss : Manners::postgres;
    habits.knows_3_51 = random.chance(70);
    habits.reports_at_once = random.chance(50);
    habits.method = method < 6   ? auth::ClientMethod::trust
                    : method < 8 ? auth::ClientMethod::md5
                                 : auth::ClientMethod::scram_sha_256;
  }
  const std::size_t mode = random.below(10);
  client_options_.mode = mode < 6   ? PoolMode::automatic
                         : mode < 8 ? PoolMode::session
                                    : PoolMode::transaction;
  client_options_.gauss = gauss;
  client_options_.faults = !calm;
  client_options_.refusals = !calm && random.chance(2);
  client_options_.requests = random.between(2, context_.long_schedules ? 40 : 14);
  clients_left_ = random.between(2, context_.long_schedules ? 10 : 6);

  shell_options_.sessions.mode = client_options_.mode;
  vary_pool();
  if (shell_options_.replay.level == ReplayLevel::transaction && context_.apart.chance(50)) {
    client_options_.plain = context_.apart.chance(80);
    if (client_options_.plain) client_options_.requests *= 2;
    if (context_.apart.chance(60)) shell_options_.replay.level = ReplayLevel::token;
  }
  if (context_.apart.chance(20)) {
    retry::ModeratorOptions& moderator = shell_options_.moderator;
    moderator.most_waiting = context_.apart.between(1, 2);
    moderator.rate = 1;
    moderator.burst = 1;
    moderator.most_switchovers = static_cast<std::uint32_t>(context_.apart.below(3));
    moderator.quarantine_after = static_cast<std::uint32_t>(context_.apart.between(1, 2));
  }
  client_options_.replayed = shell_options_.replay.level >= ReplayLevel::statement;
  if (random.chance(20)) cluster_.set_forgetful();
  shell_options_.connect_timeout = std::chrono::seconds(5);
  weights_.cancels = random.chance(40) ? 100 : 0;
  weights_.clock = random.chance(50) ? 150 : 20;
  weights_.reloads = random.chance(40) ? 80 : 0;
  weights_.faults =
      static_cast<unsigned>(random.chance(50) ? random.between(10, 60) : random.between(60, 300));
  if (calm) {
    // Nothing goes wrong, so that nothing may be said to have gone wrong.
    weights_.faults = 0;
    weights_.clock = 0;
    shell_options_.pool_size = 8;
    shell_options_.pool.queue_timeout = std::chrono::seconds(1000000);
    shell_options_.connect_timeout = {};
    // An idle backend that is closed takes nothing with it; a statement that is cancelled does.
  }
}

// What a reload may change.
void World::vary_pool() {
  Random& random = context_.random;
  const auto seconds = [](std::size_t n) { return Duration(std::chrono::seconds(n)); };
  shell_options_.sessions.defer_begin = random.chance(80);
  shell_options_.sessions.max_prepared_statements = random.chance(40) ? 2 : 200;
  shell_options_.pool_size = static_cast<std::uint32_t>(random.between(1, 3));
  shell_options_.reserve_size = random.chance(20) ? 1 : 0;
  shell_options_.pool.has_reserve = shell_options_.reserve_size > 0;
  shell_options_.pool.reserve_timeout = seconds(random.below(2));
  shell_options_.pool.min_size = random.chance(30) ? 1 : 0;
  shell_options_.pool.queue_timeout = seconds(random.between(1, 5));
  shell_options_.pool.queue_notice = seconds(random.below(2));
  shell_options_.pool.server_idle_timeout = seconds(random.below(4) * 5);
  shell_options_.pool.server_lifetime = seconds(random.below(3) * 20);
  retry::ReplayOptions& replay = shell_options_.replay;
  replay.level = random.chance(40)   ? ReplayLevel::off
                 : random.chance(30) ? ReplayLevel::statement
                                     : ReplayLevel::transaction;
  replay.deadline = seconds(random.between(1, 20));
  replay.attempts = static_cast<std::uint32_t>(random.between(1, 5));
  replay.hold_bytes = random.chance(50) ? 64 : 65536;
  replay.needs_primary = random.chance(50);
}

void World::reload() {
  Random& random = context_.random;
  const std::size_t which = random.below(10);
  if (which < 5) {
    const bool calm = !client_options_.faults;
    const Duration queue_timeout = shell_options_.pool.queue_timeout;
    const retry::ReplayOptions replay = shell_options_.replay;
    vary_pool();
    // What clients expect of it is settled when they come.
    shell_options_.replay.level = replay.level;
    shell_options_.replay.needs_primary = replay.needs_primary;
    if (calm) shell_options_.pool.queue_timeout = queue_timeout;
    context_.note(
        [&] { return "dwspool reloads, pool_size " + std::to_string(shell_options_.pool_size); });
    shell_->reload(shell_options_);
  } else if (which < 6) {
    context_.note([] { return std::string("dwspool renews its backends"); });
    shell_->renew();
  } else if (which < 7) {
    const std::size_t coordinator = random.below(cluster_.size());
    context_.note([&] { return "dwspool leaves coordinator " + std::to_string(coordinator); });
    shell_->leave_coordinator(coordinator);
  } else if (shell_->pool().paused()) {
    context_.note([] { return std::string("dwspool resumes"); });
    shell_->resume();
  } else if (which < 8) {
    context_.note([] { return std::string("dwspool pauses"); });
    shell_->pause();
  }
}

void World::add_client() {
  --clients_left_;
  ++last_client_;
  context_.note([&] { return "client " + std::to_string(last_client_) + " connects"; });
  clients_.push_back(std::make_unique<Client>(context_, ledger_, cluster_.database(), last_client_,
                                              client_options_, shell_->accept()));
}

void World::run() {
  while (steps_ < longest_run) {
    ++steps_;
    if (!step()) break;
  }
  wind_up();
  check_end();
}

// False when nobody has anything left to do.
bool World::step() {
  Random& random = context_.random;
  if (clients_left_ > 0 && (clients_.empty() || (clients_.size() < 4 && random.chance(2)))) {
    add_client();
  }
  if (clients_left_ == 0 && clients_.empty()) return false;
  const std::size_t dice = random.below(10000);
  if (weights_.faults > 0 && shell_options_.replay.level == ReplayLevel::token) cut_a_commit();
  if (dice < weights_.faults) {
    fault();
  } else if (dice < weights_.faults + weights_.cancels) {
    send_cancel();
  } else if (dice < weights_.faults + weights_.cancels + weights_.clock) {
    const TimePoint next = shell_->next_deadline();
    const bool jump = next != never && random.chance(40);
    advance(jump ? next : context_.now + std::chrono::milliseconds(random.between(1, 400)));
  } else if (random.below(10000) < weights_.reloads) {
    reload();
  } else if (!ordinary_event()) {
    if (shell_->pool().paused()) {
      shell_->resume();
      return true;
    }
    const TimePoint next = shell_->next_deadline();
    if (next != never) {
      advance(next);
    } else if (clients_left_ > 0) {
      add_client();
    } else {
      return false;
    }
  }
  sweep();
  return true;
}

// What goes on without anybody's ill will. False when nothing can.
bool World::ordinary_event() {
  streams_.clear();
  processes_.clear();
  actors_.clear();
  connecting_.clear();
  network_.collect(streams_);
  cluster_.collect(processes_);
  for (const auto& client : clients_) {
    if (client->can_act(winding_up_)) actors_.push_back(client.get());
  }
  shell_->collect_connecting(connecting_, client_options_.faults && !winding_up_);
  const std::size_t total =
      streams_.size() + processes_.size() + actors_.size() + connecting_.size();
  if (total == 0) return false;
  std::size_t pick = context_.random.below(total);
  if (pick < streams_.size()) {
    Stream& stream = *streams_[pick];
    context_.note([&] { return name(stream); });
    network_.deliver(stream);
    return true;
  }
  pick -= streams_.size();
  if (pick < processes_.size()) {
    context_.note(
        [&] { return "process " + std::to_string(processes_[pick]->number()) + " works"; });
    processes_[pick]->step();
    return true;
  }
  pick -= processes_.size();
  if (pick < actors_.size()) {
    actors_[pick]->act(winding_up_);
    return true;
  }
  context_.note([] { return std::string("a connection attempt or a derivation is over"); });
  connecting_[pick - actors_.size()]();
  return true;
}

std::string World::name(const Stream& stream) const {
  for (const auto& wire : network_.wires()) {
    for (unsigned side = 0; side < 2; ++side) {
      if (&wire->streams[side] != &stream) continue;
      return "wire " + std::to_string(wire->number) + " to side " + std::to_string(side) + ": " +
             (stream.flight.empty() ? std::string("the end")
                                    : "of " + message_types(stream.flight));
    }
  }
  return "?";
}

// The connection breaks when it matters most.
void World::cut_a_commit() {
  if (!context_.apart.chance(5)) return;
  for (const auto& process : cluster_.processes()) {
    if (process->gone() || !process->logged_in() || process->model().pending_token().empty()) {
      continue;
    }
    if (process->plug().wire() == nullptr) continue;
    context_.note([&] {
      return "wire of process " + std::to_string(process->number()) + " breaks in its COMMIT";
    });
    network_.cut(*process->plug().wire());
    return;
  }
}

void World::fault() {
  Random& random = context_.random;
  const std::size_t which = random.below(100);
  if (client_options_.gauss && random.chance(35)) begin_trouble();
  if (which < 45) {
    if (network_.wires().empty()) return;
    Wire& wire = *network_.wires()[random.below(network_.wires().size())];
    context_.note([&] { return "wire " + std::to_string(wire.number) + " breaks"; });
    network_.cut(wire);
  } else if (which < 60) {
    const std::size_t coordinator = random.below(cluster_.size());
    context_.note([&] { return "coordinator " + std::to_string(coordinator) + " crashes"; });
    cluster_.crash(coordinator);
    if (random.chance(60)) cluster_.restart(coordinator);
  } else if (which < 75) {
    auto& processes = cluster_.processes();
    if (processes.empty()) return;
    ServerProcess& process = *processes[random.below(processes.size())];
    if (random.chance(30)) {
      process.notice();
      return;
    }
    context_.note([&] { return "process " + std::to_string(process.number()) + " is ended"; });
    if (!process.gone()) process.terminate();
  } else if (which < 80) {
    context_.note([] { return std::string("a standby is promoted"); });
    cluster_.begin_promotion();
    // Behind coordinators, the data nodes change places as well.
    if (random.chance(50)) begin_trouble();
  } else if (which < 86) {
    begin_trouble();
  } else if (which < 95) {
    if (clients_.empty()) return;
    clients_[random.below(clients_.size())]->vanish();
  } else if (which < 97 && client_options_.refusals) {
    cluster_.refuse_logins(cluster_.refusal().empty() ? "28P01" : "");
  } else if (which == 99 && random.chance(30)) {
    context_.note([] { return std::string("dwspool drains"); });
    shell_->drain();
  }
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    if (random.chance(30)) cluster_.restart(i);
  }
  if (which >= 80) cluster_.end_promotion();
}

// The nodes behind one coordinator, or all of them, do not do their work for a while.
void World::begin_trouble() {
  Random& random = context_.random;
  const bool all = random.chance(50);
  const std::size_t one = random.below(cluster_.size());
  const TimePoint until =
      context_.now + std::chrono::milliseconds(random.chance(50) ? random.between(20, 800)
                                                                 : random.between(800, 15000));
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    if (!all && i != one) continue;
    const bool gauss = cluster_.habits(i).manners == Manners::gauss;
    const Trouble trouble = gauss && random.chance(85) ? Trouble::refused : Trouble::read_only;
    context_.note([&] {
      return std::string("the nodes behind coordinator ") + std::to_string(i) +
             (trouble == Trouble::refused ? " are away" : " are read-only");
    });
    if (trouble == Trouble::read_only) context_.was_read_only = true;
    cluster_.begin_trouble(i, trouble, until);
  }
}

void World::send_cancel() {
  if (clients_.empty()) return;
  Client& client = *clients_[context_.random.below(clients_.size())];
  if (client.outstanding() == 0 && !context_.random.chance(20)) return;
  const auto packet = client.cancel_packet();
  if (!packet) return;
  context_.note([&] { return "client " + std::to_string(client.number()) + " cancels"; });
  auto canceller = std::make_unique<Canceller>();
  canceller->plug = shell_->accept();
  canceller->plug.attach(*canceller);
  static_cast<void>(canceller->plug.send(context_, *packet));
  cancellers_.push_back(std::move(canceller));
}

void World::advance(TimePoint to) {
  context_.now = std::max(context_.now, to);
  context_.note([&] {
    const auto time = context_.now.time_since_epoch() - std::chrono::seconds(1000);
    return "it is " +
           std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) +
           " ms";
  });
  shell_->on_timer();
  check_waits();
}

void World::sweep() {
  shell_->sweep();
  std::erase_if(clients_, [](const auto& client) { return client->gone(); });
  std::erase_if(cancellers_, [](const auto& canceller) { return canceller->done; });
  cluster_.sweep();
  network_.sweep();
}

// Peace: everybody finishes what is under way, and leaves.
void World::wind_up() {
  context_.note([] { return std::string("--- peace"); });
  winding_up_ = true;
  cluster_.end_promotion();
  cluster_.refuse_logins({});
  shell_->resume();
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    cluster_.restart(i);
    cluster_.begin_trouble(i, Trouble::none, {});
  }
  int silence = 0;
  for (std::uint64_t i = 0; i < longest_wind_up; ++i) {
    ++steps_;
    if (ordinary_event()) {
      silence = 0;
    } else {
      using pool::SlotState;
      const pool::Pool& pool = shell_->pool();
      const bool quiet = clients_.empty() && cancellers_.empty() && shell_->client_count() == 0 &&
                         pool.count(SlotState::lent) + pool.count(SlotState::opening) +
                                 pool.count(SlotState::cleaning) + pool.waiting() ==
                             0;
      if (quiet) return;
      const TimePoint next = shell_->next_deadline();
      if (next == never || ++silence > longest_silence) break;
      advance(next);
    }
    sweep();
  }
  for (const auto& client : clients_) {
    context_.violate("client " + std::to_string(client->number()) + " waits for an answer to " +
                     std::to_string(client->outstanding()) + " requests, for ever");
  }
  using pool::SlotState;
  const pool::Pool& pool = shell_->pool();
  context_.violate(
      "it does not come to rest: " + std::to_string(shell_->client_count()) +
      " connections, backends opening " + std::to_string(pool.count(SlotState::opening)) +
      ", lent " + std::to_string(pool.count(SlotState::lent)) + ", cleaning " +
      std::to_string(pool.count(SlotState::cleaning)) + "; waiting " +
      std::to_string(pool.waiting()) + ", cancels " + std::to_string(cancellers_.size()));
}

}  // namespace dwspool::sim
