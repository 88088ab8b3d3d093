// What DWS does not do, done in its place: DISCARD ALL, and read-only sessions.
#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

namespace {

constexpr const char* block =
    "P:dwspool_read_only=BEGIN READ ONLY B:dwspool_read_only E C:Sdwspool_read_only";
constexpr const char* restriction =
    "P:dwspool_read_only=SET TRANSACTION READ ONLY B:dwspool_read_only E C:Sdwspool_read_only";

// The answer to a statement of dwspool's own.
std::string done(std::string_view tag) {
  return message('1') + message('2') + complete(tag) + message('3');
}

session::SettingSet startup(std::string_view name, std::string_view value) {
  session::SettingSet settings;
  settings.set(name, value);
  return settings;
}

struct Dws : SessionScript {
  explicit Dws(PoolMode mode = PoolMode::automatic, session::SettingSet settings = {})
      : SessionScript(mode, std::move(settings), Dialect::dws) {
    logged_in();
  }
  SessionScript& read_only() {
    client(query("SET default_transaction_read_only TO 'on'")).grant();
    to_server("").to_client("C:SET Z:I");
    return *this;
  }
};

}  // namespace

TEST_CASE("DISCARD ALL gives the client a clean backend, with its start-up settings") {
  for (const PoolMode mode : {PoolMode::session, PoolMode::automatic}) {
    CAPTURE(to_string(mode));
    Dws script(mode, startup("work_mem", "'1MB'"));
    script.client(query("create temp table t(i int)")).grant();
    script.server(complete("CREATE TABLE") + ready('I')).expect(Next::need_input);
    script.to_client("C:CREATE TABLE Z:I").to_server("Q:create temp table t(i int)");
    script.client(query("DISCARD ALL")).expect(Next::release).to_client("C:DISCARD ALL");
    script.to_server("");
    CHECK(script.backend().dirty);
    CHECK(script.backend().holds_temporary_objects);
    CHECK(script.session().pins() == 0);
    script.go_on().expect(Next::need_backend).silent();
    session::Backend other = script.make_backend();
    script.grant(other).to_server("Q:SET \"work_mem\" TO '1MB'").to_client("");
    script.server(complete("SET") + ready('I')).to_client("Z:I");
  }
}

TEST_CASE("DISCARD ALL of a session that bound nothing leaves a backend that others may have") {
  Dws script;
  script.client(query("set work_mem to '2MB'")).grant();
  script.server(complete("SET") + ready('I')).to_client("C:SET Z:I");
  script.client(query("discard all;")).grant().expect(Next::release);
  script.to_server("Q:set work_mem to '2MB'");
  CHECK_FALSE(script.backend().dirty);
  script.go_on().grant().to_server("Q:RESET \"work_mem\"").to_client("C:DISCARD ALL");
  script.server(complete("RESET") + ready('I')).to_client("Z:I").expect(Next::release);
}

TEST_CASE("DISCARD ALL is answered even if no other backend can be had") {
  Dws script;
  script.client(query("discard all")).grant().to_client("C:DISCARD ALL");
  script.go_on().expect(Next::need_backend);
  script.acquire_fails("08006").to_client("Z:I").expect(Next::need_input);
  script.client(query("select 1")).expect(Next::need_backend);
}

TEST_CASE("DISCARD ALL in a transaction, in company, and of PostgreSQL is the server's business") {
  Dws script;
  script.client(query("begin") + query("discard all")).grant();
  script.to_server("P:=begin B: E Q:discard all");
  Dws company;
  company.client(query("discard all; select 1")).grant().to_server("Q:discard all; select 1");
  SessionScript postgres;
  postgres.logged_in().client(query("discard all")).grant().to_server("Q:discard all");
}

TEST_CASE("in a read-only session a statement runs in a READ ONLY transaction of its own") {
  with_all_cuts([](unsigned seed) {
    Dws script;
    script.cut(seed);
    script.read_only();
    CHECK_FALSE(script.session().attached());
    script.client(query("select 1")).grant().to_server(std::string(block) + " Q:select 1");
    script.server(done("BEGIN") + row("1") + complete("SELECT 1") + ready('T'));
    script.to_client("D C:SELECT 1").to_server("Q:COMMIT").expect(Next::need_input);
    script.client(query("select 2")).silent();  // not before the first is over
    script.server(complete("COMMIT") + ready('I')).to_client("Z:I").expect(Next::release);
  });
}

