// What must hold in every schedule, looked at from outside: by what the server processes really
// are, not by what dwspool believes.
#include <algorithm>

#include "dwspool/base/text.h"

#include "sim/world.h"

namespace dwspool::sim {
namespace {

std::string unquoted(const std::string& sql) {
  if (sql.size() >= 2 && sql.front() == '\'') return sql.substr(1, sql.size() - 2);
  return to_lower(sql);
}

}  // namespace

// A backend is given to a client: nobody else has it, and nothing of anybody else's is in it.
void World::watch_lend(const Back& back) {
  const auto violate = [&](const std::string& what) {
    context_.violate("backend " + std::to_string(back.id().slot) + " is lent " + what);
  };
  if (back.client() != nullptr) violate("twice");
  if (!back.plug()) violate("although its connection is gone");
  const session::Backend& core = back.core();
  if (!core.replies.quiet()) violate("while it owes answers");
  if (core.status != wire::TxStatus::idle) violate("in a transaction");
  if (core.dirty || core.retire) violate("although it is not clean");
  const ServerProcess* process = cluster_.behind(back.plug());
  if (process == nullptr || !process->logged_in() || back.plug().broken()) {
    return;  // dead, and nobody knows yet
  }
  if (!back.input_left().empty() && back.input_left().front() != 'N') {
    violate("with answers unread: " + message_types(back.input_left()));
  }
  const std::string arriving = message_types(back.plug().arriving());
  if (arriving.find_first_not_of(back.input_left().empty() ? "N" : "N+0123456789") !=
      std::string::npos) {
    violate("with answers on their way: " + arriving);
  }
  // What belongs to a COPY that has failed is ignored.
  const std::string left =
      message_types(std::string(process->input()) + std::string(back.plug().departing()));
  if (left.find_first_not_of("dcf") != std::string::npos || process->busy()) {
    violate("while its server still has work to do");
  }
  const SessionModel& model = process->model();
  if (model.status() != wire::TxStatus::idle) violate("in a transaction of the server's");
  // SQL's own prepared statements are those of whoever had it last, and known.
  std::string carried;
  if (core.sql_statements) {
    for (const auto& each : core.sql_statements->entries())
      carried += "statement " + each.name + ' ';
  }
  if (model.session_state() != carried) {
    violate("with session state: " + model.session_state() + ", and dwspool believes: " + carried);
  }
  if (client_options_.mode == PoolMode::transaction) return;
  for (const auto& [name, standard] : server_defaults()) {
    const std::string* applied = core.applied->find(name);
    const std::string believed = applied != nullptr ? unquoted(*applied) : standard;
    if (model.value(name) != believed) {
      const std::string* reported = core.reported->find(name);
      violate("with " + name + " " + model.value(name) + ", and dwspool believes " + believed +
              (reported != nullptr ? ", although it was told " + *reported : "") + ", in mode " +
              std::string(to_string(client_options_.mode)));
    }
  }
}

// A transaction is being made durable.
void World::watch_row(std::uint64_t row) {
  const std::string text = "row " + std::to_string(row);
  if (cluster_.database().count(row) > 0) context_.violate(text + " is written twice");
  // What nobody was told about may be run again where it never was: its token says so.
  const bool settled =
      shell_options_.replay.level == ReplayLevel::token && ledger_.fate(row) != Fate::acked;
  if (cluster_.database().forgot(row) && !settled) context_.violate(text + " comes back");
  if (ledger_.fate(row) == Fate::failed) {
    context_.violate(text +
                     " is written, and its client was told that it is not, or never asked "
                     "for the end of its batch");
  }
  std::vector<std::uint64_t>& rows = durable_[row / rows_per_client];
  if (cluster_.database().forgot(row)) std::erase(rows, row);  // only now it is there to stay
  rows.push_back(row);
}

// Rows are numbered as they are asked for. Those in doubt may have come later.
void World::check_order() {
  for (const auto& [client, rows] : durable_) {
    std::uint64_t last = 0;
    for (const std::uint64_t row : rows) {
      if (ledger_.fate(row) != Fate::acked) continue;
      if (row < last) {
        context_.violate("row " + std::to_string(row) + " is written behind row " +
                         std::to_string(last) + " of its client");
      }
      last = row;
    }
  }
}

// A cancel hits what its client runs, or what a client has left behind, and nothing else.
void World::watch_cancel(const ServerProcess& process) {
  // What has lost its connection to dwspool is left behind, even if it does not know yet.
  const auto innocent = [&](const Client& client) {
    bool connected = false;
    shell_->for_each_client([&](Front& front) {
      connected = connected || (front.plug() && front.plug().wire() == client.plug().wire());
    });
    return connected && !client.cancelled();
  };
  if (process.running() >= rows_per_client) {
    for (const auto& client : clients_) {
      if (client->number() == process.running() / rows_per_client && innocent(*client)) {
        context_.violate("a cancel hits a statement of client " + std::to_string(client->number()) +
                         ", which did not ask for it");
      }
    }
    return;
  }
  shell_->for_each_backend([&](Back& back) {
    if (!back.plug() || back.plug().wire() != process.plug().wire()) return;
    if (back.client() == nullptr) return;
    for (const auto& client : clients_) {
      if (client->plug().wire() == back.client()->plug().wire() && innocent(*client)) {
        context_.violate("a cancel hits client " + std::to_string(client->number()) +
                         ", which did not ask for it");
      }
    }
  });
}

// Right behind the timers: nobody waits for longer than he may.
void World::check_waits() {
  shell_->for_each_client([&](Front& front) {
    const TimePoint began = front.replay_began();
    if (began != never && context_.now >= began + front.replay_deadline()) {
      context_.violate("connection " + std::to_string(front.id().slot) +
                       " is still being helped, and the deadline of replay has passed");
    }
    if (!front.waiting()) return;
    if (context_.now >= front.wait_started() + shell_->options().pool.queue_timeout) {
      context_.violate("connection " + std::to_string(front.id().slot) +
                       " waits for a backend, and queue_timeout has passed");
    }
  });
}

// Everybody has left.
void World::check_end() {
  shell_->for_each_backend([&](Back& back) {
    const session::Backend& core = back.core();
    if (!back.ready() || !core.replies.quiet() || core.status != wire::TxStatus::idle ||
        core.dirty) {
      context_.violate("backend " + std::to_string(back.id().slot) + " is not idle at the end");
    }
    watch_lend(back);
  });
  const pool::Pool& pool = shell_->pool();
  if (const auto places = shell_->options().pool_size + shell_->options().reserve_size;
      shell_->places_taken() > places) {
    context_.violate(std::to_string(shell_->places_taken()) + " places are taken at the end, of " +
                     std::to_string(places));
  }
  if (shell_->places_taken() != pool.size()) {
    context_.violate(std::to_string(shell_->places_taken()) + " places are taken at the end by " +
                     std::to_string(pool.size()) + " backends");
  }
  check_order();
  for (const auto& [row, fate] : ledger_.fates()) {
    const std::uint32_t count = cluster_.database().count(row);
    const std::string text = "row " + std::to_string(row);
    if (count > 1) context_.violate(text + " is there " + std::to_string(count) + " times");
    if (fate == Fate::acked && count == 0 && !cluster_.database().forgot(row))
      context_.violate(text + " was acknowledged and is lost");
    if (fate == Fate::failed && count > 0) {
      context_.violate(text + " is there, and its client was told that it is not");
    }
    if (fate == Fate::open) context_.violate(text + " was never answered for");
  }
}

Outcome run_schedule(const Schedule& schedule, bool with_trace) {
  Context context(schedule.seed, schedule.broken);
  context.long_schedules = schedule.long_one;
  if (with_trace) context.trace.enable();
  Outcome outcome;
  try {
    World world(context);
    try {
      world.run();
    } catch (const Violation& violation) {
      outcome.violated = true;
      outcome.what = violation.what();
    }
    outcome.steps = world.steps();
  } catch (const Violation& violation) {
    outcome.violated = true;
    outcome.what = violation.what();
  }
  outcome.broken_times = context.broken_times;
  outcome.trace = context.trace.lines();
  return outcome;
}

}  // namespace dwspool::sim
