// What proxy::Worker does when the configuration changes, and at the console's commands.
#include "sim/shell.h"

namespace dwspool::sim {

void Shell::reload(const ShellOptions& options) {
  options_ = options;
  pool_.reconfigure(options.pool, context_.now);
  const session::WelcomeCache welcome = sessions_->welcome;
  sessions_ = std::make_shared<proxy::SharedSessions>(
      options.sessions, statements_, settings_, reported_, options.replay, retry::ErrorTable());
  sessions_->welcome = welcome;
  spoil_replay();
  if (!slots_->set_limits(options.pool_size, options.reserve_size).empty()) {
    pool_.on_slots_available(context_.now);
  }
  pool_.shed(slots_->surplus(), context_.now);
  clients_.for_each([](Front& client) { client.take_sessions(); });
  settle();
}

void Shell::renew() {
  pool_.renew(context_.now);
  settle();
}

void Shell::leave_coordinator(std::size_t coordinator) {
  backends_.for_each([&](Back& back) {
    if (back.state_ == Back::State::opening || back.coordinator() != coordinator) return;
    pool_.renew(back.slot(), context_.now);
  });
  settle();
}

void Shell::pause() {
  pool_.pause(context_.now);
  settle();
}

void Shell::resume() {
  pool_.unpause(context_.now);
  settle();
}

}  // namespace dwspool::sim
