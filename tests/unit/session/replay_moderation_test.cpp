// What replay does for the sake of the cluster: processes that were left behind are ended, and it
// keeps within the bounds of the moderator.
#include "replay_script.h"

namespace dwspool::testing {
using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using session::Next;

namespace {

void attach(ReplayScript& script, const retry::ModeratorOptions& options) {
  script.replay().moderator = std::make_shared<retry::Moderator>(options);
}

// Before a PostgreSQL: the first backend is process 99, from port 4711.
struct Postgres : ReplayScript {
  Postgres() {
    configure = [](session::Backend& backend) {
      backend.dialect = Dialect::postgres;
      backend.key.pid = 99;
      backend.local_port = 4711;
    };
    client(query("begin") + query("insert into t values (1)")).grant_fresh();
    server(begun() + complete("INSERT 0 1") + ready('T'));
    to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T").to_server("P:=begin B: E Q:insert into t values (1)");
  }
};

const std::string question =
    "Q:SELECT pg_catalog.pg_terminate_backend(pid, 2000) FROM pg_catalog.pg_stat_activity "
    "WHERE pid OPERATOR(pg_catalog.=) 99 AND client_port OPERATOR(pg_catalog.=) 4711 "
    "AND usename OPERATOR(pg_catalog.=) session_user "
    "AND backend_start OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() "
    "OPERATOR(pg_catalog.-) '0 ms'::pg_catalog.interval)";

}  // namespace

TEST_CASE("replay: the process that a broken connection leaves behind is ended first") {
  Postgres script;
  script.client(query("update t set a = 2")).to_server("Q:update t set a = 2");
  script.lose_backend().silent().grant_fresh().to_server(question);
  SUBCASE("it was there") {
    script.server(row("t") + complete("SELECT 1") + ready('I'));
  }
  SUBCASE("it was not") {
    script.server(complete("SELECT 0") + ready('I'));
  }
  SUBCASE("it must not be ended") {
    script.server(error("42501", "no") + ready('I'));
  }
  script.expect(Next::release).to_client("").go_on().grant_fresh();
  script.to_server("P:=begin B: E Q:insert into t values (1)");
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.to_client("").to_server("Q:update t set a = 2");
  script.server(complete("UPDATE 1") + ready('T')).to_client("C:UPDATE 1 Z:T");
  script.check_note(Failure::transaction_lost, ReplayResult::masked);
}

TEST_CASE("replay: a process that ends by itself is not asked for") {
  Postgres script;
  script.client(query("update t set a = 2")).to_server("Q:update t set a = 2");
  SUBCASE("its last word is an error") {
    script.server(error("57P01", "terminating connection", "FATAL"));
    script.expect(Next::release).go_on();
  }
  SUBCASE("its last word is a notice") {
    std::string notice = error("57P02", "terminating connection because of a crash", "WARNING");
    notice.front() = 'N';
    script.server(notice).to_client("N:57P02").lose_backend();
  }
  script.grant_fresh().to_server("P:=begin B: E Q:insert into t values (1)");
}

TEST_CASE("replay: nothing is left behind outside of a transaction") {
  ReplayScript script;
  script.configure = [](session::Backend& backend) {
    backend.dialect = Dialect::postgres;
    backend.key.pid = 99;
    backend.local_port = 4711;
  };
  script.client(query("select 1")).grant_fresh().to_server("Q:select 1");
  script.lose_backend().silent().grant_fresh().to_server("Q:select 1");
}

TEST_CASE("replay: a statement that takes its server down again and again is given up") {
  ReplayScript script;
  retry::ModeratorOptions options;
  options.quarantine_after = 1;
  attach(script, options);
  script.client(query("begin") + query("select crash()")).grant_fresh();
  script.to_client("C:BEGIN Z:T").to_server("P:=begin B: E Q:select crash()");
  script.lose_backend().silent().grant_fresh().to_server("P:=begin B: E Q:select crash()");
  script.server(begun()).lose_backend();
  script.to_client("E:08006 Z:E").expect(Next::need_input);
  script.check_note(Failure::transaction_lost, ReplayResult::quarantined);
  // Nor is it run again by anybody else.
  script.client(query("rollback")).to_client("C:ROLLBACK Z:I");
  script.client(query("begin") + query("select crash()")).grant_fresh();
  script.to_client("C:BEGIN Z:T").lose_backend().to_client("E:08006 Z:E");
  script.check_note(Failure::transaction_lost, ReplayResult::refused, Refusal::quarantined);
}

TEST_CASE("replay: a COMMIT is never what has taken a server down") {
  ReplayScript script;
  retry::ModeratorOptions options;
  options.quarantine_after = 1;
  attach(script, options);
  const std::string answers =
      begun() + message('T', "x") + row("1") + complete("SELECT 1") + ready('T');
  script.client(query("begin") + query("select 1")).grant_fresh();
  script.to_server("P:=begin B: E Q:select 1").server(answers);
  script.to_client("C:BEGIN Z:T T D C:SELECT 1 Z:T");
  script.client(query("commit")).to_server("Q:commit");
  for (int i = 0; i < 2; ++i) {
    script.lose_backend().silent().wait(std::chrono::seconds(1)).grant_fresh();
    script.to_server("P:=begin B: E Q:select 1").server(answers).to_server("Q:commit");
  }
  script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
  script.check_note(Failure::in_doubt, ReplayResult::masked);
}

TEST_CASE("replay: when too many wait, the next one is told at once") {
  ReplayScript script;
  retry::ModeratorOptions options;
  options.most_waiting = 1;
  attach(script, options);
  const TimePoint now = script.now();
  SUBCASE("what it waits for") {
    const auto seat = script.replay().moderator->enter(1, now);
    script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
    script.server(begun() + pooler_error() + ready('E'));
    script.to_client("C:BEGIN Z:T E:08006 Z:E");
    script.check_note(Failure::refused, ReplayResult::refused, Refusal::crowded);
  }
  SUBCASE("what was lost while it was silent") {
    script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
    script.server(begun() + complete("INSERT 0 1") + ready('T'));
    script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T").lose_backend().to_client("");
    CHECK(script.replay().moderator->waiting() == 0);
    const auto seat = script.replay().moderator->enter(1, now);
    script.client(query("update t set a = 2")).to_client("E:08006 Z:E");
    script.check_note(Failure::transaction_lost, ReplayResult::no_backend);
  }
  CHECK(script.replay().moderator->waiting() == 0);
}

TEST_CASE("replay: attempts of one cluster are spread") {
  ReplayScript script;
  retry::ModeratorOptions options;
  options.rate = 1;
  options.burst = 1;
  attach(script, options);
  static_cast<void>(script.replay().moderator->next_attempt(script.now()));
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  SUBCASE("at once") {
    script.client(query("update t set a = 2")).lose_backend();
  }
  SUBCASE("when it asks again") {
    script.lose_backend().client(query("update t set a = 2"));
  }
  script.expect(Next::need_input).wait(900ms).expect(Next::need_input);
  script.wait(100ms).grant_fresh();
}

TEST_CASE("replay: who goes does not get back what was lost while he was silent") {
  ReplayScript script;
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T").lose_backend().to_client("");
  script.client(message('X')).expect(Next::close).to_client("");
}

}  // namespace dwspool::testing
