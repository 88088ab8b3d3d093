// Deferred BEGIN: answered at once, sent with the first statement, and never glued on wrongly.
#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

namespace {

constexpr const char* begin_sent = "P:=begin B: E";

}  // namespace

TEST_CASE("BEGIN takes no backend") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in().client(query("begin")).expect(Next::need_input);
    script.to_client("C:BEGIN Z:T").to_server("");
    CHECK(script.session().client_status() == wire::TxStatus::in_transaction);
  });
}

TEST_CASE("the tag is that of the statement") {
  SessionScript script;
  script.logged_in().client(query("/* x */ START TRANSACTION READ ONLY;"));
  script.to_client("C:START TRANSACTION Z:T");
}

TEST_CASE("a transaction without a statement needs no backend at all") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + query("commit")).to_client("C:BEGIN Z:T C:COMMIT Z:I");
  script.client(query("begin") + query("rollback")).to_client("C:BEGIN Z:T C:ROLLBACK Z:I");
  script.to_server("").expect(Next::need_input);
}

TEST_CASE("the first statement brings its BEGIN along") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(query("begin")).to_client("C:BEGIN Z:T");
    script.client(query("select 1")).expect(Next::need_backend).silent();
    script.grant().to_server(std::string(begin_sent) + " Q:select 1");
    script.server(message('1') + message('2') + complete("BEGIN") + row("1") +
                  complete("SELECT 1") + ready('T'));
    script.to_client("D C:SELECT 1 Z:T").expect(Next::need_input);
    script.client(query("commit")).to_server("Q:commit");
    script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I").expect(Next::release);
  });
}

TEST_CASE("in front of the extended protocol no unnamed statement or portal is left behind") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).to_client("C:BEGIN Z:T");
  script.client(parse("", "select 1") + bind("", "") + execute() + sync()).grant();
  script.to_server("P:=begin B: E C:S C:P P:=select 1 B: E S");
  script.server(message('1') + message('2') + complete("BEGIN") + message('3') + message('3') +
                message('1') + message('2') + complete("SELECT 1") + ready('T'));
  script.to_client("1 2 C:SELECT 1 Z:T");
}

TEST_CASE("a function call, too, runs inside the transaction") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + message('F', "x")).grant();
  script.to_server(std::string(begin_sent) + " F");
}

TEST_CASE("what is not a plain BEGIN goes to the server as it is") {
  for (const char* text : {"begin; select 1", "begin isolation level chaos", "begin select 1; end;",
                           "begin read only,", "BEGIN;;x", "start", "begin atomic"}) {
    CAPTURE(text);
    SessionScript script;
    script.logged_in().client(query(text)).expect(Next::need_backend).silent();
  }
  for (const char* text :
       {"BEGIN", "begin;", "begin work", "Begin Transaction", "begin read write",
        "begin isolation level read committed", "begin isolation level repeatable read read only",
        "begin transaction isolation level serializable, read only, deferrable",
        "begin not deferrable", "start transaction", " begin -- now\n ; "}) {
    CAPTURE(text);
    SessionScript script;
    script.logged_in().client(query(text)).expect(Next::need_input).to_server("");
    CHECK(script.session().client_status() == wire::TxStatus::in_transaction);
  }
}

TEST_CASE("a second BEGIN is the server's to warn about") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + query("begin")).grant();
  script.to_server(std::string(begin_sent) + " Q:begin");
}

TEST_CASE("a BEGIN that the server refuses runs nothing, and fails the transaction") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(query("begin isolation level serializable") + query("insert into t values (1)"));
    script.grant();
    script.to_client("C:BEGIN Z:T");
    script.server(error("0A000", "cannot use serializable mode in a hot standby"));
    // The server skips the insert. Sync brings it back.
    script.to_server("P:=begin isolation level serializable B: E Q:insert into t values (1) S");
    script.server(ready('I')).to_client("E:0A000 Z:E").expect(Next::release);
    script.client(query("select 1")).to_client("E:25P02 Z:E").to_server("");
    script.client(query("commit")).to_client("C:ROLLBACK Z:I").to_server("");
    script.client(query("select 1")).expect(Next::need_backend);
  });
}

TEST_CASE("... and so it does in front of the extended protocol") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).to_client("C:BEGIN Z:T");
  script.client(parse("", "insert") + bind("", "") + execute() + sync()).grant();
  script.server(message('1') + error("57014") + ready('I'));
  script.to_client("E:57014 Z:E").expect(Next::release);
  script.client(parse("", "rollback") + bind("", "") + describe('P', "") + execute() + sync());
  script.to_client("1 2 n C:ROLLBACK Z:I");
}

TEST_CASE("nothing is sent behind the first request until the server has begun") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + query("select 1") + parse("", "select 2") + bind("", ""));
  script.client(execute() + sync() + query("insert into t values (1)")).grant();
  script.to_server("P:=begin B: E Q:select 1");
  SUBCASE("it has") {
    script.server(message('1') + message('2') + complete("BEGIN"));
    script.client(query("commit"));
    script.to_server("P:=select 2 B: E S Q:insert into t values (1) Q:commit");
  }
  SUBCASE("it has refused: what follows is not run outside of the transaction") {
    script.server(error("57014")).to_server("S");
    script.server(ready('I')).to_client("C:BEGIN Z:T E:57014 Z:E").expect(Next::release);
    script.client(query("commit")).to_server("");
    script.to_client("E:25P02 Z:E E:25P02 Z:E C:ROLLBACK Z:I");
  }
}

TEST_CASE("with the backend kept, BEGIN is deferred as well") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(query("select 1")).grant();
  script.server(complete("SELECT 1") + ready('I')).to_server("Q:select 1");
  script.to_client("C:SELECT 1 Z:I");
  script.client(query("begin")).to_client("C:BEGIN Z:T").to_server("");
  script.client(query("select 2")).to_server(std::string(begin_sent) + " Q:select 2");
}

TEST_CASE("Sync and Flush do not need a transaction to begin") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + sync() + flush()).to_client("C:BEGIN Z:T Z:T").to_server("");
}

TEST_CASE("when no backend can be had the transaction has failed") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).to_client("C:BEGIN Z:T");
  script.client(query("select 1")).acquire_fails("08006").to_client("E:08006 Z:E");
  script.client(query("select 1")).to_client("E:25P02 Z:E");
  script.client(query("rollback")).to_client("C:ROLLBACK Z:I");
}

}  // namespace dwspool::testing
