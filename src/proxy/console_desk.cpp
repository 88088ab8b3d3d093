#include "dwspool/proxy/console_desk.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/config/settings.h"

#include "dwspool/console/show.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

// How often it is looked whether what a command waits for has happened.
constexpr Duration poll_interval = std::chrono::milliseconds{50};

std::size_t backends_of(const console::Facts& facts, const std::string& database) {
  std::size_t count = 0;
  for (const console::PoolFacts& pool : facts.pools) {
    if (!database.empty() && pool.database != database) continue;
    count +=
        pool.backends_active + pool.backends_idle + pool.backends_cleaning + pool.backends_opening;
  }
  return count;
}

std::size_t outdated_of(const console::Facts& facts, const std::string& database) {
  std::size_t count = 0;
  for (const console::PoolFacts& pool : facts.pools) {
    if (database.empty() || pool.database == database) count += pool.backends_outdated;
  }
  return count;
}

}  // namespace

ConsoleDesk::ConsoleDesk(Worker& worker)
    : worker_(worker), timer_(worker.loop(), [this] { poll(); }) {}

void ConsoleDesk::run(ClientId client, const console::Command& command) {
  using console::Verb;
  switch (command.verb) {
    case Verb::show:
      return show(client, command.what);
    case Verb::set:
      return set(client, command);
    case Verb::reload:
      return reload(client);
    case Verb::pause:
      return pause(client, command.argument);
    case Verb::resume:
      return resume(client, command.argument);
    case Verb::reconnect:
      return reconnect(client, command.argument);
    case Verb::wait_close:
      return wait_close(client, command.argument);
    case Verb::disable:
      return disable(client, command.argument, true);
    case Verb::enable:
      return disable(client, command.argument, false);
    case Verb::kill:
      return kill(client, command.argument);
    case Verb::kill_client:
      return kill_client(client, command.argument);
    case Verb::suspend:
      return suspend(client);
    case Verb::shutdown:
      return shut_down(client, command.mode);
    case Verb::nothing:
    case Verb::show_client:
    case Verb::ignored:
      break;
  }
  answer(client, console::Done{});
}

// --- Answers -------------------------------------------------------------------------------------

// Never within run(): the session shall have come to rest.
void ConsoleDesk::answer(ClientId client, console::Answer answer) {
  auto shared = std::make_shared<console::Answer>(std::move(answer));
  worker_.post([client, shared](Worker& worker) {
    if (FrontConn* connection = worker.find_client(client)) {
      connection->on_console_answer(*shared);
    }
  });
}

void ConsoleDesk::fail(ClientId client, std::string_view sqlstate, std::string message) {
  answer(client, wire::error_report(sqlstate, std::move(message)));
}

void ConsoleDesk::show(ClientId client, console::Show what) {
  using console::Show;
  const bool connections = what == Show::clients || what == Show::servers ||
                           what == Show::sockets || what == Show::active_sockets ||
                           what == Show::pins;
  gather(connections, [this, client, what](console::Facts& facts) {
    worker_.add_process_facts(facts);
    answer(client, console::show(what, facts));
  });
}

// --- All workers ---------------------------------------------------------------------------------

void ConsoleDesk::everywhere(const std::function<void(Worker&)>& task) {
  for (const std::unique_ptr<Worker>& worker : worker_.all()) worker->post(task);
}

void ConsoleDesk::gather(bool connections, std::function<void(console::Facts&)> then) {
  struct Gathering {
    std::size_t missing = 0;
    console::Facts facts;
    std::function<void(console::Facts&)> then;
  };
  auto gathering = std::make_shared<Gathering>();
  gathering->missing = worker_.all().size();
  gathering->then = std::move(then);
  everywhere([gathering, connections, &home = worker_](Worker& other) {
    auto piece = std::make_shared<console::Facts>();
    other.add_facts(*piece, connections);
    home.post([gathering, piece](Worker&) {
      gathering->facts.merge(std::move(*piece));
      if (--gathering->missing == 0) gathering->then(gathering->facts);
    });
  });
}

