// What a client leaves behind, put right.
#include "dwspool/session/cleaner.h"

#include "support/session_script.h"

namespace dwspool::testing {
namespace {

using session::Cleaner;

// A backend that a client has just left, and its cleaner.
struct Left {
  session::Interner<session::SettingSet> settings;
  session::Interner<session::ReportedSet> reported;
  session::Backend backend;
  session::Output out;
  std::optional<Cleaner> cleaner;

  explicit Left(Dialect dialect = Dialect::postgres) {
    backend.reported = reported.intern({});
    backend.applied = settings.intern({});
    backend.dialect = dialect;
  }
  std::string start() {
    cleaner.emplace(backend, reported, settings.intern({}));
    cleaner->start(out);
    return sent();
  }
  std::string server(std::string_view bytes) {
    CHECK((cleaner->on_server(bytes, out), true));
    return sent();
  }
  Cleaner::State state() const { return cleaner->state(); }

 private:
  std::string sent() {
    std::string bytes = out.to_server.flatten();
    out.clear();
    return bytes;
  }
};

void push(session::Backend& backend, session::ReplyKind kind, std::uint64_t tag = 0) {
  backend.replies.push({.kind = kind, .tag = tag});
}

}  // namespace

TEST_CASE("cleaner: nothing to do") {
  Left left;
  CHECK_FALSE(Cleaner::needed(left.backend));
  CHECK(left.start().empty());
  CHECK(left.state() == Cleaner::State::done);
}

TEST_CASE("cleaner: an open transaction is rolled back, a dirty session discarded") {
  Left left;
  left.backend.status = wire::TxStatus::in_transaction;
  left.backend.dirty = true;
  CHECK(Cleaner::needed(left.backend));
  CHECK(left.start() == query("ROLLBACK"));
  CHECK(left.server(complete("ROLLBACK") + ready('I')) == query("DISCARD ALL"));
  CHECK(left.server(parameter("TimeZone", "UTC") + complete("DISCARD ALL") + ready('I')).empty());
  CHECK(left.state() == Cleaner::State::done);
  CHECK_FALSE(left.backend.dirty);
  CHECK(*left.backend.reported->find("TimeZone") == "UTC");
  CHECK_FALSE(Cleaner::needed(left.backend));
}

TEST_CASE("cleaner: DWS has no DISCARD; what it has is sent in one go") {
  Left left(Dialect::dws);
  left.backend.dirty = true;
  const std::string sent = left.start();
  CHECK(sent.find("DISCARD") == std::string::npos);
  CHECK(sent.find("RESET ALL") != std::string::npos);
  std::string answers;
  for (int i = 0; i < 5; ++i) answers += complete("RESET") + ready('I');
  left.server(answers);
  CHECK(left.state() == Cleaner::State::done);
}

TEST_CASE("cleaner: temporary tables on DWS cost the backend") {
  Left left(Dialect::dws);
  left.backend.dirty = left.backend.holds_temporary_objects = true;
  left.start();
  CHECK(left.state() == Cleaner::State::failed);
}

TEST_CASE("cleaner: what runs is let run to its end, and its answer thrown away") {
  Left left;
  push(left.backend, session::ReplyKind::query);
  CHECK(left.start().empty());
  CHECK(left.server(row("1")).empty());
  CHECK(left.state() == Cleaner::State::finishing);
  CHECK(left.server(complete("SELECT 1") + ready('T')) == query("ROLLBACK"));
}

TEST_CASE("cleaner: the rest of a large row whose front the client has had") {
  Left left;
  push(left.backend, session::ReplyKind::query);
  left.backend.unread = 10;
  left.start();
  left.server("ZZZZZ");
  left.server("ZZZZZ" + complete("SELECT 1") + ready('I'));
  CHECK(left.state() == Cleaner::State::done);
}

TEST_CASE("cleaner: a batch without its Sync is ended, and not committed") {
  std::string ends;
  wire::append_execute(ends, "dwspool nobody");
  ends += sync();
  SUBCASE("it has failed by itself") {
    Left left;
    push(left.backend, session::ReplyKind::parse, 7);
    CHECK(left.start() == ends);
    left.server(error("42601") + ready('I'));
    CHECK(left.state() == Cleaner::State::done);
  }
  SUBCASE("it has not") {
    Left left;
    push(left.backend, session::ReplyKind::parse, 7);
    push(left.backend, session::ReplyKind::bind);
    push(left.backend, session::ReplyKind::execute);
    CHECK(left.start() == ends);
    left.server(message('1') + message('2') + complete("INSERT 0 1"));
    CHECK(left.state() == Cleaner::State::finishing);
    left.server(error("34000") + ready('I'));
    CHECK(left.state() == Cleaner::State::done);
  }
  SUBCASE("it has been told that it has failed") {
    Left left;
    push(left.backend, session::ReplyKind::parse, 7);
    left.backend.replies.on_error([](const session::Reply&) {});
    CHECK(left.start() == sync());
    left.server(ready('I'));
    CHECK(left.state() == Cleaner::State::done);
  }
}

TEST_CASE("cleaner: a COPY that nobody will feed is ended") {
  Left left;
  push(left.backend, session::ReplyKind::query);
  left.backend.replies.on_copy_in();
  CHECK(left.start() == message('f', std::string("the client has left") + '\0'));
  left.server(error("57014") + ready('I'));
  CHECK(left.state() == Cleaner::State::done);

  Left early;  // the server has not said yet that it copies
  push(early.backend, session::ReplyKind::query);
  CHECK(early.start().empty());
  CHECK(early.server(copy_in()) == message('f', std::string("the client has left") + '\0'));
  early.server(error("57014") + ready('I'));
  CHECK(early.state() == Cleaner::State::done);
}

TEST_CASE("cleaner: its own statements must work, and FATAL is the end") {
  Left refused;
  refused.backend.dirty = true;
  refused.start();
  refused.server(error("0A000") + ready('I'));
  CHECK(refused.state() == Cleaner::State::failed);

  Left still_open;
  still_open.backend.status = wire::TxStatus::failed;
  still_open.start();
  still_open.server(complete("ROLLBACK") + ready('T'));
  CHECK(still_open.state() == Cleaner::State::failed);

  Left out_of_step;
  out_of_step.backend.status = wire::TxStatus::in_transaction;
  out_of_step.start();
  out_of_step.server(ready('I') + ready('I'));
  CHECK(out_of_step.state() != Cleaner::State::finishing);
}

TEST_CASE("cleaner: a session marked for retirement is not cleaned") {
  Left left;
  left.backend.dirty = left.backend.retire = true;
  left.start();
  CHECK(left.state() == Cleaner::State::failed);
}

}  // namespace dwspool::testing
