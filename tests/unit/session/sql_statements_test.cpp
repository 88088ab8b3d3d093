// SQL's own PREPARE, carried from backend to backend.
#include "dwspool/session/sql_statements.h"

#include "replay_script.h"

namespace dwspool::testing {
using session::Next;
using session::SqlStatementsPtr;

namespace {

const std::string prepare_p = "prepare p as select 1";
const std::string again = "Q:SET LOCAL lock_timeout TO '1s';";
std::string names(const SqlStatementsPtr& set) {
  std::string text;
  if (set) {
    for (const auto& each : set->entries()) text += each.name + ' ';
  }
  return text;
}

SqlStatementsPtr set_of(std::initializer_list<std::pair<const char*, const char*>> entries) {
  SqlStatementsPtr set;
  for (const auto& [name, text] : entries) set = with(set, {name, text, {}});
  return set;
}

std::string steps(const SqlStatementsPtr& from, const SqlStatementsPtr& to) {
  std::string text;
  for (const session::SqlStep& step : switch_statements(from, to)) text += step.query() + "; ";
  return text;
}

struct Carrying : SessionScript {
  explicit Carrying(PoolMode mode = PoolMode::automatic,
                    std::optional<retry::ReplayOptions> replay = {})
      : SessionScript(mode, {}, Dialect::postgres, replay) {
    logged_in();
  }
  void prepare(const std::string& text = prepare_p) {
    client(query(text)).grant().to_server("Q:" + text);
    server(complete("PREPARE") + ready('I')).to_client("C:PREPARE Z:I");
  }
};

}  // namespace

TEST_CASE("what can be carried") {
  const auto can = [](std::string_view text) {
    return session::can_be_carried(sql::recognize(text));
  };
  for (const std::string_view text :
       {"prepare p as select 1", "PREPARE \"P q\" (int, text) AS insert into t values ($1, $2)",
        "prepare p(numeric(10, 2)) as select $1;", "execute p", "execute p(1, 'x')"}) {
    CAPTURE(text);
    CHECK(can(text));
  }
  for (const std::string_view text :
       {"prepare p as select nextval('s')", "prepare p as select pg_advisory_lock(1)",
        "prepare p as select 1; select 2", "select 1; execute p", "execute p(nextval('s'))",
        "prepare transaction 'p'", "prepare p", "prepare", "prepare p (", "execute", "deallocate p",
        "select 1", "do $$ begin execute 'x'; end $$", "prepare U&\"p\" as select 1",
        "prepare p as select 'not closed"}) {
    CAPTURE(text);
    CHECK_FALSE(can(text));
  }
  CHECK_FALSE(can("prepare " + std::string(64, 'p') + " as select 1"));
  CHECK(sql::recognize("prepare p (int) as select $1 ;").body == "select $1 ");
  CHECK(sql::recognize("execute \"P\"(1)").name == "\"P\"");
}

TEST_CASE("from one set to another") {
  const SqlStatementsPtr none;
  const SqlStatementsPtr ab = set_of({{"b", "B"}, {"a", "A"}});
  const SqlStatementsPtr bc = set_of({{"b", "other"}, {"c", "C"}});
  CHECK(names(ab) == "a b ");
  CHECK(steps(none, none).empty());
  CHECK(steps(ab, ab).empty());
  CHECK(steps(none, ab) == "A; B; ");
  CHECK(steps(ab, none) == "DEALLOCATE \"a\"; DEALLOCATE \"b\"; ");
  CHECK(steps(ab, bc) == "DEALLOCATE \"a\"; DEALLOCATE \"b\"; other; C; ");
  auto some = switch_statements(ab, bc);
  some[0].failed = true;  // it is not there all the same
  some[3].failed = true;
  CHECK(names(behind(ab, some)) == "b ");
  CHECK(with(set_of({{"a", "A"}}), {"a", {}, {}}) == nullptr);
}

TEST_CASE("a PREPARE does not bind, and is there on the next backend, in front of what comes") {
  with_all_cuts([](unsigned seed) {
    Carrying script;
    script.prepare();
    script.expect(Next::release);
    CHECK(script.session().pins() == 0);
    script.cut(seed);
    // The same backend has it.
    script.client(query("execute p")).grant().to_server("Q:execute p");
    script.server(row("1") + complete("SELECT 1") + ready('I')).expect(Next::release);
    script.to_client("D C:SELECT 1 Z:I");
    session::Backend other = script.make_backend();
    script.client(query("execute p")).grant(other).to_server(again + prepare_p);
    script.server(complete("PREPARE") + ready('I')).to_client("").go_on();
    script.to_server("Q:execute p");
    script.server(row("1") + complete("SELECT 1") + ready('I')).expect(Next::release);
    script.to_client("D C:SELECT 1 Z:I");
    script.client(query("select 1")).grant(other).to_server("Q:select 1");
  });
}

TEST_CASE("another session finds nothing of it") {
  Carrying script;
  session::Backend used = script.make_backend();
  used.sql_statements = set_of({{"q", "prepare q as select 2"}});
  script.client(query("execute q")).grant(used).to_server("Q:DEALLOCATE \"q\"");
  script.server(complete("DEALLOCATE") + ready('I')).go_on().to_server("Q:execute q");
  CHECK(used.sql_statements == nullptr);
}

TEST_CASE("equal statements are taken over") {
  Carrying script;
  script.prepare();
  session::Backend used = script.make_backend();
  used.sql_statements = set_of({{"p", prepare_p.c_str()}});
  script.client(query("execute p")).grant(used).to_server("Q:execute p");
}

TEST_CASE("one that cannot be prepared any more does not break the session") {
  Carrying script;
  script.prepare("prepare gone as select * from t");
  script.prepare();
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server(again + "prepare gone as select * from t " + again + prepare_p);
  script.server(error("42P01") + ready('I') + complete("PREPARE") + ready('I')).go_on();
  script.to_client("").to_server("Q:select 1");
  CHECK(names(other.sql_statements) == "p ");
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  script.expect(Next::release);
  // It is tried again.
  script.client(query("execute gone"))
      .grant(other)
      .to_server(again + "prepare gone as select * from t");
  script.server(complete("PREPARE") + ready('I')).go_on().to_server("Q:execute gone");
  CHECK(names(other.sql_statements) == "gone p ");
}

TEST_CASE("what another client has prepared and cannot be dropped is not left to this one") {
  for (const std::string code : {"57014", "XX000"}) {
    CAPTURE(code);
    Carrying script;
    script.backend().sql_statements = set_of({{"q", "prepare q as select 2"}});
    script.client(query("select 1")).grant().to_server("Q:DEALLOCATE \"q\"");
    script.server(error(code) + ready('I')).expect(Next::release);
    CHECK(script.backend().dirty);
    script.go_on().to_client("E:" + code + " Z:I");
  }
  Carrying script;
  script.backend().sql_statements = set_of({{"q", "prepare q as select 2"}});
  script.client(query("select 1")).grant().server(error("26000") + ready('I')).go_on();
  script.to_server("Q:DEALLOCATE \"q\" Q:select 1");
  CHECK(script.backend().sql_statements == nullptr);
}

TEST_CASE("who cancels while his statements are prepared again is told so") {
  Carrying script;
  script.prepare();
  session::Backend& first = script.backend();
  session::Backend other = script.make_backend();
  script.client(query("execute p")).grant(other).to_server(again + prepare_p);
  script.server(error("57014") + ready('I')).expect(Next::release);
  script.go_on().to_client("E:57014 Z:I");
  script.client(query("execute p")).grant(first);
  script.to_server("Q:execute p");
}

TEST_CASE("settings come first, and statements of the protocol make room") {
  Carrying script;
  script.client(query("set timezone to 'CET'")).grant();
  script.server(complete("SET") + parameter("TimeZone", "CET") + ready('I'));
  script.to_server("Q:set timezone to 'CET'").to_client("C:SET S:TimeZone=CET Z:I");
  script.prepare();
  session::Backend other = script.make_backend();
  session::PreparedTable table;
  other.statements.add(table.intern("", "select 'other'", "",
                                    [](std::string_view text) { return sql::recognize(text); }),
                       "p");
  other.statements.settle();
  script.client(query("execute p")).grant(other);
  script.to_server("Q:SET \"timezone\" TO 'CET' C:Sp " + again + prepare_p);
  script.server(complete("SET") + parameter("TimeZone", "CET") + ready('I') + message('3') +
                complete("PREPARE") + ready('I'));
  script.go_on().to_server("Q:execute p").to_client("");
}

TEST_CASE("PREPARE makes room for itself as well, unless the client has the name") {
  Carrying script;
  session::PreparedTable table;
  session::Backend& backend = script.backend();
  const auto first =
      table.intern("", "", "", [](std::string_view text) { return sql::recognize(text); });
  script.client(parse("mine", "select 1") + sync()).grant();
  script.server(message('1') + ready('I')).to_server("P:mine=select 1 S").to_client("1 Z:I");
  backend.statements.add(table.intern("", "select 'other'", "",
                                      [](std::string_view text) { return sql::recognize(text); }),
                         "p");
  backend.statements.settle();
  script.client(query(prepare_p)).grant().to_server("C:Sp Q:prepare p as select 1");
  script.server(message('3') + complete("PREPARE") + ready('I')).to_client("C:PREPARE Z:I");
  script.client(query("prepare mine as select 1")).grant().to_server("Q:prepare mine as select 1");
  script.server(error("42P05") + ready('I')).to_client("E:42P05 Z:I").expect(Next::release);
  CHECK(names(backend.sql_statements) == "p ");
}

TEST_CASE("what fails was not prepared; DEALLOCATE takes it away, whatever the transaction does") {
  Carrying script;
  script.client(query("prepare bad as selec")).grant();
  script.server(error("42601") + ready('I')).expect(Next::release);
  CHECK(script.session().pins() == 0);
  script.client(query("begin;select 1"))
      .grant()
      .server(complete("BEGIN") + complete("SELECT 1") + ready('T'));
  script.client(query(prepare_p)).server(complete("PREPARE") + ready('T'));
  script.client(query("rollback")).server(complete("ROLLBACK") + ready('I')).expect(Next::release);
  CHECK(names(script.backend().sql_statements) == "p ");
  script.client(query("deallocate p")).grant().server(complete("DEALLOCATE") + ready('I'));
  script.expect(Next::release);
  CHECK(script.backend().sql_statements == nullptr);
  CHECK(script.session().prepared_statements() == 0);
}

TEST_CASE("DEALLOCATE ALL and DISCARD ALL take all") {
  for (const std::string text : {"DEALLOCATE ALL", "DISCARD ALL"}) {
    CAPTURE(text);
    Carrying script;
    script.prepare();
    CHECK(script.session().prepared_statements() == 1);
    script.client(query(text)).grant().server(complete(text) + ready('I')).expect(Next::release);
    CHECK(script.backend().sql_statements == nullptr);
    CHECK(script.session().prepared_statements() == 0);
  }
}

TEST_CASE("what cannot be followed binds: several statements, bodies, more than is carried") {
  for (const std::string text :
       {"prepare p as select 1; select 1", "prepare p as select nextval('s')",
        "do $$ begin execute 'prepare p as select 1'; end $$", "execute unknown"}) {
    CAPTURE(text);
    Carrying script;
    script.client(query(text)).grant().server(complete("X") + ready('I'));
    CHECK((script.session().pins() & bit(sql::Effect::prepares)) != 0);
  }
  Carrying script;
  script.prepare();
  script.client(query("deallocate p; select 1")).grant();
  script.server(complete("DEALLOCATE") + complete("SELECT 1") + ready('I'));
  CHECK((script.session().pins() & bit(sql::Effect::prepares)) != 0);

  Carrying many;
  for (std::size_t i = 0; i < session::most_sql_statements; ++i) {
    many.prepare("prepare p" + std::to_string(i) + " as select 1");
  }
  CHECK(many.session().pins() == 0);
  many.prepare("prepare one_more as select 1");
  CHECK(many.session().pins() == bit(sql::Effect::prepares));
  Carrying large;
  large.prepare("prepare p as select '" + std::string(session::most_sql_statement_bytes, 'x') +
                "'");
  CHECK(large.session().pins() == bit(sql::Effect::prepares));
}

TEST_CASE("an EXECUTE of what nobody knows binds if it is there, and not if it fails") {
  for (const bool simple : {true, false}) {
    CAPTURE(simple);
    Carrying script;
    const std::string text =
        simple ? query("execute q") : parse("", "execute q") + bind("", "") + execute() + sync();
    const std::string parsed = simple ? "" : message('1') + message('2');
    script.client(text).grant().server(parsed + error("26000") + ready('I'));
    script.expect(Next::release);
    CHECK(script.session().pins() == 0);
    script.client(text).grant().server(parsed + complete("SELECT 1") + ready('I'));
    CHECK(script.session().pins() == bit(sql::Effect::prepares));
  }
}

TEST_CASE("a change of the encoding binds those who have prepared more than ASCII") {
  for (const std::string text : {"prepare p as select 'x'", "prepare p as select '\xC3\xA4'"}) {
    CAPTURE(text);
    Carrying script;
    script.prepare(text);
    script.client(query("set client_encoding to latin1")).grant();
    script.server(complete("SET") + parameter("client_encoding", "LATIN1") + ready('I'));
    CHECK(script.session().pins() == (text.ends_with("x'") ? 0 : bit(sql::Effect::prepares)));
  }
}

TEST_CASE("by the extended protocol") {
  Carrying script;
  script.client(parse("", prepare_p) + bind("", "") + execute() + sync()).grant();
  script.to_server("P:=prepare p as select 1 B: E S");
  script.server(message('1') + message('2') + complete("PREPARE") + ready('I'));
  script.expect(Next::release).to_client("1 2 C:PREPARE Z:I");
  CHECK(names(script.backend().sql_statements) == "p ");
  session::Backend other = script.make_backend();
  script.client(parse("", "execute p") + bind("", "") + execute() + sync()).grant(other);
  script.to_server(again + prepare_p);
  script.server(complete("PREPARE") + ready('I')).go_on().to_server("P:=execute p B: E S");
  script.server(message('1') + message('2') + complete("SELECT 1") + ready('I'));
  script.expect(Next::release).to_client("1 2 C:SELECT 1 Z:I");
  script.client(parse("", "deallocate p") + bind("", "") + execute() + sync()).grant(other);
  script.to_server(
      "P:= B: E P:dwspool_read_only=DEALLOCATE \"p\" B:dwspool_read_only E C:Sdwspool_read_only S");
  script.server(message('1') + message('2') + message('I') + message('1') + message('2') +
                complete("DEALLOCATE") + message('3') + ready('I'));
  script.expect(Next::release).to_client("1 2 C:DEALLOCATE Z:I");
  CHECK(other.sql_statements == nullptr);
  CHECK(script.session().pins() == 0);
}

TEST_CASE("by the extended protocol, in a batch that fails: what came before the error is there") {
  const auto executed = [](const std::string& text) {
    return parse("", text) + bind("", "") + execute();
  };
  const std::string done = message('1') + message('2') + complete("PREPARE");
  Carrying script;
  script.client(executed(prepare_p) + executed("prepare q as selec") +
                executed("prepare r as select 3") + sync());
  script.grant().server(done + message('1') + message('2') + error("42601") + ready('I'));
  script.expect(Next::release);
  CHECK(script.session().pins() == 0);
  CHECK(names(script.backend().sql_statements) == "p ");
  CHECK(script.session().prepared_statements() == 1);
  // It was there twice, and is there with other words now.
  script.client(executed("deallocate p") + executed("prepare p as select 2") +
                executed("prepare p as select 3") + sync());
  script.grant().server(message('1') + message('2') + message('I') + message('1') + message('2') +
                        complete("DEALLOCATE") + message('3') + done + message('1') + message('2') +
                        error("42P05") + ready('I'));
  script.expect(Next::release);
  REQUIRE(names(script.backend().sql_statements) == "p ");
  CHECK(script.backend().sql_statements->find("p")->text == "prepare p as select 2");
}

TEST_CASE("by the extended protocol, in a batch that is lost: what the client was told is there") {
  for (const ReplayLevel level : {ReplayLevel::off, ReplayLevel::transaction}) {
    CAPTURE(static_cast<int>(level));
    retry::ReplayOptions options = replay_options();
    options.level = level;
    Carrying script(PoolMode::automatic, options);
    script.client(parse("", prepare_p) + bind("", "") + execute() +
                  parse("", "insert into t values (1)") + bind("", "") + execute() + sync());
    script.grant().server(message('1') + message('2') + complete("PREPARE") + message('1'));
    script.to_client("1 2 C:PREPARE 1")
        .to_server("P:=prepare p as select 1 B: E P:=insert into t values (1) B: E S");
    script.lose_backend().to_client("E:08007 Z:I");
    script.client(query("execute p"));
    session::Backend other = script.make_backend();
    script.grant(other).to_server(again + prepare_p);
    script.server(complete("PREPARE") + ready('I')).go_on().to_server("Q:execute p");
  }
}

TEST_CASE("in other pool modes nothing is carried") {
  for (const PoolMode mode : {PoolMode::transaction, PoolMode::session}) {
    Carrying script(mode);
    script.client(query(prepare_p)).grant().server(complete("PREPARE") + ready('I'));
    CHECK(script.backend().sql_statements == nullptr);
    CHECK(script.session().prepared_statements() == 0);
  }
}

TEST_CASE("replay: they are there again, and what was prepared in between is prepared again") {
  Carrying script(PoolMode::automatic, replay_options());
  script.prepare();
  script.client(query("begin") + query("prepare q as select 2")).grant();
  script.server(begun() + complete("PREPARE") + ready('T')).client(query("execute q"));
  script.server(row("2") + complete("SELECT 1") + ready('T')).client(query("execute p"));
  script.to_client("C:BEGIN Z:T C:PREPARE Z:T D C:SELECT 1 Z:T");
  script.to_server("P:=begin B: E Q:prepare q as select 2 Q:execute q Q:execute p");
  script.lose_backend().go_on();
  session::Backend other = script.make_backend();
  script.grant(other).to_server(again + prepare_p);
  script.server(complete("PREPARE") + ready('I')).go_on();
  script.to_server("P:=begin B: E Q:prepare q as select 2");
  script.server(begun() + complete("PREPARE") + ready('T')).to_server("Q:execute q");
  script.server(row("2") + complete("SELECT 1") + ready('T')).to_server("Q:execute p");
  script.server(row("1") + complete("SELECT 1") + ready('T')).to_client("D C:SELECT 1 Z:T");
  REQUIRE(script.notes.size() == 1);
  CHECK(script.notes[0].result == retry::ReplayResult::masked);
  CHECK(names(other.sql_statements) == "p q ");
}

TEST_CASE("replay: an EXECUTE is what it executes") {
  const auto lose = [](const std::string& body, const std::string& text) {
    Carrying script(PoolMode::automatic, replay_options());
    script.client(query("prepare p as " + body)).grant();
    script.server(complete("PREPARE") + ready('I'));
    script.client(query(text)).grant().lose_backend();
    REQUIRE(!script.notes.empty() == (script.errors > 0));
    return script.errors > 0;
  };
  CHECK_FALSE(lose("select 1", "execute p"));            // it only reads
  CHECK(lose("insert into t values (1)", "execute p"));  // 08007
  CHECK(lose("select dblink_exec('x', 'y')", "begin; execute p"));
}

TEST_CASE("replay: what a transaction has prepared stays when it cannot be made good") {
  Carrying script(PoolMode::automatic, replay_options(ReplayLevel::statement));
  script.client(query("begin") + query("insert into t values (1)")).grant();
  script.server(begun() + complete("INSERT 0 1") + ready('T')).client(query(prepare_p));
  script.server(complete("PREPARE") + ready('T')).client(query("execute p"));
  script.lose_backend();
  CHECK(script.errors == 1);
  CHECK(script.session().prepared_statements() == 1);
  script.client(query("rollback"));
  session::Backend other = script.make_backend();
  script.client(query("execute p")).grant(other);
  script.to_server(
      std::string("P:=begin B: E Q:insert into t values (1) Q:prepare p as select 1 Q:execute p ") +
      again + prepare_p);
}

}  // namespace dwspool::testing