void ConsoleDesk::publish_gates() {
  everywhere([](Worker& worker) { worker.apply_gates(); });
}

// --- Waiting -------------------------------------------------------------------------------------

void ConsoleDesk::wait(ClientId client, Condition over, std::function<void()> undo) {
  waits_.push_back({client, std::move(over), std::move(undo)});
  if (!polling_) poll();
}

void ConsoleDesk::poll() {
  if (waits_.empty()) return;
  polling_ = true;
  gather(false, [this](console::Facts& facts) {
    polling_ = false;
    for (auto wait = waits_.begin(); wait != waits_.end();) {
      if (!wait->over(facts)) {
        ++wait;
        continue;
      }
      answer(wait->client, console::Done{});
      wait = waits_.erase(wait);
    }
    if (!waits_.empty()) timer_.arm(worker_.now() + poll_interval);
  });
}

void ConsoleDesk::give_up(ClientId client, bool with_answer) {
  const auto found = std::find_if(waits_.begin(), waits_.end(),
                                  [&](const Wait& wait) { return wait.client == client; });
  if (found == waits_.end()) return;
  const std::function<void()> undo = std::move(found->undo);
  waits_.erase(found);
  if (undo) undo();
  if (!with_answer) return;
  fail(client, wire::sqlstate::query_canceled, "canceling statement due to user request");
}

// --- Commands ------------------------------------------------------------------------------------

// Whether clients may name the database, or all are meant; else the client has its answer.
bool ConsoleDesk::knows(ClientId client, const std::string& database) {
  if (database.empty()) return true;
  if (config::is_console(database)) {
    fail(client, wire::sqlstate::object_not_in_prerequisite_state,
         "the console is always there: this cannot be done to it");
    return false;
  }
  if (worker_.config().find_database(database) != nullptr) return true;
  fail(client, wire::sqlstate::invalid_catalog_name, "no such database: " + printable(database));
  return false;
}

void ConsoleDesk::pause(ClientId client, const std::string& database) {
  if (!knows(client, database)) return;
  GateKeeper& gates = worker_.hub().gates;
  const GatesPtr before = gates.current();
  if (database.empty() && (before->paused_all || before->suspended)) {
    return fail(client, wire::sqlstate::object_not_in_prerequisite_state,
                "already suspended/paused");
  }
  const auto set = [&gates, database](bool paused) {
    gates.change([&](Gates& now) {
      if (database.empty()) {
        now.paused_all = paused;
      } else if (paused) {
        now.paused.insert(database);
      } else {
        now.paused.erase(database);
      }
    });
  };
  set(true);
  publish_gates();
  wait(
      client, [database](const console::Facts& facts) { return backends_of(facts, database) == 0; },
      [this, set] {
        set(false);
        publish_gates();
      });
}

void ConsoleDesk::resume(ClientId client, const std::string& database) {
  if (!knows(client, database)) return;
  GateKeeper& gates = worker_.hub().gates;
  const GatesPtr before = gates.current();
  if (database.empty() ? !before->paused_all && !before->suspended
                       : !before->paused.contains(database)) {
    return fail(client, wire::sqlstate::object_not_in_prerequisite_state,
                database.empty() ? "pooler is not paused/suspended"
                                 : "database " + printable(database) + " is not paused");
  }
  gates.change([&](Gates& now) {
    if (database.empty()) {
      now.paused_all = now.suspended = false;
    } else {
      now.paused.erase(database);
    }
  });
  publish_gates();
  answer(client, console::Done{});
}

void ConsoleDesk::suspend(ClientId client) {
  GateKeeper& gates = worker_.hub().gates;
  const GatesPtr before = gates.current();
  if (before->paused_all || before->suspended) {
    return fail(client, wire::sqlstate::object_not_in_prerequisite_state,
                "already suspended/paused");
  }
  gates.change([](Gates& now) { now.suspended = true; });
  publish_gates();
  wait(
      client, [](const console::Facts& facts) { return facts.unsent == 0; },
      [this, &gates] {
        gates.change([](Gates& now) { now.suspended = false; });
        publish_gates();
      });
}

