// Where the commands of the console are carried out: each on the worker of the client that gave
// it, with the help of the others, by messages.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "dwspool/base/ids.h"

#include "dwspool/net/timer.h"

#include "dwspool/console/facts.h"
#include "dwspool/console/session.h"

namespace dwspool::proxy {

class Worker;

class ConsoleDesk {
 public:
  explicit ConsoleDesk(Worker& worker);

  // The answer goes to FrontConn::on_console_answer, later, if the client is still there.
  void run(ClientId client, const console::Command& command);
  // The client does not wait any more: what it has paused or suspended goes on.
  void give_up(ClientId client, bool answer);

 private:
  using Condition = std::function<bool(const console::Facts&)>;
  struct Wait {
    ClientId client;
    Condition over;
    std::function<void()> undo;
  };

  void answer(ClientId client, console::Answer answer);
  void fail(ClientId client, std::string_view sqlstate, std::string message);
  void show(ClientId client, console::Show what);
  void pause(ClientId client, const std::string& database);
  void resume(ClientId client, const std::string& database);
  void suspend(ClientId client);
  void disable(ClientId client, const std::string& database, bool disabled);
  void reconnect(ClientId client, const std::string& database);
  void wait_close(ClientId client, const std::string& database);
  void kill(ClientId client, const std::string& database);
  void kill_client(ClientId client, const std::string& number);
  void reload(ClientId client);
  void set(ClientId client, const console::Command& command);
  void shut_down(ClientId client, console::StopMode mode);

  bool knows(ClientId client, const std::string& database);
  // Asks all workers; `then` is called on this one.
  void gather(bool connections, std::function<void(console::Facts&)> then);
  void everywhere(const std::function<void(Worker&)>& task);
  void publish_gates();
  void wait(ClientId client, Condition over, std::function<void()> undo);
  void poll();

  Worker& worker_;
  std::list<Wait> waits_;
  bool polling_ = false;
  net::Timer timer_;
};

}  // namespace dwspool::proxy