TEST_CASE("an error in it is the client's, and so is the end of its transaction") {
  Dws script;
  script.read_only();
  script.client(query("insert into t values (1)")).grant();
  script.server(done("BEGIN") + error("25006") + ready('E'));
  script.to_client("E:25006").to_server(std::string(block) +
                                        " Q:insert into t values (1) Q:ROLLBACK");
  script.server(complete("ROLLBACK") + ready('I')).to_client("Z:I").expect(Next::release);
}

TEST_CASE("what cannot run in a transaction is refused as the read-only session would") {
  Dws script;
  script.read_only();
  script.client(query("vacuum t")).grant();
  script.server(done("BEGIN") + error("25001") + ready('E')).to_client("E:25006");
  script.server(complete("ROLLBACK") + ready('I')).to_client("Z:I");
}

TEST_CASE("what could get out of the transaction does not reach the server") {
  for (const char* text : {"end; insert into t values (1)", "select 1; commit; select 2",
                           "begin; insert into t values (1); commit", "select 'open",
                           "begin insert into t values (1); end;"}) {
    CAPTURE(text);
    Dws script;
    script.read_only();
    script.client(query(text)).grant().to_client("E:25006 Z:I").to_server("");
  }
}

TEST_CASE("a transaction of the client's becomes READ ONLY, unless it says READ WRITE") {
  Dws script;
  script.read_only();
  script.client(query("begin isolation level repeatable read;") + query("select 1")).grant();
  script.to_server("P:=begin isolation level repeatable read; B: E " + std::string(restriction) +
                   " Q:select 1");
  script.server(message('1') + message('2') + complete("BEGIN") + done("SET") +
                complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN Z:T C:SELECT 1 Z:T").to_server("");
  script.client(query("commit")).to_server("Q:commit");
  script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
  script.client(query("begin read write") + query("select 1")).grant();
  script.to_server("P:=begin read write B: E Q:select 1");
}

TEST_CASE("the extended protocol is guarded as well") {
  Dws script;
  script.read_only();
  script.client(parse("", "select 1") + bind("", "") + execute() + sync()).grant();
  script.to_server("P:=select 1 " + std::string(block) + " B: E S");
  script.server(message('1') + done("BEGIN") + message('2') + complete("SELECT 1") + ready('T'));
  script.to_client("1 2 C:SELECT 1").to_server("Q:COMMIT");
  script.server(complete("COMMIT") + ready('I')).to_client("Z:I").expect(Next::release);
}

TEST_CASE("so is a transaction that begins and ends in the extended protocol") {
  Dws script;
  script.read_only();
  script.client(parse("", "begin") + bind("", "") + execute() + parse("", "select 1") +
                bind("", "") + execute() + parse("", "commit") + bind("", "") + execute() +
                parse("", "select 2") + bind("", "") + execute() + sync());
  script.grant().to_server("P:=begin B: E " + std::string(restriction) +
                           " P:=select 1 B: E P:=commit B: E P:=select 2 " + std::string(block) +
                           " B: E S");
}

TEST_CASE("a read-only session that loses its backend has lost nothing") {
  Dws script;
  script.read_only();
  script.client(query("select 1")).grant().lose_backend().to_client("E:08006 Z:I");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.server(done("BEGIN") + complete("SELECT 1") + ready('T')).to_client("C:SELECT 1");
  script.lose_backend().to_client("Z:I").expect(Next::need_input);
}

TEST_CASE("read-only ends as it began, and may come with the start-up packet") {
  Dws script(PoolMode::automatic, startup("default_transaction_read_only", "'on'"));
  script.client(query("select 1")).grant().to_server(std::string(block) + " Q:select 1");
  script.server(done("BEGIN") + complete("SELECT 1") + ready('T') + complete("COMMIT") +
                ready('I'));
  script.to_client("C:SELECT 1 Z:I").to_server("Q:COMMIT");
  script.client(query("set default_transaction_read_only = off")).grant().to_client("C:SET Z:I");
  script.client(query("select 1")).grant().to_server("Q:select 1");
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  script.client(query("reset default_transaction_read_only")).grant().to_client("C:RESET Z:I");
  script.client(query("select 1")).grant().to_server(std::string(block) + " Q:select 1");
}

TEST_CASE("on PostgreSQL the server keeps it") {
  SessionScript script;
  script.logged_in().client(query("set default_transaction_read_only to on")).grant();
  script.to_server("Q:set default_transaction_read_only to on");
}

}  // namespace dwspool::testing