void ConsoleDesk::disable(ClientId client, const std::string& database, bool disabled) {
  if (!knows(client, database)) return;
  worker_.hub().gates.change([&](Gates& now) {
    if (disabled) {
      now.disabled.insert(database);
    } else {
      now.disabled.erase(database);
    }
  });
  publish_gates();
  answer(client, console::Done{});
}

void ConsoleDesk::reconnect(ClientId client, const std::string& database) {
  if (!knows(client, database)) return;
  everywhere([database](Worker& worker) { worker.renew_backends(database); });
  answer(client, console::Done{});
}

void ConsoleDesk::wait_close(ClientId client, const std::string& database) {
  if (!knows(client, database)) return;
  wait(
      client, [database](const console::Facts& facts) { return outdated_of(facts, database) == 0; },
      nullptr);
}

void ConsoleDesk::kill(ClientId client, const std::string& database) {
  if (!knows(client, database)) return;
  worker_.hub().gates.change([&](Gates& now) { now.paused.insert(database); });
  publish_gates();
  everywhere([database](Worker& worker) { worker.kill_clients(database); });
  wait(
      client, [database](const console::Facts& facts) { return backends_of(facts, database) == 0; },
      nullptr);
}

void ConsoleDesk::kill_client(ClientId client, const std::string& number) {
  std::uint32_t id = 0;
  const char* const end = number.data() + number.size();
  const auto [rest, failure] = std::from_chars(number.data(), end, id);
  if (failure != std::errc{} || rest != end) {
    return fail(client, wire::sqlstate::invalid_parameter_value,
                "bad client id '" + printable(number) + "', see SHOW CLIENTS");
  }
  struct Search {
    std::size_t missing = 0;
    bool found = false;
  };
  auto search = std::make_shared<Search>();
  search->missing = worker_.all().size();
  everywhere([this, search, id, client, &home = worker_](Worker& worker) {
    const bool here = worker.kill_client(id);
    home.post([this, search, here, client](Worker&) {
      search->found = search->found || here;
      if (--search->missing > 0) return;
      if (search->found) return answer(client, console::Done{});
      fail(client, wire::sqlstate::invalid_parameter_value, "client not found");
    });
  });
}

void ConsoleDesk::reload(ClientId client) {
  worker_.all().front()->post([this, client, &home = worker_](Worker& first) {
    first.hub().control.reload([this, client, &home](const Hub::Complaints& complaints) {
      home.post([this, client, complaints](Worker&) {
        if (complaints.empty()) return answer(client, console::Done{});
        wire::ErrorReport report;
        report.sqlstate = wire::sqlstate::config_file_error;
        report.message = "RELOAD failed, the configuration is as before: " + complaints.front();
        for (std::size_t i = 1; i < complaints.size(); ++i) {
          report.detail += (i == 1 ? "" : "\n") + complaints[i];
        }
        answer(client, std::move(report));
      });
    });
  });
}

void ConsoleDesk::set(ClientId client, const console::Command& command) {
  worker_.all().front()->post([this, client, command, &home = worker_](Worker& first) {
    auto changed = std::make_shared<config::Config>(*first.hub().config());
    Status status = config::change_setting(*changed, command.argument, command.value);
    if (status) status = first.hub().control.apply(changed);
    home.post([this, client, status](Worker&) {
      if (status) return answer(client, console::Done{});
      fail(client, wire::sqlstate::invalid_parameter_value,
           "SET failed: " + status.error().message);
    });
  });
}

void ConsoleDesk::shut_down(ClientId client, console::StopMode mode) {
  answer(client, console::Done{});
  worker_.all().front()->post([mode](Worker& first) {
    first.hub().control.stop(mode == console::StopMode::immediate          ? Stop::at_once
                             : mode == console::StopMode::wait_for_servers ? Stop::after_servers
                                                                           : Stop::after_clients);
  });
}

}  // namespace dwspool::proxy
