// Conversations of login::BackendLogin with a server that follows a script.
//
// A script is played whole, byte by byte and at random cuts, which must come to the same end, and
// once for every byte at which the server may go away.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/startup.h"

#include "dwspool/auth/scram.h"
#include "dwspool/login/backend_login.h"

#include "support/cuts.h"
#include "support/server_messages.h"

namespace dwspool::testing {

inline std::string to_string(login::Failure failure) {
  switch (failure) {
    case login::Failure::credentials:
      return "credentials";
    case login::Failure::refused:
      return "refused";
    case login::Failure::unavailable:
      return "unavailable";
    case login::Failure::old_protocol:
      return "old_protocol";
    case login::Failure::unsupported:
      return "unsupported";
    case login::Failure::protocol_error:
      return "protocol_error";
  }
  return "?";
}

// All that can be seen of a log-in when it is over.
struct LoginOutcome {
  bool done = false;
  std::string failure;  // "not over" when it waits for more
  wire::ErrorReport report;
  std::vector<std::pair<std::string, std::string>> parameters;
  wire::KeyData key;
  std::string dialect;
  std::string method;
  std::vector<std::string> notices;
  std::vector<std::string> sent;  // by the client, turn by turn
  std::string left;               // what the machine has not taken

  // "done" or the failure, the SQLSTATE and the message.
  std::string end() const {
    return done ? "done" : failure + " " + report.sqlstate + ": " + report.message;
  }
  std::string text() const {
    std::string all = end() + " | " + report.detail + " | " + report.hint + " | ";
    for (const auto& [name, value] : parameters) all += name + "=" + value + ";";
    all += " | " + std::to_string(key.pid) + " " + hex_encode(key.secret) + " | " + dialect +
           " | " + method + " | ";
    for (const std::string& notice : notices) all += notice + ";";
    for (const std::string& turn : sent) all += " | " + hex_encode(turn);
    return all + " | " + hex_encode(left);
  }
};

// PBKDF2 once for all the ways in which a script is played.
inline const login::DerivedKeys& derived(const login::Derivation& work) {
  static std::map<std::string, login::DerivedKeys> known;
  const std::string name = std::to_string(static_cast<int>(work.kind)) + " " +
                           std::to_string(work.iterations) + " " + hex_encode(work.salt) + " " +
                           work.password.reveal();
  auto found = known.find(name);
  if (found == known.end()) found = known.emplace(name, login::derive(work)).first;
  return found->second;
}

class LoginScript {
 public:
  using Sent = std::vector<std::string>;  // the client's turns so far
  using Answer = std::function<std::string(const Sent&)>;

  static login::Identity identity() {
    login::Identity identity;
    identity.user = "app";
    identity.database = "db";
    identity.credential.password = Secret(std::string("pencil"));
    identity.nonce = "client-nonce";
    return identity;
  }
  static std::string startup(const login::Identity& identity) {
    return wire::write_startup_message(
        {identity.protocol, {{"user", identity.user}, {"database", identity.database}}});
  }

  explicit LoginScript(login::Identity who = identity()) : identity_(std::move(who)) {
    client_says(startup(identity_));
  }

  // The client's turn: exactly these bytes ...
  LoginScript& client_says(std::string bytes) {
    steps_.push_back({[bytes = std::move(bytes)](const std::string& sent) {
                        CHECK(hex_encode(sent) == hex_encode(bytes));
                      },
                      nullptr});
    return *this;
  }
  // ... a message of type 'p' with this body ...
  LoginScript& client_answers(std::string body) { return client_says(server::message('p', body)); }
  // ... or any of type 'p', which a later answer of the server depends on.
  LoginScript& client_answers() {
    steps_.push_back({[](const std::string& sent) {
                        const wire::FrameView view = wire::peek_frame(sent);
                        CHECK(view.status == wire::FrameStatus::complete);
                        CHECK(view.type == 'p');
                        CHECK(view.total == sent.size());
                      },
                      nullptr});
    return *this;
  }

  LoginScript& server_says(std::string bytes) {
    return server_answers([bytes = std::move(bytes)](const Sent&) { return bytes; });
  }
  LoginScript& server_answers(Answer answer) {
    steps_.push_back({nullptr, std::move(answer)});
    return *this;
  }

  // Plays it in all ways; the outcome is that of all of them.
  LoginOutcome play() const {
    const LoginOutcome whole = play_once(0, all_bytes);
    CHECK(whole.failure != "not over");
    for (std::size_t way = 1; way < ways; ++way) {
      CAPTURE(way);
      CHECK(play_once(way, all_bytes).text() == whole.text());
    }
    const std::size_t step = delivered_ / 1000 + 1;  // every byte, but of the longest scripts
    for (std::size_t n = 0; n < delivered_; n += step) {
      CAPTURE(n);
      const LoginOutcome cut = play_once(0, n);
      if (cut.left == went_away) {
        CHECK(cut.end() == "unavailable 08006: the server went away");
      } else {
        CHECK(cut.end() == whole.end());
      }
    }
    return whole;
  }

