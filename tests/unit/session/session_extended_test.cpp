// Prepared statements under pooling, and the order of answers in pipelines.
#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

namespace {

const std::string use_a = bind("", "a") + execute() + sync();
const std::string used = message('2') + complete("SELECT 1") + ready('I');

// Prepares `a` as `sql` on the script's own backend.
void prepare(SessionScript& script, std::string_view sql = "select 1") {
  script.client(parse("a", sql) + sync()).grant();
  script.server(message('1') + ready('I')).expect(Next::release);
  script.to_server("P:a=" + std::string(sql) + " S").to_client("1 Z:I");
}

session::PreparedPtr intern(session::PreparedTable& table, std::string_view query) {
  return table.intern("", query, "", [](std::string_view text) { return sql::recognize(text); });
}

}  // namespace

TEST_CASE("one batch of the extended protocol takes a backend and gives it back") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(parse("", "select 1") + bind("", "") + describe('P', "") + execute() + sync());
    script.grant().to_server("P:=select 1 B: D:P E S");
    script.server(message('1') + message('2') + message('T', "x") + row("1") +
                  complete("SELECT 1") + ready('I'));
    script.expect(Next::release).to_client("1 2 T D C:SELECT 1 Z:I");
  });
}

TEST_CASE("a named statement passes untouched while its backend has it") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(use_a).grant().to_server("B:a E S");
  script.server(used).expect(Next::release).to_client("2 C:SELECT 1 Z:I");
}

TEST_CASE("on another backend it is prepared first, unseen") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(parse("a", "select 1") + sync()).grant();
    script.server(message('1') + ready('I')).to_server("P:a=select 1 S").to_client("1 Z:I");
    session::Backend other = script.make_backend();
    script.client(use_a).grant(other).to_server("P:a=select 1 B:a E S");
    script.server(message('1') + used).expect(Next::release).to_client("2 C:SELECT 1 Z:I");
    script.client(use_a).grant(other).to_server("B:a E S");
  });
}

TEST_CASE("Describe of a statement prepares it, too") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  session::Backend other = script.make_backend();
  script.client(describe('S', "a") + sync()).grant(other).to_server("P:a=select 1 D:Sa S");
}

TEST_CASE("a Parse that the backend has seen is answered in its place") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  // The client drops its name and takes it again: the backend still has the statement.
  script.client(close('S', "a") + sync()).to_client("3 Z:I").to_server("");
  script.client(parse("", "select 0") + parse("a", "select 1") + bind("", "a") + execute() +
                sync());
  script.grant().to_server("P:=select 0 B:a E S").to_client("");
  script.server(message('1')).to_client("1 1");
  script.server(used).to_client("2 C:SELECT 1 Z:I").expect(Next::release);
}

TEST_CASE("a name that another client's statement holds is replaced on the wire only") {
  SessionScript script;
  script.logged_in();
  session::PreparedTable table;
  const auto first = intern(table, "select 0");
  session::Backend busy = script.make_backend();
  busy.statements.add(intern(table, "select 'other'"), "a");
  script.client(parse("a", "select 1") + bind("", "a") + describe('S', "a") + execute() + sync());
  script.grant(busy);
  script.to_server("P:dwspool_1=select 1 B:dwspool_1 D:Sdwspool_1 E S");
  const std::string sent = script.raw_to_server();
  CHECK(sent.find("dwspool_1") != std::string::npos);
}

TEST_CASE("Bind keeps its parameters when its name is replaced") {
  SessionScript script;
  script.logged_in();
  session::PreparedTable table;
  const auto first = intern(table, "select 0");
  session::Backend busy = script.make_backend();
  busy.statements.add(intern(table, "select 'other'"), "a");
  std::string with_value;
  wire::MessageWriter(with_value, 'B')
      .cstring("portal")
      .cstring("a")
      .u16(0)
      .u16(1)
      .u32(5)
      .bytes("hello")
      .u16(0)
      .end();
  script.client(parse("a", "select $1") + sync()).grant(busy);
  script.server(message('1') + ready('I')).to_server("P:dwspool_1=select $1 S");
  script.client(with_value + sync()).grant(busy).to_server("B:dwspool_1 S");
  std::string expected;
  wire::MessageWriter(expected, 'B')
      .cstring("portal")
      .cstring("dwspool_1")
      .u16(0)
      .u16(1)
      .u32(5)
      .bytes("hello")
      .u16(0)
      .end();
  CHECK(script.raw_to_server() == expected + sync());
}

