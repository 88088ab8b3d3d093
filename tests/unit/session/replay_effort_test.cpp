// A statement that is refused again and again: one effort, with one deadline; and refusals that
// come in one piece with what the client knows already.
#include <chrono>

#include "dwspool/session/replayed_session.h"

#include "support/session_script.h"

namespace dwspool::testing {
namespace {

using session::Next;

const std::string refusal = error("08006", "pooler: failed to create 1 connections");

// A client before a coordinator of DWS, at the default level.
class Replayed {
 public:
  Replayed() {
    replay_.options.deadline = std::chrono::seconds{1};
    follow(session_.start(out_));
    to_client_.clear();
  }

  std::string client(const std::string& bytes) {
    unread_ += bytes;
    go_on();
    return take();
  }
  // The backend answers; it is had back, or given anew, as the session wants.
  std::string server(const std::string& bytes) {
    std::string_view view = bytes;
    follow(session_.on_server(view, out_, now));
    return take();
  }
  std::string wait(Duration time) {
    now += time;
    if (session_.deadline() <= now) follow(session_.on_timer(out_, now));
    return take();
  }
  std::string wait_until_it_sends() {
    std::string told;
    for (int step = 0; step < 1000 && !sends(); ++step) told += wait(std::chrono::milliseconds{10});
    return told;
  }
  bool sends() { return !std::exchange(to_server_, {}).empty(); }

  std::size_t masked = 0;
  TimePoint now{std::chrono::seconds{1}};

 private:
  void go_on() {
    std::string_view view = unread_;
    const Next next = session_.on_client(view, out_, now);
    keep();
    unread_.erase(0, unread_.size() - view.size());
    follow(next);
  }
  void follow(Next next) {
    keep();
    if (next == Next::need_backend) {
      backend_ = std::make_unique<session::Backend>(backends_.make_backend());
      next = session_.on_granted(*backend_, out_, now);
      keep();
      if (next == Next::need_input) go_on();
    }
  }
  void keep() {
    to_client_ += out_.to_client.flatten();
    to_server_ += out_.to_server.flatten();
    for (const session::ReplayNote& note : out_.replays) {
      if (note.result == retry::ReplayResult::masked) ++masked;
    }
    out_.clear();
  }
  std::string take() {
    keep();
    return summary(std::exchange(to_client_, {}), true);
  }

  SessionScript backends_{PoolMode::automatic, {}, Dialect::dws};
  session::PreparedTable statements_;
  session::Interner<session::SettingSet> settings_;
  session::Interner<session::ReportedSet> reported_;
  session::WelcomeCache welcome_;
  session::SessionContext context_{{PoolMode::automatic, true, 200, std::size_t{1} << 20U, nullptr},
                                   statements_,
                                   settings_,
                                   reported_,
                                   welcome_};
  session::ReplayContext replay_{retry::ReplayOptions{}, retry::ErrorTable{}};
  session::ReplayedSession session_{context_, &replay_, 7, settings_.intern({}),
                                    wire::KeyData{42, "abcd"}};
  std::unique_ptr<session::Backend> backend_;
  session::Output out_;
  std::string unread_;
  std::string to_client_;
  std::string to_server_;
};

}  // namespace

TEST_CASE("the deadline counts from the first refusal") {
  Replayed client;
  CHECK(client.client(query("insert into t values (1)")).empty());
  std::string told;
  int refused = 0;
  for (int step = 0; told.empty() && step < 1000; ++step) {
    if (client.sends()) {
      ++refused;
      told = client.server(refusal + ready('I'));
    } else {
      told = client.wait(std::chrono::milliseconds{10});
    }
  }
  CHECK(told == "E:08006 Z:I");
  CHECK(refused > 2);
  CHECK(refused < 12);
  CHECK(client.now - TimePoint{std::chrono::seconds{1}} <= std::chrono::milliseconds{1010});
  CHECK(client.masked == 0);
}

TEST_CASE("one effort counts once, when its answer is there") {
  Replayed client;
  client.client(query("insert into t values (1)"));
  for (int i = 0; i < 3; ++i) {
    CHECK(client.server(refusal + ready('I')).empty());
    client.sends();
    CHECK(client.wait_until_it_sends().empty());
  }
  CHECK(client.masked == 0);
  CHECK(client.server(complete("INSERT 0 1") + ready('I')) == "C:INSERT 0 1 Z:I");
  CHECK(client.masked == 1);
}

TEST_CASE("a refusal in one piece with what the client knows is not passed on") {
  const std::string begun = message('1') + message('2') + complete("BEGIN");
  Replayed client;
  client.client(parse("", "begin") + bind("", "") + execute() +
                parse("", "insert into t values (1)") + bind("", "") + execute() + sync());
  CHECK(client.server(begun) == "1 2 C:BEGIN");
  CHECK(client.server(refusal + ready('E')).empty());
  client.sends();
  CHECK(client.wait_until_it_sends().empty());
  CHECK(client.server(begun + message('1') + message('2') + refusal + ready('E')) == "1 2");
  CHECK(client.wait_until_it_sends().empty());
  CHECK(client.server(begun + message('1') + message('2') + complete("INSERT 0 1") + ready('T')) ==
        "C:INSERT 0 1 Z:T");
  CHECK(client.masked == 1);
}

}  // namespace dwspool::testing
