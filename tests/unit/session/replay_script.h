// Conversations in which something fails.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/session_script.h"

namespace dwspool::testing {

using namespace std::chrono_literals;

inline retry::ReplayOptions replay_options(ReplayLevel level = ReplayLevel::transaction) {
  retry::ReplayOptions options;
  options.level = level;
  options.deadline = 10s;
  options.attempts = 2;
  return options;
}

// A client before a coordinator of DWS, at a level of replay.
class ReplayScript : public SessionScript {
 public:
  explicit ReplayScript(const retry::ReplayOptions& options = replay_options(),
                        PoolMode mode = PoolMode::automatic)
      : SessionScript(mode, {}, Dialect::dws, options) {
    logged_in();
    queries = transactions = errors = 0;
  }

  // The steps of SessionScript, so that those of this class can follow.
  ReplayScript& client(std::string_view bytes) { return then(SessionScript::client(bytes)); }
  ReplayScript& server(std::string_view bytes) { return then(SessionScript::server(bytes)); }
  ReplayScript& lose_backend() { return then(SessionScript::lose_backend()); }
  ReplayScript& wait(Duration time) { return then(SessionScript::wait(time)); }
  ReplayScript& go_on() { return then(SessionScript::go_on()); }
  ReplayScript& silent() { return then(SessionScript::silent()); }
  ReplayScript& expect(session::Next next) { return then(SessionScript::expect(next)); }
  ReplayScript& to_client(std::string_view expected) {
    return then(SessionScript::to_client(expected));
  }
  ReplayScript& to_server(std::string_view expected) {
    return then(SessionScript::to_server(expected));
  }

  // Another backend than before, whatever the session waits for until it asks for one.
  ReplayScript& grant_fresh() {
    fresh_.push_back(std::make_unique<session::Backend>(make_backend()));
    if (configure) configure(*fresh_.back());
    expect(session::Next::need_backend);
    grant(*fresh_.back());
    return *this;
  }
  session::Backend& fresh() { return *fresh_.back(); }
  std::function<void(session::Backend&)> configure;

  void check_note(retry::Failure failure, retry::ReplayResult result,
                  retry::Refusal why = retry::Refusal::none) {
    REQUIRE(notes.size() == 1);
    CHECK(to_string(notes[0].failure) == to_string(failure));
    CHECK(to_string(notes[0].result) == to_string(result));
    CHECK(to_string(notes[0].why) == to_string(why));
    notes.clear();
  }

  void check_verdict(retry::TokenVerdict verdict, retry::ReplayResult result) {
    REQUIRE(notes.size() == 1);
    REQUIRE(notes[0].verdict);
    CHECK(to_string(*notes[0].verdict) == to_string(verdict));
    CHECK(to_string(notes[0].result) == to_string(result));
    notes.clear();
  }

 private:
  ReplayScript& then(SessionScript& /*step*/) { return *this; }

  std::vector<std::unique_ptr<session::Backend>> fresh_;
};

inline std::string pooler_error() {
  return error("08006",
               "pooler: failed to create 1 connections, Error Message: remote node dn_6003_6004, "
               "detail: could not connect to server: Operation now in progress");
}
// The answers to a BEGIN that was held back, which the client has had already.
inline std::string begun() {
  return message('1') + message('2') + complete("BEGIN");
}

}  // namespace dwspool::testing