TEST_CASE("a Parse that fails leaves no statement, here or there") {
  SessionScript script;
  script.logged_in();
  script.client(parse("a", "selec 1") + bind("", "a") + execute() + sync()).grant();
  script.server(error("42601") + ready('I')).to_client("E:42601 Z:I").expect(Next::release);
  script.to_server("P:a=selec 1 B:a E S");
  CHECK(script.backend().statements.size() == 0);
  script.client(use_a).grant().to_server("B:a E S");  // unknown: the server says so
}

TEST_CASE("an error drops the answers that dwspool had in hand") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(close('S', "a") + sync()).to_client("3 Z:I");
  script.client(parse("", "selec") + parse("a", "select 1") + sync()).grant();
  script.server(error("42601") + ready('I')).to_client("E:42601 Z:I").expect(Next::release);
}

TEST_CASE("a name in use: the server itself says so") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(parse("a", "select 2") + sync()).grant().to_server("P:a=select 2 S");
  script.server(error("42P05") + ready('I')).to_client("E:42P05 Z:I");
  script.client(use_a).grant().to_server("B:a E S");
}

TEST_CASE("in a failed transaction the server refuses a Parse, also of what it holds") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(close('S', "a") + sync()).to_client("3 Z:I");
  script.client(query("begin;select 1/0")).grant();
  script.server(complete("BEGIN") + error("22012") + ready('E')).to_client("C:BEGIN E:22012 Z:E");
  script.to_server("Q:begin;select 1/0");
  script.client(parse("a", "select 1") + sync()).to_server("P:a=select 1 S");
  script.server(error("25P02") + ready('E')).to_client("E:25P02 Z:E");
  CHECK(script.backend().statements.size() == 1);
  script.client(query("rollback")).server(complete("ROLLBACK") + ready('I'));
  script.client(parse("a", "select 1") + sync()).grant();  // the name is still free
  script.to_client("C:ROLLBACK Z:I 1");
}

TEST_CASE("behind what may end a failed transaction, a statement that is held is used as ever") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(close('S', "a") + sync()).to_client("3 Z:I");
  script.client(query("begin;select 1/0")).grant();
  script.server(complete("BEGIN") + error("22012") + ready('E')).to_client("C:BEGIN E:22012 Z:E");
  script.to_server("Q:begin;select 1/0");
  script.client(parse("", "end") + bind("", "") + execute() + parse("b", "select 1") + sync());
  script.to_server("P:=end B: E S");
  script.server(message('1') + message('2') + complete("ROLLBACK") + ready('I'));
  script.to_client("1 2 C:ROLLBACK 1 Z:I");
}

TEST_CASE("a client never runs another client's statement") {
  SessionScript script;
  script.logged_in();
  session::PreparedTable table;
  const auto first = intern(table, "select 0");
  session::Backend busy = script.make_backend();
  busy.statements.add(intern(table, "drop table x"), "a");
  script.client(use_a).grant(busy).to_server("B:dwspool nobody E S");
  script.server(error("26000") + ready('I')).expect(Next::release);
  busy.unnamed = {99, 1};
  script.client(bind("", "") + execute() + sync()).grant(busy).to_server("C:S B: E S");
  script.server(message('3') + error("26000") + ready('I')).to_client("E:26000 Z:I E:26000 Z:I");
}

TEST_CASE("the unnamed statement follows its client as well") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 7") + sync()).grant();
  script.server(message('1') + ready('I')).to_server("P:=select 7 S").to_client("1 Z:I");
  script.client(bind("", "") + execute() + sync()).grant().to_server("B: E S");
  script.server(used).to_client("2 C:SELECT 1 Z:I");
  session::Backend other = script.make_backend();
  other.unnamed = {99, 1};
  script.client(bind("", "") + execute() + sync()).grant(other).to_server("P:=select 7 B: E S");
  script.server(message('1') + used).to_client("2 C:SELECT 1 Z:I");
  // A simple query drops it.
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  script.client(bind("", "") + execute() + sync()).grant(other).to_server("B: E S");
}