  // Plays it whole, once: for scripts too long for more.
  LoginOutcome play_whole() const { return play_once(0, all_bytes); }

 private:
  struct Step {
    std::function<void(const std::string&)> check;  // a turn of the client, or
    Answer answer;                                  // one of the server
  };
  static constexpr std::size_t ways = 22;  // as many as cuttings() gives
  static constexpr std::size_t all_bytes = static_cast<std::size_t>(-1);
  static constexpr const char* went_away = "went away";

  LoginOutcome play_once(std::size_t way, std::size_t byte_limit) const {
    login::BackendLogin login(identity_);
    LoginOutcome outcome;
    std::string out;
    login.start(out);
    std::size_t bytes_left = byte_limit;
    std::size_t delivered = 0;
    bool gone = false;
    for (const Step& step : steps_) {
      if (gone) break;
      if (step.check) {
        if (login.finished()) {
          if (byte_limit == all_bytes) FAIL_CHECK("over before the client's turn: ", end_of(login));
          break;
        }
        step.check(out);
        outcome.sent.push_back(std::exchange(out, {}));
        continue;
      }
      const std::string bytes = step.answer(outcome.sent);
      const Cutting cutting = cuttings(bytes).at(way);
      for (const std::string_view piece : cutting.pieces) {
        const std::string_view here = piece.substr(0, bytes_left);
        bytes_left -= here.size();
        outcome.left += here;
        if (!login.finished()) {
          delivered += here.size();
          feed(login, outcome.left, out);
        }
        gone = here.size() < piece.size();
        if (gone) break;
      }
    }
    if (gone && !login.finished()) {
      login.on_lost("the server went away");
      outcome.left = went_away;
    }
    if (login.finished()) outcome.sent.push_back(std::exchange(out, {}));
    if (byte_limit == all_bytes && way == 0) delivered_ = delivered;
    fill(outcome, login);
    return outcome;
  }

  // What the shell does with what it has received.
  static void feed(login::BackendLogin& login, std::string& received, std::string& out) {
    using Need = login::BackendLogin::Need;
    const Exact exact(received);
    std::string_view in = exact;
    Need need = login.on_bytes(in, out);
    while (need == Need::derivation) {
      // Nothing is taken while the keys are being derived.
      const std::size_t before = in.size();
      CHECK(login.on_bytes(in, out) == Need::derivation);
      CHECK(in.size() == before);
      need = login.on_derived(derived(login.derivation()), out);
      if (need == Need::input) need = login.on_bytes(in, out);
    }
    CHECK((need == Need::nothing) == login.finished());
    received = in;
  }

  static std::string end_of(const login::BackendLogin& login) {
    return login.state() == login::BackendLogin::State::done
               ? "done"
               : to_string(login.failure()) + " " + login.report().sqlstate + ": " +
                     login.report().message;
  }

  static void fill(LoginOutcome& outcome, const login::BackendLogin& login) {
    outcome.done = login.state() == login::BackendLogin::State::done;
    outcome.failure = login.state() == login::BackendLogin::State::failed
                          ? to_string(login.failure())
                          : (outcome.done ? "" : "not over");
    outcome.report = login.report();
    outcome.parameters = login.parameters();
    outcome.key = login.key();
    outcome.dialect = std::string(dwspool::to_string(login.dialect()));
    outcome.method = login.method();
    outcome.notices = login.notices();
  }

  login::Identity identity_;
  std::vector<Step> steps_;
  mutable std::size_t delivered_ = 0;
};

// --- A SCRAM server as part of a script
// -----------------------------------------------------------

// The message inside the client's turn: of a SASLInitialResponse, or of a SASLResponse.
inline std::string scram_message(const std::string& turn) {
  const std::string_view body = std::string_view(turn).substr(wire::header_size);
  const std::string start = std::string(auth::scram_mechanism) + '\0';
  return std::string(body.starts_with(start) ? body.substr(start.size() + 4) : body);
}

// SASLContinue, in answer to the client's last turn.
inline LoginScript::Answer scram_challenge(const auth::ScramVerifier& verifier) {
  return [verifier](const LoginScript::Sent& sent) {
    auth::ScramServer machine(verifier, "server-nonce");
    const auto first = machine.on_client_first(scram_message(sent.back()));
    REQUIRE(first);
    return server::authentication(11, *first);
  };
}

// SASLFinal in answer to the client's last two turns, and `behind` it; 28P01 when the proof is
// wrong.
inline LoginScript::Answer scram_verdict(const auth::ScramVerifier& verifier, std::string behind) {
  return [verifier, behind = std::move(behind)](const LoginScript::Sent& sent) {
    auth::ScramServer machine(verifier, "server-nonce");
    REQUIRE(machine.on_client_first(scram_message(sent.at(sent.size() - 2))));
    const auto final = machine.on_client_final(scram_message(sent.back()));
    REQUIRE(final);
    if (!final->proven) return server::error("28P01", "password authentication failed");
    return server::authentication(12, final->message) + behind;
  };
}

}  // namespace dwspool::testing
