// A client of the console that never blocks but to look up a name: asks for everything that
// `dwspool top` shows, one SHOW after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/top_view.h"

struct pg_conn;

namespace dwspool::app {

// Names of libpq's, with values.
using ConnectionParameters = std::vector<std::pair<std::string, std::string>>;

// A connection string or URI of libpq's; what it leaves open is as libpq has it, but for the
// database, which is the console. Returns false, with the reason, when it is none.
bool read_conninfo(const std::string& conninfo, ConnectionParameters& parameters,
                   std::string& problem);

class ConsoleClient {
 public:
  enum class State : std::uint8_t { idle, working, failed };

  explicit ConsoleClient(ConnectionParameters parameters);

  // Asks for the next snapshot, over a new connection if there is none. Not while it works.
  void begin();
  // To be called when wait() is over. Idle: snapshot() is new. Failed: problem() says why, and the
  // connection is gone.
  State proceed();
  State state() const { return state_; }

  // What proceed() waits for: a descriptor, and events of poll().
  int descriptor() const;
  short events() const { return events_; }

  // `at` and `time` are left to the caller.
  const Snapshot& snapshot() const { return complete_; }
  const std::string& problem() const { return problem_; }
  // It takes too long.
  void give_up();

 private:
  struct Closer {
    void operator()(pg_conn* connection) const;
  };

  State fail(std::string_view why);
  State connect_on();
  State ask();
  State hear();

  ConnectionParameters parameters_;
  std::unique_ptr<pg_conn, Closer> connection_;
  State state_ = State::idle;
  bool connected_ = false;
  short events_ = 0;
  std::size_t question_ = 0;
  Snapshot gathering_;
  Snapshot complete_;
  std::string problem_;
};

}  // namespace dwspool::app