TEST_CASE("a backend holds only so many statements") {
  SessionScript script;
  script.logged_in();
  for (int i = 0; i < 205; ++i) {
    const std::string name = "s" + std::to_string(i);
    script.client(parse(name, "select " + name) + sync()).grant();
    std::string answer = message('1');
    if (i >= 200) answer += message('3');
    script.server(answer + ready('I')).expect(Next::release);
  }
  CHECK(script.backend().statements.size() == 200);
}

TEST_CASE("DEALLOCATE of a protocol statement is answered without the server") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(query("DEALLOCATE a")).to_client("C:DEALLOCATE Z:I").to_server("");
  script.client(use_a).expect(Next::need_backend);
  SessionScript second;
  second.logged_in();
  second.client(query("deallocate b")).expect(Next::need_backend);  // SQL's own, or nobody's
}

TEST_CASE("a simple DEALLOCATE never drops another client's statement") {
  SessionScript script;
  script.logged_in();
  session::PreparedTable table;
  session::Backend busy = script.make_backend();
  busy.statements.add(intern(table, "select 'other'"), "a");
  busy.statements.settle();
  script.client(query("deallocate a")).grant(busy).to_server("Q:DEALLOCATE \"dwspool nobody\"");
  script.server(error("26000") + ready('I')).to_client("E:26000 Z:I").expect(Next::release);
}

TEST_CASE("DEALLOCATE in the extended protocol is carried out here") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(parse("", "deallocate a") + bind("", "") + execute() + sync()).grant();
  // The server gets an empty statement in its place, and Close: nobody else has the statement.
  script.to_server("P:= B: C:Sa E S");
  script.server(message('1') + message('2') + message('3') + message('I') + ready('I'));
  script.to_client("1 2 C:DEALLOCATE Z:I").expect(Next::release);
  script.client(use_a).grant().to_server("B:a E S");
  script.server(error("26000") + ready('I')).to_client("E:26000 Z:I");
  CHECK(script.backend().statements.size() == 0);
}

TEST_CASE("DEALLOCATE of an unknown name in the extended protocol fails when it is executed") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "deallocate a") + bind("", "") + execute() + sync()).grant();
  script.to_server("P:= B: E S");
  script.server(message('1') + message('2') + error("34000") + ready('I'));
  script.to_client("1 2 E:26000 Z:I").expect(Next::release);
}

TEST_CASE("a DEALLOCATE that is skipped has not happened") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(bind("", "x") + parse("", "deallocate a") + bind("", "") + execute() + sync());
  script.grant().server(error("26000") + ready('I')).to_client("E:26000 Z:I");
  script.to_server("B:x P:= B: C:Sa E S");
  CHECK(script.backend().statements.size() == 1);
  script.client(use_a).grant().to_server("B:a E S");
}

TEST_CASE("a Close that is skipped has not happened") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(parse("", "selec") + close('S', "a") + parse("a", "select 2") + sync()).grant();
  script.to_server("P:=selec C:Sa P:dwspool_1=select 2 S");
  script.server(error("42601") + ready('I')).to_client("E:42601 Z:I").expect(Next::release);
  CHECK(script.backend().statements.size() == 1);
  script.client(use_a).grant().to_server("B:a E S");
}

TEST_CASE("a SET in the extended protocol is followed") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "set work_mem = '1MB'") + bind("", "") + execute() + sync()).grant();
  script.to_server("P:=set work_mem = '1MB' B: E S");
  script.server(message('1') + message('2') + complete("SET") + ready('I'));
  script.to_client("1 2 C:SET Z:I").expect(Next::release);
  CHECK(script.session().pins() == 0);
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:SET \"work_mem\" TO '1MB'");
}

TEST_CASE("an error does not make forgotten what was parsed behind it") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 1/0") + bind("", "") + execute() + sync()).grant();
  SUBCASE("a SET") {
    script.client(parse("", "set work_mem to '1MB'"));
    script.server(message('1') + message('2') + error("22012") + ready('I'));
    script.client(bind("", "") + execute() + sync());
    script.server(message('1') + message('2') + complete("SET") + ready('I'));
    script.expect(Next::release);
    CHECK(script.session().wanted_settings()->find("work_mem") != nullptr);
  }
  SUBCASE("a COMMIT") {
    script.client(parse("", "begin") + bind("", "") + execute() + parse("", "commit"));
    script.server(message('1') + message('2') + error("22012") + ready('I'));
    script.client(bind("", "") + execute() + sync());
    script.lose_backend().to_client("1 2 E:22012 Z:I E:08007 Z:I");
  }
}

