// What a lost connection breaks is run again on another one, compared, and handed over.
#include <cstddef>
#include <string>
#include <vector>

#include "replay_script.h"

namespace dwspool::testing {
using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using session::Next;

TEST_CASE("replay: a transaction goes on where its connection was lost") {
  with_all_cuts([](unsigned seed) {
    ReplayScript script;
    script.cut(seed);
    script.client(query("begin")).client(query("insert into t values (1)")).grant_fresh();
    script.server(begun() + complete("INSERT 0 1") + ready('T'));
    script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
    script.client(query("update t set a = 2"))
        .to_server(
            "P:=begin B: E Q:insert into t values (1) "
            "Q:update t set a = 2");
    script.lose_backend().silent().grant_fresh();
    script.to_server("P:=begin B: E Q:insert into t values (1)");
    script.server(begun() + complete("INSERT 0 1") + ready('T'));
    script.to_client("").to_server("Q:update t set a = 2");
    script.server(complete("UPDATE 1") + ready('T')).to_client("C:UPDATE 1 Z:T");
    script.client(query("commit")).to_server("Q:commit");
    script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
    script.check_note(Failure::transaction_lost, ReplayResult::masked);
    CHECK(script.queries == 4);
    CHECK(script.transactions == 1);
    CHECK(script.errors == 0);
    CHECK(script.replay().memory == 0);
  });
}

TEST_CASE("replay: what is lost between two statements waits for the client's next word") {
  ReplayScript script;
  script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T")
      .to_server("P:=begin B: E Q:insert into t values (1)");
  script.lose_backend().silent().expect(Next::need_input);
  script.wait(1h).silent().expect(Next::need_input);
  script.client(query("commit")).grant_fresh();
  script.to_server("P:=begin B: E Q:insert into t values (1)");
  script.server(begun() + complete("INSERT 0 1") + ready('T')).go_on().to_server("Q:commit");
  script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
  script.check_note(Failure::transaction_lost, ReplayResult::masked);
}

TEST_CASE("replay: other results than the client has seen end the transaction, once") {
  ReplayScript script;
  const std::string text = query("insert into t values (1) returning id");
  script.client(query("begin") + text).grant_fresh();
  script.server(begun() + row("7") + complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN Z:T D C:INSERT 0 1 Z:T");
  script.client(query("update t set a = 2")).lose_backend().grant_fresh();
  script.server(begun() + row("8") + complete("INSERT 0 1") + ready('T'));
  script.to_client("E:40001 Z:E").expect(Next::release);
  script.check_note(Failure::transaction_lost, ReplayResult::mismatch);
  script.go_on().client(query("select 1")).to_client("E:25P02 Z:E");
  script.client(query("rollback")).to_client("C:ROLLBACK Z:I").expect(Next::need_input);
  CHECK(script.queries == 5);
  CHECK(script.errors == 2);
}

TEST_CASE(
    "replay: a write outside of a transaction, or a COMMIT, is in doubt and never run again") {
  ReplayScript script;
  SUBCASE("write") {
    script.client(query("insert into t values (1)")).grant_fresh();
    script.lose_backend().to_client("E:08007 Z:I").expect(Next::need_input);
  }
  SUBCASE("commit") {
    script.client(query("begin") + query("insert into t values (1)")).grant_fresh();
    script.server(begun() + complete("INSERT 0 1") + ready('T'));
    script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T").client(query("commit"));
    script.lose_backend().to_client("E:08007 Z:I").expect(Next::need_input);
  }
  script.check_note(Failure::in_doubt, ReplayResult::refused, Refusal::commit);
}

TEST_CASE("replay: a read is run again when the catalog knows that it is one") {
  ReplayScript script;
  script.client(query("select * from t")).grant_fresh().to_server("Q:select * from t");
  script.lose_backend().silent().grant_fresh();
  script.to_server("Q:" + retry::catalog_question({{}, {"t"}}));
  const auto verdict = [](std::string_view harmless) {
    std::string out;
    wire::MessageWriter(out, 'D')
        .u16(3)
        .u32(1)
        .bytes("r")
        .u32(1)
        .bytes("t")
        .u32(1)
        .bytes(harmless)
        .end();
    return out;
  };
  SUBCASE("it is") {
    script.server(verdict("t") + complete("SELECT 1") + ready('I')).expect(Next::release);
    script.to_client("").go_on().grant_fresh().to_server("Q:select * from t");
    script.server(row("1") + complete("SELECT 1") + ready('I')).to_client("D C:SELECT 1 Z:I");
    script.check_note(Failure::in_doubt, ReplayResult::masked);
    CHECK(script.queries == 1);
  }
  SUBCASE("it is not") {
    script.server(verdict("f") + complete("SELECT 1") + ready('I')).go_on();
    script.to_client("E:08007 Z:I");
    script.check_note(Failure::in_doubt, ReplayResult::not_read);
    CHECK(script.errors == 1);
  }
}

TEST_CASE(
    "replay: the answer to a read is held for a moment, and nobody has seen it if it is lost") {
  ReplayScript script;
  script.client(query("select 1")).grant_fresh().to_server("Q:select 1");
  script.server(row("1")).to_client("");
  SUBCASE("lost") {
    script.lose_backend().silent().grant_fresh().to_server("Q:select 1");
    script.server(row("2") + complete("SELECT 1") + ready('I')).to_client("D C:SELECT 1 Z:I");
    script.check_note(Failure::in_doubt, ReplayResult::masked);
  }
  SUBCASE("whole") {
    script.server(complete("SELECT 1") + ready('I')).to_client("D C:SELECT 1 Z:I");
  }
  SUBCASE("late") {
    script.wait(20ms).to_client("D");
    script.server(row("2")).to_client("D");
    script.lose_backend().silent().grant_fresh().to_server("Q:select 1");
    SUBCASE("the same again") {
      script.server(row("1")).to_client("");
      script.server(row("2") + complete("SELECT 2") + ready('I')).to_client("C:SELECT 2 Z:I");
      script.check_note(Failure::in_doubt, ReplayResult::masked);
    }
    SUBCASE("not the same") {
      script.server(row("1") + row("3") + complete("SELECT 2") + ready('I'));
      script.to_client("E:08006 Z:I").expect(Next::release);
      script.check_note(Failure::in_doubt, ReplayResult::mismatch);
    }
  }
}

TEST_CASE("replay: what was told to be committed stays, whatever becomes of what was asked next") {
  const auto executed = [](const std::string& text) {
    return parse("", text) + bind("", "") + execute();
  };
  ReplayScript script;
  script.client(query("begin") + query("set work_mem to '1MB'")).grant_fresh();
  const std::string first = begun() + complete("SET") + ready('T');
  script.server(first).to_client("C:BEGIN Z:T C:SET Z:T");
  script.client(executed("select 2") + executed("end") + sync() + query("select 3"));
  const std::string half = message('1') + message('2') + row("2");
  const std::string batch = " P:=select 2 B: E P:=end B: E S";
  script.to_server("P:=begin B: E Q:set work_mem to '1MB'" + batch + " Q:select 3");
  script.server(half).to_client("1 2 D").lose_backend().grant_fresh();
  script.server(first).to_server("P:=begin B: E Q:set work_mem to '1MB'" + batch);
  script.server(half + complete("SELECT 1") + message('1') + message('2') + complete("COMMIT") +
                ready('I'));
  // Nobody has a backend for the rest.
  script.to_client("C:SELECT 1 1 2 C:COMMIT Z:I").expect(Next::release).wait(10s);
  script.to_client("E:08006 Z:I").client(query("show work_mem")).to_server("").grant_fresh();
  script.to_server("Q:SET \"work_mem\" TO '1MB'");
}

TEST_CASE("replay: what is copied in a transaction is copied again") {
  ReplayScript script;
  script.client(query("begin") + query("copy t from stdin")).grant_fresh();
  script.server(begun() + copy_in()).to_client("C:BEGIN Z:T G");
  script.client(message('d', "1\n")).to_server("P:=begin B: E Q:copy t from stdin d");
  script.lose_backend().silent().grant_fresh().to_server("P:=begin B: E Q:copy t from stdin");
  script.server(begun() + copy_in()).to_client("").to_server("d");
  script.client(message('d', "2\n") + message('c')).to_server("d c");
  script.server(complete("COPY 2") + ready('T')).to_client("C:COPY 2 Z:T");
  script.check_note(Failure::transaction_lost, ReplayResult::masked);
}

TEST_CASE("replay: lost once more while it is run again") {
  ReplayScript script;
  script.client(query("begin") + query("select 1")).grant_fresh();
  script.server(begun() + row("1") + complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN Z:T D C:SELECT 1 Z:T").client(query("select 2"));
  script.lose_backend().grant_fresh().server(begun() + row("1"));
  script.lose_backend().expect(Next::need_input);  // with a pause now
  script.wait(5s).grant_fresh().server(begun());
  SUBCASE("and then it lasts") {
    script.server(row("1") + complete("SELECT 1") + ready('T'));
    script.server(row("2") + complete("SELECT 1") + ready('T')).to_client("D C:SELECT 1 Z:T");
    CHECK(script.notes.at(0).losses == 2);
    script.check_note(Failure::transaction_lost, ReplayResult::masked);
  }
  SUBCASE("and a third time") {
    script.lose_backend().to_client("E:08006 Z:E");
    script.check_note(Failure::transaction_lost, ReplayResult::attempts);
    script.client(query("rollback")).to_client("C:ROLLBACK Z:I");
  }
}

TEST_CASE("replay: what the server reports anew is told once, at the end") {
  ReplayScript script;
  script.client(query("begin") + query("select 1")).grant_fresh();
  script.server(begun() + row("1") + complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN Z:T D C:SELECT 1 Z:T");
  script.client(query("select 2")).lose_backend().grant_fresh();
  script.server(begun() + parameter("in_hot_standby", "off"));
  script.to_client("").server(row("1") + complete("SELECT 1") + ready('T'));
  script.to_client("S:in_hot_standby=off").server(row("2") + complete("SELECT 1") + ready('T'));
  script.to_client("D C:SELECT 1 Z:T");
}

// The last of what was told is digested late, and large answers at once.
TEST_CASE("replay: a long answer is compared from its first row to its last") {
  const std::vector<std::string> told = {std::string(3000, 'a'), std::string(5000, 'b'), "7"};
  const auto answer = [](const std::vector<std::string>& rows) {
    return begun() + row(rows[0]) + row(rows[1]) + row(rows[2]) + complete("SELECT 3") + ready('T');
  };
  for (std::size_t differs = 0; differs <= told.size(); ++differs) {
    CAPTURE(differs);
    ReplayScript script;
    script.client(query("begin") + query("select a from t order by a")).grant_fresh();
    script.server(begun() + row(told[0])).to_client("C:BEGIN Z:T D");
    script.server(row(told[1])).to_client("D");
    script.server(row(told[2]) + complete("SELECT 3") + ready('T')).to_client("D C:SELECT 3 Z:T");
    script.client(query("update t set a = 2")).lose_backend().grant_fresh();
    std::vector<std::string> again = told;
    if (differs < told.size()) again[differs].back() = 'x';
    script.server(answer(again));
    if (differs < told.size()) {
      script.to_client("E:40001 Z:E").expect(Next::release);
    } else {
      script.go_on().server(complete("UPDATE 1") + ready('T')).to_client("C:UPDATE 1 Z:T");
      script.check_note(Failure::transaction_lost, ReplayResult::masked);
    }
  }
}

TEST_CASE("replay: prepared statements come along, and a given-up transaction keeps older names") {
  ReplayScript script;
  const std::string bound = bind("", "p") + execute() + sync();
  const std::string closed = message('3') + message('3');  // what the BEGIN left behind
  script.client(parse("p", "select 1") + sync()).grant_fresh();
  script.server(message('1') + ready('I')).to_client("1 Z:I").expect(Next::release).go_on();
  script.to_server("P:p=select 1 S").client(query("begin") + bound).grant_fresh();
  script.to_server("P:=begin B: E C:S C:P P:p=select 1 B:p E S");
  script.server(begun() + closed + message('1') + message('2') + row("1") + complete("SELECT 1") +
                ready('T'));
  script.to_client("C:BEGIN Z:T 2 D C:SELECT 1 Z:T");
  script.client(parse("q", "select 2") + sync()).lose_backend().to_server("P:q=select 2 S");
  script.grant_fresh().to_server("P:=begin B: E C:S C:P P:p=select 1 B:p E S");
  SUBCASE("masked") {
    script.server(begun() + closed + message('1') + message('2') + row("1") + complete("SELECT 1") +
                  ready('T'));
    script.to_server("P:q=select 2 S").server(message('1') + ready('T')).to_client("1 Z:T");
    script.check_note(Failure::transaction_lost, ReplayResult::masked);
  }
  SUBCASE("given up") {
    script.server(begun() + closed + message('1') + message('2') + row("2") + complete("SELECT 1") +
                  ready('T'));
    script.to_client("E:40001 Z:E").expect(Next::release).go_on();
    script.client(query("rollback") + bound).to_client("C:ROLLBACK Z:I").grant_fresh();
    script.to_server("P:p=select 1 B:p E S");
  }
}

TEST_CASE("replay: a session that is bound to its backend is not protected, and that is counted") {
  ReplayScript script;
  SUBCASE("bound") {
    script.client(query("create temporary table x(a int)")).grant_fresh();
    script.server(complete("CREATE TABLE") + ready('I')).to_client("C:CREATE TABLE Z:I");
    script.client(query("begin") + query("insert into x values (1)"));
    script.server(begun() + complete("INSERT 0 1") + ready('T')).client(query("select 1"));
    script.lose_backend();
    script.check_note(Failure::transaction_lost, ReplayResult::refused, Refusal::pinned);
  }
  SUBCASE("at rest it has lost nothing that could be run again") {
    script.client(query("create temporary table x(a int)")).grant_fresh();
    script.server(complete("CREATE TABLE") + ready('I')).lose_backend();
    CHECK(script.notes.empty());
  }
}

TEST_CASE("replay: the server's last words in one piece with the end of its answer") {
  const std::string fatal = error("57P01", "terminating connection", "FATAL");
  ReplayScript script;
  SUBCASE("a write that was answered is over") {
    script.client(query("insert into t values (1)")).grant_fresh();
    script.server(complete("INSERT 0 1") + ready('I') + fatal).to_client("C:INSERT 0 1 Z:I");
    CHECK(script.notes.empty());
    script.client(query("select 1")).grant_fresh();
    script.to_server("Q:insert into t values (1) Q:select 1");
  }
  SUBCASE("a refused one is run again") {
    script.client(query("insert into t values (1)")).grant_fresh();
    script.to_server("Q:insert into t values (1)");
    script.server(pooler_error() + ready('I') + fatal).silent().expect(Next::release).go_on();
    script.wait(1s).grant_fresh().to_server("Q:insert into t values (1)");
    script.server(complete("INSERT 0 1") + ready('I')).to_client("C:INSERT 0 1 Z:I");
  }
}

TEST_CASE("replay: time runs out while a write is on its way once more") {
  ReplayScript script;
  script.client(parse("", "insert into t values (1)") + bind("", "") + execute() + sync());
  script.grant_fresh().server(message('1') + message('2') + pooler_error() + ready('I'));
  script.to_client("1 2").expect(Next::release).go_on().wait(1s).grant_fresh();
  script.wait(9s).to_client("E:08007 Z:I").expect(Next::release);
  script.check_note(Failure::refused, ReplayResult::deadline);
}

TEST_CASE("replay: what bound the session to its backend is lost with a replay that fails") {
  ReplayScript script;
  script.client(query("begin") + query("select pg_advisory_lock(1)")).grant_fresh();
  script.server(begun() + row("") + complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN Z:T D C:SELECT 1 Z:T");
  SUBCASE("somebody asks: one error, and the next request hears that the session is over") {
    script.client(query("select 2")).lose_backend().grant_fresh();
    script.server(begun() + row("other") + complete("SELECT 1") + ready('T'));
    script.to_client("E:57P01 Z:E").expect(Next::release).go_on();
    script.client(query("rollback")).to_client("E:57P01").expect(Next::close);
  }
  SUBCASE("the commit is in doubt, and that is said before anything else") {
    script.client(query("insert into t values (1)") + query("commit"));
    script.server(complete("INSERT 0 1") + ready('T')).to_client("C:INSERT 0 1 Z:T");
    script.lose_backend().to_client("E:08007 Z:I");
    script.client(query("select 1")).to_client("E:57P01").expect(Next::close);
  }
  SUBCASE("it is run again, and nothing is lost") {
    script.client(query("select 2")).lose_backend().grant_fresh();
    script.server(begun() + row("") + complete("SELECT 1") + ready('T'));
    script.server(row("2") + complete("SELECT 1") + ready('T')).to_client("D C:SELECT 1 Z:T");
    script.check_note(Failure::transaction_lost, ReplayResult::masked);
  }
}

TEST_CASE("replay: the level is a setting, and a hint speaks for one statement") {
  ReplayScript script;
  const auto lose_in_transaction = [&](const std::string& text) {
    script.client(query("begin") + query(text)).grant_fresh();
    script.server(complete("SET") + ready('I')).go_on();  // the session's setting
    script.server(begun() + complete("INSERT 0 1") + ready('T')).client(query("select 1"));
    script.lose_backend();
  };
  SUBCASE("hint") {
    script.client(query("begin") + query("insert /*+ noreplay */ into t values (1)"));
    script.grant_fresh().lose_backend().to_client("C:BEGIN Z:T E:08006 Z:E");
    script.check_note(Failure::transaction_lost, ReplayResult::refused, Refusal::asked);
  }
  SUBCASE("setting") {
    script.client(query("set dwspool.replay = off")).grant_fresh();
    script.server(complete("SET") + ready('I')).expect(Next::release).go_on();
    lose_in_transaction("insert into t values (1)");
    script.check_note(Failure::transaction_lost, ReplayResult::refused, Refusal::level);
  }
}
}  // namespace dwspool::testing
