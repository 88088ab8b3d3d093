// The cluster says that it cannot work at the moment, on a connection that lives.
#include "replay_script.h"

namespace dwspool::testing {
using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using session::Next;

// The most frequent failure of psycopg2 on DWS: it has sent BEGIN, so that the coordinator's own
// retry does not help.
TEST_CASE("replay: the first statement of a transaction is refused until the datanode is back") {
  for (const bool simple : {true, false}) {
    CAPTURE(simple);
    ReplayScript script;
    const std::string text =
        simple ? query("insert into t values (1)")
               : parse("", "insert into t values (1)") + bind("", "") + execute() + sync();
    // In front of messages of the extended protocol the BEGIN is cleaned up.
    const std::string parsed =
        simple ? "" : message('3') + message('3') + message('1') + message('2');
    script.client(query("begin") + text).to_client("C:BEGIN Z:T");
    for (int i = 0; i < 4; ++i) {
      script.grant_fresh();
      script.server(begun() + parsed + pooler_error() + ready('E'));
      script.to_client(!simple && i == 0 ? "1 2" : "");  // they can be compared, too
      script.expect(Next::release).go_on().expect(Next::need_input);
      script.wait(2s);
    }
    script.grant_fresh();
    script.server(begun() + parsed + complete("INSERT 0 1") + ready('T'));
    script.to_client("C:INSERT 0 1 Z:T");
    REQUIRE(script.notes.size() == 1);
    CHECK(script.notes[0].refusals == 4);
    CHECK(script.notes[0].took == 8s);
    CHECK(script.notes[0].statement != 0);
    CHECK(script.notes[0].cause.find("pooler: failed to create") != std::string::npos);
    script.check_note(Failure::refused, ReplayResult::masked);
    CHECK(script.queries == 2);
    CHECK(script.errors == 0);
    CHECK(script.transactions == 0);
  }
}

TEST_CASE("replay: a refused statement outside of a transaction") {
  ReplayScript script;
  script.client(query("insert into t values (1)")).grant_fresh();
  script.server(pooler_error() + ready('I')).to_client("").expect(Next::release).go_on();
  script.wait(1s).grant_fresh();
  script.server(complete("INSERT 0 1") + ready('I')).to_client("C:INSERT 0 1 Z:I");
  script.check_note(Failure::refused, ReplayResult::masked);
  CHECK(script.queries == 1);
  CHECK(script.transactions == 1);
}

TEST_CASE("replay: a later statement is refused; what came before is run again and compared") {
  ReplayScript script;
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.client(query("insert into u values (1)"));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.server(pooler_error() + ready('E')).to_client("").expect(Next::release).go_on();
  script.wait(1s).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.server(complete("INSERT 0 1") + ready('T')).to_client("C:INSERT 0 1 Z:T");
  script.check_note(Failure::refused, ReplayResult::masked);
}

TEST_CASE("replay: at level statement a transaction that has written is not run again") {
  ReplayScript script(replay_options(ReplayLevel::statement));
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.client(query("insert into u values (1)")).to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.server(pooler_error() + ready('E')).to_client("E:08006 Z:E");
  script.check_note(Failure::refused, ReplayResult::refused, Refusal::level);
}

TEST_CASE("replay: a refused COMMIT of a transaction that has written is in doubt") {
  ReplayScript script;
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.client(query("commit")).to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.server(pooler_error() + ready('I')).to_client("E:08007 Z:I");
  script.check_note(Failure::refused, ReplayResult::refused, Refusal::commit);
  CHECK(script.errors == 1);
}

TEST_CASE("replay: an error of the statement's own, or of PostgreSQL, passes") {
  ReplayScript script;
  SUBCASE("syntax") {
    script.client(query("selec 1")).grant_fresh();
    script.server(error("42601") + ready('I')).to_client("E:42601 Z:I").expect(Next::release);
  }
  SUBCASE("the same words from PostgreSQL") {
    script.configure = [](session::Backend& backend) { backend.dialect = Dialect::postgres; };
    script.client(query("insert into t values (1)")).grant_fresh();
    script.server(pooler_error() + ready('I')).to_client("E:08006 Z:I").expect(Next::release);
  }
  CHECK(script.notes.empty());
  CHECK(script.errors == 1);
}

TEST_CASE("replay: while it waits, time runs out, the client cancels, or there is no backend") {
  ReplayScript script;
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + pooler_error() + ready('E')).expect(Next::release).go_on();
  CHECK(script.session().pausing());
  SUBCASE("deadline") {
    script.wait(10s).to_client("C:BEGIN Z:T E:08006 Z:E");
    script.check_note(Failure::refused, ReplayResult::deadline);
  }
  SUBCASE("cancel") {
    script.cancel_while_waiting().to_client("C:BEGIN Z:T E:57014 Z:E");
    script.check_note(Failure::refused, ReplayResult::canceled);
  }
  SUBCASE("no backend") {
    script.wait(1s).expect(Next::need_backend);
    script.acquire_fails("08006").to_client("C:BEGIN Z:T E:08006 Z:E");
    script.check_note(Failure::refused, ReplayResult::no_backend);
  }
  CHECK(script.errors == 1);
  CHECK(script.queries == 2);
  script.client(query("select 1")).to_client("E:25P02 Z:E");
  script.client(query("rollback")).to_client("C:ROLLBACK Z:I");
  CHECK(script.replay().memory == 0);
}

TEST_CASE("replay: what a loss would come to is sampled before there is one") {
  const auto sampled = [](ReplayScript& script, const std::string& text, std::string_view tag) {
    script.replay().until_sample = 1;
    script.client(query(text)).grant_fresh();
    script.server(complete(tag) + ready('I')).expect(Next::release).go_on();
    return script.sample ? std::string(to_string(*script.sample)) : "not sampled";
  };
  SUBCASE("one in so many") {
    ReplayScript script;
    script.replay().until_sample = 2;
    script.client(query("select 1")).grant_fresh();
    script.server(complete("SELECT 1") + ready('I')).expect(Next::release).go_on();
    CHECK_FALSE(script.sample);
    CHECK(script.replay().until_sample == 1);
  }
  SUBCASE("by what it does") {
    const auto outcome = [&](const std::string& text) {
      ReplayScript script;
      return sampled(script, text, "SELECT 1");
    };
    CHECK(outcome("select a from t") == "none");
    CHECK(outcome("select f(a) from t") == "unproven");
    CHECK(outcome("insert into t values (1)") == "commit");
    CHECK(outcome("select dblink_exec('x', 'y')") == "external");
    CHECK(outcome("select /*+ noreplay */ 1") == "asked");
    CHECK(outcome("select '" + std::string(20000, 'x') + "'") == "not sampled");
  }
  SUBCASE("what is not kept") {
    ReplayScript off(replay_options(ReplayLevel::off));
    CHECK(sampled(off, "select 1", "SELECT 1") == "level");
    ReplayScript session(replay_options(), PoolMode::session);
    session.replay().until_sample = 1;
    session.client(query("select 1"));
    CHECK(session.sample == Refusal::pinned);
  }
  SUBCASE("what was given up") {
    retry::ReplayOptions options = replay_options();
    options.log_bytes = 100;
    ReplayScript script(options);
    const std::string text = "select '" + std::string(200, 'x') + "'";
    CHECK(sampled(script, text, "SELECT 1") == "too_big");
    CHECK(script.unprotected == Refusal::too_big);
  }
}
}  // namespace dwspool::testing