TEST_CASE("a SET that was only bound is not") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "set work_mem = '1MB'") + bind("", "") + sync()).grant();
  script.to_server("P:=set work_mem = '1MB' B: S");
  script.server(message('1') + message('2') + ready('I')).expect(Next::release);
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
}

TEST_CASE("after 0A000 a statement that is prepared anew is a new one") {
  SessionScript script;
  script.logged_in();
  prepare(script);
  script.client(use_a).grant().server(error("0A000") + ready('I')).to_client("E:0A000 Z:I");
  script.to_server("B:a E S");
  script.client(parse("b", "select 1") + sync()).grant().to_server("P:b=select 1 S");
}

TEST_CASE("DEALLOCATE ALL and DISCARD ALL empty both sides") {
  for (const char* tag : {"DEALLOCATE ALL", "DISCARD ALL"}) {
    CAPTURE(tag);
    SessionScript script;
    script.logged_in();
    prepare(script);
    script.client(query(tag)).grant();
    script.server(complete(tag) + ready('I')).expect(Next::release);
    script.to_server("Q:" + std::string(tag));
    CHECK(script.backend().statements.size() == 0);
    script.client(parse("a", "select 2") + sync()).grant().to_server("P:a=select 2 S");
  }
}

TEST_CASE("in session mode nothing of this is touched") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(parse("a", "select 1") + parse("a", "select 1") + close('S', "a") + sync()).grant();
  script.to_server("P:a=select 1 P:a=select 1 C:Sa S");
  CHECK(script.backend().statements.size() == 0);
}

TEST_CASE("a pipeline is answered as a whole before the backend goes") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    const std::string one = parse("", "select 1") + bind("", "") + execute() + sync();
    script.client(one + one + one).grant();
    const std::string answer = message('1') + message('2') + complete("SELECT 1") + ready('I');
    script.server(answer).server(answer).expect(Next::need_input);
    script.server(answer).expect(Next::release);
  });
}

TEST_CASE("after an error the server skips to the Sync, and so does the count") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 1/0") + bind("", "") + execute() + parse("", "select 2") +
                bind("", "") + execute() + sync());
  script.grant();
  script.server(message('1') + message('2') + error("22012") + ready('I'));
  script.expect(Next::release).to_client("1 2 E:22012 Z:I");
}

TEST_CASE("without a Sync the backend stays, whatever was answered") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 1") + bind("", "") + execute() + flush()).grant();
  script.server(message('1') + message('2') + complete("SELECT 1")).expect(Next::need_input);
  CHECK(script.session().attached());
  script.client(sync()).server(ready('I')).expect(Next::release);
}

TEST_CASE("a Sync that arrives during COPY IN is ignored, as the server does") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "copy t from stdin") + bind("", "") + execute() + sync()).grant();
  script.server(message('1') + message('2') + copy_in()).expect(Next::need_input);
  script.client(message('d', "1\n") + message('c') + sync());
  script.server(complete("COPY 1") + ready('I')).expect(Next::release);
  script.to_client("1 2 G C:COPY 1 Z:I");
}

TEST_CASE("so does a Sync behind a simple COPY, also one that was sent too early") {
  for (const bool early : {false, true}) {
    CAPTURE(early);
    SessionScript script;
    script.logged_in();
    script.client(query("copy t from stdin")).grant();
    if (early) script.client(message('d', "1\n") + sync() + flush() + message('c'));
    script.server(copy_in()).expect(Next::need_input);
    if (!early) script.client(message('d', "1\n") + sync() + flush() + message('c'));
    script.server(complete("COPY 1") + ready('I')).expect(Next::release);
    script.to_client("G C:COPY 1 Z:I");
  }
}

TEST_CASE("a COPY IN whose end is unclear costs the backend, not the client") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "copy t from stdin") + bind("", "") + execute() + sync()).grant();
  script.server(message('1') + message('2') + copy_in() + error("57014") + ready('I'));
  script.to_client("1 2 G E:57014 Z:I").expect(Next::release);
  CHECK(script.backend().retire);
}

}  // namespace dwspool::testing
